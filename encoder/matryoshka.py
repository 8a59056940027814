"""Whether a model was trained so that the first dimensions of its vectors are vectors by themselves (Matryoshka), as far as its files say so."""

from __future__ import annotations

import json
from pathlib import Path

CARD = "README.md"
CARD_BYTES = 1 << 20  # of a model card: its front matter and its description come first


def trained_dimensions(folder: Path) -> tuple[int, ...] | None:
    """The dimensions that config.json lists (matryoshka_dimensions); () for any number, where it or the model card only says so; None where no file does."""
    settings = _settings(folder / "config.json")
    listed = settings.get("matryoshka_dimensions")
    if isinstance(listed, list) and all(isinstance(each, int) and not isinstance(each, bool) and each > 0 for each in listed):
        return tuple(sorted(listed))
    return () if settings.get("is_matryoshka") is True or _card_says_so(folder / CARD) else None


def _settings(path: Path) -> dict[str, object]:
    """{} where there is none that can be read: whoever opens the model says why."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _card_says_so(path: Path) -> bool:
    try:
        with path.open("rb") as card:
            return b"matryoshka" in card.read(CARD_BYTES).lower()
    except OSError:
        return False
