"""Numbers in sentences."""

from __future__ import annotations


def several(number: int, noun: str) -> str:
    """1 shard, 2,000 shards."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
