"""Spans of the user's own function, `chunk.splitter: python:module:function`: checked before anything is made of them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from embermill.jobs.chunking.alphabet import BLANKS

Splitter = Callable[[str], Iterable[tuple[int, int]]]


class BadSpans(ValueError):
    """What is wrong with the spans of one document."""


def checked_spans(splitter: Splitter, text: str) -> list[tuple[int, int]]:
    """Its (start, end) in code points, less those of blanks alone. BadSpans unless they ascend, lie in the text and leave nothing out but blanks."""
    try:
        returned: object = splitter(text)
        given = list(returned) if isinstance(returned, Iterable) else None
    except (Exception, SystemExit) as error:
        raise BadSpans(f"the splitter raised {type(error).__name__}: {error}{_place(error)}") from error
    if given is None:
        raise BadSpans(f"expected a list of pairs (start, end), the splitter returned {returned!r:.80}")
    spans, at = list[tuple[int, int]](), 0
    for found in given:
        start, end = _pair(found)
        if not (at <= start < end <= len(text)) and not (spans and spans[-1][0] < start < end <= len(text) and end > at):
            raise BadSpans(f"expected spans that ascend within 0 to {len(text)}, got ({start}, {end}) after {spans[-1] if spans else 'none'}")
        _require_blank(text, at, start)
        at = end
        if text[start:end].strip(BLANKS):
            spans.append((start, end))
    _require_blank(text, at, len(text))
    return spans


def _place(error: BaseException) -> str:
    """Where it was raised: " (file.py, line 9)"."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _pair(found: object) -> tuple[int, int]:
    if isinstance(found, tuple | list) and len(found) == 2 and all(isinstance(place, int) and not isinstance(place, bool) for place in found):
        return found[0], found[1]
    raise BadSpans(f"expected pairs of whole numbers (start, end), got {found!r:.80}")


def _require_blank(text: str, start: int, end: int) -> None:
    if start < end and (left := text[start:end].strip(BLANKS)):
        raise BadSpans(f"the spans leave out {left[:40]!r} between {start} and {end}; only blanks may lie between them")
