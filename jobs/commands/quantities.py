"""Quantities and tables in words: what all answers are put together from."""

from __future__ import annotations

from collections.abc import Iterable


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Two columns, the left one as wide as it must be."""
    rows = [*rows]
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"  {label:<{width}}  {words}".rstrip() for label, words in rows)


def show_bytes(number: float) -> str:
    """8_912_345 -> 8.9 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}" if unit != "B" else f"{number:.0f} B"
        number /= 1000
    return f"{number:,.1f} TB"


def show_seconds(seconds: float) -> str:
    """71.5 -> 1 min 12 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
