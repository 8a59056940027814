"""How many rows corpus.max_quarantined allows."""

from __future__ import annotations

FEWEST_ALLOWED = 10  # a share of a small corpus is never below so many rows


def allowed_quarantined(limit: float, rows_in: int) -> int:
    """limit: 0 is none, below 1 a share of rows_in, else a number of rows."""
    return int(limit if limit >= 1 or limit == 0 else max(FEWEST_ALLOWED, limit * rows_in))
