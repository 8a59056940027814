"""Numbers with what they count, in sentences."""

from __future__ import annotations


def several(number: int, noun: str) -> str:
    """1 shard, 2,000 shards."""
    return f"{number:,} {plural(number, noun)}"


def plural(number: int, noun: str) -> str:
    """The noun as it stands behind that number, for who writes the number otherwise."""
    return noun if number == 1 else f"{noun}s"


def agreeing(number: int, one: str, more: str) -> str:
    """The word that agrees with that number: was, were."""
    return one if number == 1 else more
