"""The files of a tokenizer's folder: which there are, and the JSON in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from embermill.encoder.errors import TokenizerError

CONFIG = "tokenizer_config.json"


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where there is no such file."""
    try:
        value = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise TokenizerError(f"{file}: not readable as JSON: {error}.") from None
    if not isinstance(value, dict):
        raise TokenizerError(f"{file}: expected a JSON object, got {type(value).__name__}.")
    return value


def tokenizer_limit(folder: Path) -> int | None:
    """model_max_length of tokenizer_config.json (max_len in old ones), where it says a real number (Hugging Face writes 1e30 for none)."""
    config = read_object(folder / CONFIG)
    limit = config.get("model_max_length", config.get("max_len"))
    return int(limit) if isinstance(limit, (int, float)) and not isinstance(limit, bool) and 0 < limit < 1e9 else None


def tokenizer_files(folder: Path) -> list[Path]:
    """The files that `model.tokenizer` of a fingerprint is the digest of; none where there is no tokenizer.

    What the other files beside them change is in `model.tokenizer_settings` (see settings_digest).
    """
    if (folder / "tokenizer.json").is_file():
        return [folder / "tokenizer.json"]
    if (folder / "vocab.txt").is_file():
        return [folder / name for name in ("vocab.txt", CONFIG) if (folder / name).is_file()]
    return [folder / name for name in ("vocab.json", "merges.txt")] if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file() else []


def truncation_side(folder: Path) -> str:
    """"left" or "right": the side that tokenizer_config.json cuts a text that is too long at, "right" where it says nothing."""
    side = read_object(folder / CONFIG).get("truncation_side", "right")
    if side not in ("left", "right"):
        raise TokenizerError(f"{folder / CONFIG}: truncation_side: expected left or right, got {side!r}.")
    return str(side)
