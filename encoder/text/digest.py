"""Whether a folder's files give its texts other ids than tokenizer.json alone, which is all that embermill read of them once; and a digest of what they say.

Datasets keep `model.tokenizer`, the digest of tokenizer.json, as they always had it. `model.tokenizer_settings` is beside it only where ids changed.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embermill.encoder.text.building import UNKNOWN, OpenTokenizer, build_tokenizer, lowercases, steps
from embermill.encoder.text.files import tokenizer_files, truncation_side
from embermill.encoder.text.stored import read_tokenizer_json
from embermill.encoder.text.vocabulary_file import earlier_word_piece

if TYPE_CHECKING:
    import tokenizers


def settings_digest(folder: Path, *, lowercase: bool, lowercase_in_config: bool) -> str | None:
    """SHA-256 of the settings that give a folder's texts other ids than tokenizer.json alone; None where they do not.

    lowercase: sentence-transformers' do_lower_case. lowercase_in_config: the part of it that the fingerprint's digest of the configuration has already.
    """
    if not tokenizer_files(folder):
        return None
    stored = read_tokenizer_json(folder)
    earlier = stored.library if stored is not None else earlier_word_piece(folder)
    before = None if earlier is None else _behaviour(earlier, truncation_side(folder), lowercase=lowercase_in_config)
    opened = build_tokenizer(folder, stored, lowercase=lowercase)  # which changes what is stored in place
    if before == _behaviour(opened.library, opened.truncation_side) and (stored is not None or _same_vocabulary(earlier, opened)):
        return None
    settings = (opened.settings._asdict() if opened.settings is not None else {}) | {"sentence_transformers_lowercase": lowercase or None}
    said = {key: value for key, value in settings.items() if value is not None}  # a setting that comes later is None for what was made before it
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _same_vocabulary(earlier: tokenizers.Tokenizer | None, opened: OpenTokenizer) -> bool:
    """vocab.txt was once read in another way."""
    return earlier is not None and earlier.get_vocab() == opened.library.get_vocab()


def _behaviour(tokenizer: tokenizers.Tokenizer, side: str, *, lowercase: bool = False) -> dict[str, Any]:
    """What decides which ids a text gets, beside the vocabulary, in one form for what is written in several ways. lowercase: the text before anything."""
    normalizer = [_explicit(step) for step in steps(tokenizer.normalizer)]
    if lowercase and not lowercases(tokenizer.normalizer):
        normalizer.insert(0, {"type": "Lowercase"})
    added = {index: _flags(token, bool(normalizer), tokenizer.encode_special_tokens) for index, token in tokenizer.get_added_tokens_decoder().items()}
    return {
        "model": _model_settings(tokenizer.model),
        "normalizer": normalizer,
        "pre_tokenizer": [{key: value for key, value in step.items() if key != "trim_offsets"} for step in steps(tokenizer.pre_tokenizer)],
        "unknown": _ids_of_the_unknown(tokenizer),
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


def _ids_of_the_unknown(tokenizer: tokenizers.Tokenizer) -> list[int] | None:
    """With the special tokens around them; None where the library raises, because it has no token for what it does not know."""
    try:
        return tokenizer.encode(UNKNOWN).ids
    except Exception:  # the library raises plain Exception
        return None
