"""Which rows of a shard are looked at again before it is published: long ones, ones that are not ASCII, and others, chosen by their content alone."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.shard.contents import string_buffers

SAMPLE_ROWS = 256
SPECIAL_ROWS = 64  # of the longest, and of those that are not ASCII; they go first
_MOST = np.iinfo(np.int64).max
_WORD = 8  # bytes at either end of a text, and in its middle, that its key is made of
_MASKS = np.array([(1 << 8 * number) - 1 for number in range(_WORD + 1)], np.uint64)


class TokenSample:
    """At most SAMPLE_ROWS of all texts that are added, all of them where there are no more. The same texts give the same sample, however they are batched."""

    def __init__(self) -> None:
        self._longest, self._not_ascii, self._others = _Least(SPECIAL_ROWS), _Least(SPECIAL_ROWS), _Least(SAMPLE_ROWS)

    def add(self, texts: pa.Array) -> None:
        """texts: string [N]."""
        if not len(texts):
            return
        lengths = pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
        keys = content_keys(texts)
        self._longest.add((_MOST >> 20) - lengths << 20 | keys >> 44, np.arange(len(texts)), texts)
        not_ascii = np.flatnonzero(pc.utf8_length(texts).to_numpy(zero_copy_only=False) != lengths)
        self._not_ascii.add(keys[not_ascii], not_ascii, texts)
        self._others.add(keys, np.arange(len(texts)), texts)

    def texts(self) -> list[str]:
        """Each once."""
        chosen = dict.fromkeys([*self._longest.texts, *self._not_ascii.texts])
        for text in self._others.texts:
            if len(chosen) >= SAMPLE_ROWS:
                break
            chosen[text] = None
        return [*chosen]


class _Least:
    """The texts of the `most` least keys, in their order."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: list[tuple[int, str]] = []

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self._kept]

    def add(self, keys: np.ndarray, places: np.ndarray, texts: pa.Array) -> None:
        """keys: [M] of the texts at `places` [M]."""
        good = np.arange(len(keys)) if len(self._kept) < self._most else np.flatnonzero(keys < self._kept[-1][0])
        if len(good) > self._most:
            good = good[np.unique(keys[good], return_index=True)[1][: self._most]]  # a text that is there many times counts once
        if not len(good):
            return
        new = zip(keys[good].tolist(), texts.take(pa.array(places[good])).to_pylist(), strict=True)
        self._kept = sorted({*self._kept, *new})[: self._most]


def content_keys(texts: pa.Array) -> np.ndarray:
    """[N] int64, not negative: a number that follows from length and bytes of each text, spread evenly."""
    data, offsets = string_buffers(texts)
    content = np.frombuffer(data, np.uint8)
    if len(content) < _WORD:
        content = np.concatenate([content, np.zeros(_WORD, np.uint8)])
    last = len(content) - _WORD
    words = np.ndarray((last + 1,), "<u8", content.data, strides=(1,))  # at every byte
    starts, ends = offsets[:-1].astype(np.int64), offsets[1:].astype(np.int64)
    keys = (ends - starts).astype(np.uint64)
    for at in (starts, (starts + ends) // 2, np.maximum(ends - _WORD, starts)):
        found = words[np.minimum(at, last)] >> np.minimum(np.maximum(at - last, 0) * 8, 63).astype(np.uint64)
        keys = _mixed(keys ^ found & _MASKS[np.minimum(ends - at, _WORD)])
    spread: np.ndarray = (keys >> np.uint64(1)).astype(np.int64)
    return spread


def _mixed(keys: np.ndarray) -> np.ndarray:
    """Each bit depends on all before it: the end of SplitMix64."""
    keys = (keys ^ keys >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ keys >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = keys ^ keys >> np.uint64(31)
    return mixed
