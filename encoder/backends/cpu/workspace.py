"""Memory of one worker thread, kept from batch to batch: nothing large is allocated, and no page is touched for the first time, in the hot loop."""

from __future__ import annotations

import threading
from math import prod

import numpy as np


class Workspace(threading.local):
    """Named float32 arrays, one set per thread; an array grows to the largest size ever asked for. What it holds between two uses is undefined."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def array(self, name: str, *shape: int) -> np.ndarray:
        """A C-contiguous array of this shape, uninitialised: the same memory for the same name."""
        size = prod(shape)
        held = self._arrays.get(name)
        if held is None or held.size < size:
            held = self._arrays[name] = np.empty(size, np.float32)
        return held[:size].reshape(shape)
