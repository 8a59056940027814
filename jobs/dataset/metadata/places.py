"""Where each committed shard stands among the rows of the commit log: a few bytes for a partition of one shard, as nearly all are."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping

MOST_NUMBERED = 1 << 24  # partitions whose first shard has a place by number: 64 MB at most, whatever a damaged file says


class Places(Mapping[tuple[int, int], int]):
    """(partition, ordinal) -> place, below 2**31. As objects a million keys alone would take a hundred megabytes more."""

    def __init__(self) -> None:
        self._first = array("i")  # by partition: the place of its shard 0, -1 where there is none
        self._others: dict[tuple[int, int], int] = {}
        self._count = 0

    def add(self, key: tuple[int, int], place: int) -> None:
        """key: one that is not there yet."""
        partition, ordinal = key
        if ordinal or not 0 <= partition < MOST_NUMBERED:
            self._others[key] = place
        else:
            if partition >= len(self._first):
                self._first.extend(array("i", [-1]) * (partition + 1 - len(self._first)))
            self._first[partition] = place
        self._count += 1

    def __getitem__(self, key: tuple[int, int]) -> int:
        partition, ordinal = key
        if ordinal == 0 and 0 <= partition < len(self._first) and self._first[partition] >= 0:
            return self._first[partition]
        return self._others[key]

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, tuple) or len(key) != 2:
            return False
        partition, ordinal = key
        return (ordinal == 0 and 0 <= partition < len(self._first) and self._first[partition] >= 0) or key in self._others

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Not in the order in which they came."""
        yield from ((partition, 0) for partition, place in enumerate(self._first) if place >= 0)
        yield from self._others

    def __len__(self) -> int:
        return self._count
