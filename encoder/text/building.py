"""From the folder of a tokenizer to the `tokenizers` object that gives transformers' ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from embermill.encoder.errors import TokenizerError
from embermill.encoder.text.classes import BACKEND, TokenizerClass, choose_class
from embermill.encoder.text.files import CONFIG, read_object, truncation_side
from embermill.encoder.text.library import library_errors
from embermill.encoder.text.settings import AddedToken, TokenizerSettings, resolve_settings
from embermill.encoder.text.stored import StoredTokenizer, read_tokenizer_json
from embermill.encoder.text.vocabulary_file import read_vocabulary

if TYPE_CHECKING:
    import tokenizers

UNASSIGNED = "\U0010fffd"  # a character that no vocabulary has
UNKNOWN = UNASSIGNED + " " + "\N{CYRILLIC LETTER MULTIOCULAR O}" * 201  # and a word that none spells, where a normaliser removes that one


class OpenTokenizer(NamedTuple):
    """A tokenizer that gives transformers' ids, without truncation and padding; settings: None where tokenizer.json counts as it is (see open_tokenizer)."""

    library: tokenizers.Tokenizer
    settings: TokenizerSettings | None
    truncation_side: str


def open_tokenizer(folder: Path, *, lowercase: bool = False) -> OpenTokenizer:
    """lowercase: sentence-transformers' do_lower_case. Raises TokenizerError for what is damaged, missing, or cannot be followed."""
    with library_errors(folder):
        return build_tokenizer(folder, read_tokenizer_json(folder), lowercase=lowercase)


def build_tokenizer(folder: Path, stored: StoredTokenizer | None, *, lowercase: bool) -> OpenTokenizer:
    """open_tokenizer of a tokenizer.json that has been read, and that is changed in place, since it may be large.

    Where tokenizer.json holds another kind of model than the class is made for (Unigram under a BertTokenizer, as in
    paraphrase-multilingual-MiniLM-L12-v2), transformers reads the vocabulary as what it is not. There tokenizer.json counts, as it is.
    """
    kind = choose_class(folder)
    if stored is not None and kind.model not in ("", stored.model):
        _require_unknown_token(folder, stored.library)
        return OpenTokenizer(_lowercased(stored.library, lowercase), None, truncation_side(folder))
    if kind.name == BACKEND and stored is None:
        raise TokenizerError(
            f"{folder}: no tokenizer.json; without a tokenizer it can embed token ids (encode_token_ids) but no text. Add tokenizer.json, or name in "
            "tokenizer_config.json a tokenizer_class that reads the vocabulary file that is there (BertTokenizer reads vocab.txt)."
        )
    model = stored.library.model if stored is not None else read_vocabulary(folder, kind)
    settings = resolve_settings(folder, kind, stored, model)
    library = stored.library if stored is not None and kind.name == BACKEND else _build(folder, kind, settings, model, stored)
    library.add_tokens([_library_token(token) for token in settings.added_tokens])
    library.encode_special_tokens = settings.split_special_tokens
    if settings.ends is not None:
        library.post_processor = _surround(library, settings.ends)
    _require_unknown_token(folder, library)
    return OpenTokenizer(_lowercased(library, lowercase), settings, settings.truncation_side)


def _require_unknown_token(folder: Path, tokenizer: tokenizers.Tokenizer) -> None:
    """Or the library would raise in the middle of a corpus."""
    try:
        tokenizer.encode(UNKNOWN)
    except Exception as error:  # the library raises plain Exception
        raise TokenizerError(f"{folder}: the tokenizer has no token for unknown words ({error}); expected its unk_token in the vocabulary.") from error


def _build(folder: Path, kind: TokenizerClass, settings: TokenizerSettings, model: Any, stored: StoredTokenizer | None) -> tokenizers.Tokenizer:
    """As the class builds itself: of what is stored it takes the vocabulary, SentencePiece's table of characters, and nothing else."""
    from tokenizers import Tokenizer, normalizers, pre_tokenizers

    if kind.model == "Unigram":
        tokenizer = Tokenizer(_with_unknown(folder / "tokenizer.json", kind, settings, model))
        if stored is not None and (normalizer := _precompiled(stored.library.normalizer)) is not None:
            tokenizer.normalizer = normalizer
        blanks = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always" if settings.add_prefix_space else "never")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), blanks])
        return tokenizer
    if kind.model == "BPE":
        _require_whole_words(folder / "tokenizer.json", kind, model)
        model.dropout, model.unk_token, model.fuse_unk, model.byte_fallback, model.ignore_merges = None, None, False, False, False
        tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(settings.add_prefix_space))
        return tokenizer
    model.unk_token, model.continuing_subword_prefix, model.max_input_chars_per_word = settings.unknown, "##", 100
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(settings.split_chinese_characters),
        strip_accents=settings.strip_accents,
        lowercase=bool(settings.lowercase),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _require_whole_words(file: Path, kind: TokenizerClass, model: Any) -> None:
    if model.continuing_subword_prefix or model.end_of_word_suffix:
        raise TokenizerError(
            f"{file}: a BPE with continuing_subword_prefix or end_of_word_suffix is not supported in {kind.name}; set tokenizer_class to "
            f"PreTrainedTokenizerFast in {CONFIG} to use tokenizer.json as it is."
        )


def _with_unknown(file: Path, kind: TokenizerClass, settings: TokenizerSettings, model: Any) -> Any:
    """A Unigram whose unknown token is where the class expects it. The stored one where that is so, since it may be large."""
    from tokenizers import models

    unknown = 3 if kind.name == "XLMRobertaTokenizer" else model.token_to_id(settings.unknown)
    if _ids_of_unknown(model) == [unknown]:
        return model
    vocab = read_object(file)["model"]["vocab"]
    if unknown >= len(vocab):
        raise TokenizerError(f"{file}: expected a vocabulary of at least {unknown + 1} tokens, got {len(vocab)}.")
    return models.Unigram([(piece, score) for piece, score in vocab], unknown, False)


def _ids_of_unknown(model: Any) -> list[int]:
    """Of a text that no vocabulary has; none where the stored Unigram names no unknown token, and the library raises plain Exception."""
    try:
        return [token.id for token in model.tokenize(UNASSIGNED)]
    except Exception:
        return []


def _precompiled(normalizer: Any) -> Any:
    """The first table of SentencePiece's in a normaliser, which is all that a class keeps of it."""
    from tokenizers import normalizers

    parts: list[Any] = [*iter(normalizer)] if isinstance(normalizer, normalizers.Sequence) else [normalizer]
    return next((part for part in parts if isinstance(part, normalizers.Precompiled)), None)


def _surround(tokenizer: tokenizers.Tokenizer, ends: tuple[str, str]) -> Any:
    """A post-processor that puts a token before a text and one after it."""
    from tokenizers import processors

    first, last = ends
    first_id, last_id = tokenizer.token_to_id(first), tokenizer.token_to_id(last)
    assert first_id is not None and last_id is not None  # they have just been added
    return processors.RobertaProcessing((last, last_id), (first, first_id), trim_offsets=False, add_prefix_space=False)


def _library_token(token: AddedToken) -> tokenizers.AddedToken:
    from tokenizers import AddedToken as Library

    content, single_word, lstrip, rstrip, normalized, special = token
    return Library(content, single_word=single_word, lstrip=lstrip, rstrip=rstrip, normalized=bool(normalized), special=special)


def _lowercased(tokenizer: tokenizers.Tokenizer, lowercase: bool) -> tokenizers.Tokenizer:
    from tokenizers import normalizers

    if lowercase and not lowercases(tokenizer.normalizer):
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase()] + ([tokenizer.normalizer] if tokenizer.normalizer else []))
    return tokenizer


def lowercases(normalizer: Any) -> bool:
    return any(step["type"] == "Lowercase" or step.get("lowercase") is True for step in steps(normalizer))


def steps(component: Any) -> list[dict[str, Any]]:
    """A normaliser's or a pre-tokenizer's steps, one after another, as the library saves them."""
    return [] if component is None else _flat(json.loads(component.__getstate__()))


def _flat(state: dict[str, Any]) -> list[dict[str, Any]]:
    if state["type"] != "Sequence":
        return [state]
    return [step for inner in state.get("normalizers", state.get("pretokenizers", [])) for step in _flat(inner)]
