"""The name of an encoding of text files."""

from __future__ import annotations

import codecs


def text_encoding(name: str | None) -> str | None:
    """The same. ValueError for what Python does not know as an encoding of text."""
    if name is None:
        return None
    try:
        "a".encode(name)
        return codecs.lookup(name).name
    except (LookupError, UnicodeError, ValueError):
        raise ValueError(f"expected an encoding of text that Python knows, utf-8, latin-1 or gbk for example, got {name!r:.80}") from None
