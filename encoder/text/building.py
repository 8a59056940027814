"""From the folder of a tokenizer to the `tokenizers` object that gives transformers' ids, and whether these differ from what tokenizer.json alone gives."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from embermill.encoder.errors import TokenizerError
from embermill.encoder.text.classes import BACKEND, TokenizerClass, choose_class
from embermill.encoder.text.files import CONFIG, read_object, tokenizer_files, truncation_side
from embermill.encoder.text.settings import AddedToken, TokenizerSettings, resolve_settings
from embermill.encoder.text.vocabulary_file import earlier_word_piece, read_vocabulary

if TYPE_CHECKING:
    import tokenizers

_UNASSIGNED = "\U0010fffd"  # a character that no vocabulary has


class OpenTokenizer(NamedTuple):
    """A tokenizer that gives transformers' ids, without truncation and padding; settings: None where tokenizer.json counts as it is (see open_tokenizer)."""

    library: tokenizers.Tokenizer
    settings: TokenizerSettings | None
    truncation_side: str


def open_tokenizer(folder: Path, *, lowercase: bool = False) -> OpenTokenizer:
    """lowercase: sentence-transformers' do_lower_case. Raises TokenizerError for what is damaged, missing, or cannot be followed.

    Where tokenizer.json holds another kind of model than the class is made for (Unigram under a BertTokenizer, as in
    paraphrase-multilingual-MiniLM-L12-v2), transformers reads the vocabulary as what it is not. There tokenizer.json counts, as it is.
    """
    kind = choose_class(folder)
    stored = read_tokenizer_json(folder)
    if stored is not None and kind.model not in ("", type(stored.model).__name__):
        return OpenTokenizer(_lowercased(stored, lowercase), None, truncation_side(folder))
    if kind.name == BACKEND and stored is None:
        raise TokenizerError(
            f"{folder}: no tokenizer.json; texts cannot be embedded, token ids can (encode_token_ids). Without tokenizer.json, expected a tokenizer_class in "
            "tokenizer_config.json that reads the vocabulary which is there (BertTokenizer reads vocab.txt)."
        )
    model = stored.model if stored is not None else read_vocabulary(folder, kind)
    settings = resolve_settings(folder, kind, stored, model)
    library = stored if stored is not None and kind.name == BACKEND else _build(folder, kind, settings, model, stored)
    library.add_tokens([_library_token(token) for token in settings.added_tokens])
    library.encode_special_tokens = settings.split_special_tokens
    if settings.ends is not None:
        library.post_processor = _surround(library, settings.ends)
    return OpenTokenizer(_lowercased(library, lowercase), settings, settings.truncation_side)


def settings_digest(folder: Path, *, lowercase: bool, lowercase_in_config: bool) -> str | None:
    """SHA-256 of the settings that give a folder's texts other ids than tokenizer.json alone; None where they do not.

    lowercase_in_config: the part of do_lower_case that the fingerprint's digest of the configuration has already (see description.py).
    """
    if not tokenizer_files(folder):
        return None
    opened = open_tokenizer(folder, lowercase=lowercase)
    earlier = read_tokenizer_json(folder) or earlier_word_piece(folder)
    if earlier is not None and _same_ids(_lowercased(earlier, lowercase_in_config), truncation_side(folder), opened):
        return None
    settings = (opened.settings._asdict() if opened.settings is not None else {}) | {"sentence_transformers_lowercase": lowercase or None}
    said = {key: value for key, value in settings.items() if value is not None}  # a setting that comes later is None for what was made before it
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _same_ids(earlier: tokenizers.Tokenizer, earlier_side: str, opened: OpenTokenizer) -> bool:
    if _behaviour(earlier, earlier_side) != _behaviour(opened.library, opened.truncation_side):
        return False
    return type(earlier.model).__name__ != "WordPiece" or earlier.get_vocab() == opened.library.get_vocab()  # vocab.txt was once read in another way


def read_tokenizer_json(folder: Path) -> tokenizers.Tokenizer | None:
    """What tokenizer.json says; None where there is none."""
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain Exception for whatever is wrong with the file
        raise TokenizerError(f"{file}: not a tokenizer that this version of `tokenizers` reads: {error}.") from error


def _build(folder: Path, kind: TokenizerClass, settings: TokenizerSettings, model: Any, stored: tokenizers.Tokenizer | None) -> tokenizers.Tokenizer:
    """As the class builds itself: of what is stored it takes the vocabulary, SentencePiece's table of characters, and nothing else."""
    from tokenizers import Tokenizer, normalizers, pre_tokenizers

    if kind.model == "Unigram":
        tokenizer = Tokenizer(_with_unknown(folder / "tokenizer.json", kind, settings, model))
        if stored is not None and (normalizer := _precompiled(stored.normalizer)) is not None:
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

    saved = read_object(file)["model"]
    contents = [piece for piece, _ in saved["vocab"]]
    unknown = 3 if kind.name == "XLMRobertaTokenizer" else contents.index(str(settings.unknown))
    if saved.get("unk_id") == unknown and not saved.get("byte_fallback", False):
        return model
    if unknown >= len(contents):
        raise TokenizerError(f"{file}: expected a vocabulary of at least {unknown + 1} tokens, got {len(contents)}.")
    return models.Unigram([(piece, score) for piece, score in saved["vocab"]], unknown, False)


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

    if lowercase and not any(part.get("type") == "Lowercase" or part.get("lowercase") is True for part in _parts(tokenizer.normalizer)):
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase()] + ([tokenizer.normalizer] if tokenizer.normalizer else []))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _parts(component: Any) -> list[dict[str, Any]]:
    """A normaliser's or a pre-tokenizer's steps, one after another, as the library saves them."""
    if component is None:
        return []
    return _flat(json.loads(component.__getstate__()))


def _flat(state: dict[str, Any]) -> list[dict[str, Any]]:
    if state["type"] != "Sequence":
        return [state]
    return [part for inner in state.get("normalizers", state.get("pretokenizers", [])) for part in _flat(inner)]


def _behaviour(tokenizer: tokenizers.Tokenizer, side: str) -> dict[str, Any]:
    """What decides which ids a text gets, beside the vocabulary, in one form for what is written in several ways."""
    normalizer = [_explicit(part) for part in _parts(tokenizer.normalizer)]
    ends = tokenizer.encode("a")
    added = {index: _flags(token, bool(normalizer), tokenizer.encode_special_tokens) for index, token in tokenizer.get_added_tokens_decoder().items()}
    return {
        "model": _model_settings(tokenizer.model),
        "normalizer": normalizer,
        "pre_tokenizer": [{key: value for key, value in part.items() if key != "trim_offsets"} for part in _parts(tokenizer.pre_tokenizer)],
        "special": [(index, kind) for index, (kind, special) in enumerate(zip(ends.ids, ends.special_tokens_mask, strict=True)) if special],
        "unknown": tokenizer.encode(_UNASSIGNED, add_special_tokens=False).ids,
        "added": added,
        "split_special_tokens": tokenizer.encode_special_tokens,
        "truncation_side": side,
    }


def _explicit(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "BertNormalizer" and part["strip_accents"] is None:
        return part | {"strip_accents": part["lowercase"]}
    return part


def _flags(token: tokenizers.AddedToken, normalizes: bool, special_matters: bool) -> tuple[object, ...]:
    return (
        token.content, token.single_word, token.lstrip, token.rstrip,
        token.normalized and normalizes, token.special and special_matters,
    )  # fmt: skip


def _model_settings(model: Any) -> dict[str, Any]:
    names = "unk_token", "max_input_chars_per_word", "continuing_subword_prefix", "end_of_word_suffix", "dropout", "fuse_unk", "byte_fallback", "ignore_merges"
    return {name: getattr(model, name, None) or None for name in names}
