"""Vocabularies without a tokenizer.json: vocab.txt, or vocab.json with merges.txt; what of them cannot be read is refused with the way to convert it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from embermill.encoder.errors import TokenizerError
from embermill.encoder.text.classes import TokenizerClass
from embermill.encoder.text.files import CONFIG, read_object

if TYPE_CHECKING:
    import tokenizers

_CONVERT = "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) writes one, where transformers and sentencepiece are installed"


def read_vocabulary(folder: Path, kind: TokenizerClass) -> Any:
    """The class's model from the files that it was saved in before there was tokenizer.json."""
    from tokenizers import models

    if kind.model == "WordPiece" and (folder / "vocab.txt").is_file():
        return _read(models.WordPiece.from_file, folder / "vocab.txt")
    if kind.model == "BPE" and (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return _read(models.BPE.from_file, folder / "vocab.json", folder / "merges.txt")
    for name in ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model"):
        if (folder / name).is_file():
            raise TokenizerError(f"{folder / name}: a SentencePiece model is not read here; expected a tokenizer.json beside it. {_CONVERT}.")
    wanted = {"WordPiece": " and no vocab.txt", "BPE": " and no vocab.json with merges.txt"}.get(kind.model, f", which {kind.name} is read from. {_CONVERT}")
    raise TokenizerError(f"{folder}: no tokenizer.json{wanted}; without a tokenizer it can embed token ids (encode_token_ids) but no text.")


def _read(read: Any, *files: Path) -> Any:
    try:
        return read(*map(str, files))
    except Exception as error:  # the library raises plain Exception for whatever is wrong with the file
        raise TokenizerError(f"{' and '.join(map(str, files))}: not a vocabulary: {error}.") from error


def earlier_word_piece(folder: Path) -> tokenizers.Tokenizer | None:
    """What embermill made of vocab.txt and tokenizer_config.json before it read the other files: fingerprints tell by it whether ids changed.

    None where there is no vocab.txt, or where it refused.
    """
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

    if not (folder / "vocab.txt").is_file():
        return None
    config = read_object(folder / CONFIG)
    special = {role: _token_text(config.get(f"{role}_token", f"[{role.upper()}]")) for role in ("unk", "sep", "pad", "cls", "mask")}
    tokens = {token: index for index, token in enumerate((folder / "vocab.txt").read_text(encoding="utf-8").rstrip("\n").split("\n"))}
    if any(special[role] not in tokens for role in ("unk", "sep", "cls")):
        return None
    tokenizer = Tokenizer(models.WordPiece(tokens, unk_token=special["unk"], max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        strip_accents=config.get("strip_accents"),
        lowercase=config.get("do_lower_case", True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special.values() if token in tokens])
    cls, sep = ((special[role], tokens[special[role]]) for role in ("cls", "sep"))
    tokenizer.post_processor = processors.BertProcessing(sep, cls)
    return tokenizer


def _token_text(token: object) -> str:
    return str(token.get("content")) if isinstance(token, dict) else str(token)
