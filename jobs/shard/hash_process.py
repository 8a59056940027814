"""Text hashes by a process of its own: BLAKE2b of each text is a step of the interpreter for each row, and a worker on a GPU has none to spare.

The same digests as hash_texts(). Where the process does not answer, this one computes them.
"""

from __future__ import annotations

import contextlib
import logging
from pickle import PickleBuffer

import numpy as np
import pyarrow as pa

from embermill.jobs.shard.contents import string_buffers
from embermill.jobs.shard.text_hash import DIGEST_BYTES, hash_texts
from embermill.side_process import SideProcesses, SideProcessLost

log = logging.getLogger(__name__)
FEW = 256  # texts that are hashed here, sooner than asked for


class HashProcess:
    """Called as hash_texts is, by one thread at a time or several. It ends with whoever made it."""

    def __init__(self) -> None:
        self._process: SideProcesses | None = None
        with contextlib.suppress(OSError):
            self._process = SideProcesses("embermill.jobs.shard.hash_server:open_hashing", (), 1, name="hashing")

    @property
    def pids(self) -> list[int]:
        return [] if self._process is None else self._process.pids

    def __call__(self, texts: pa.Array) -> pa.Array:
        """[N] text_hash of each."""
        if len(texts) < FEW or self._process is None:
            return hash_texts(texts)
        data, offsets = string_buffers(texts)
        first, last = int(offsets[0]), int(offsets[-1])
        try:
            digits = self._process.ask(PickleBuffer((offsets.astype(np.int64) - first).data), PickleBuffer(data[first:last])).result()
        except (SideProcessLost, OSError, RuntimeError) as error:
            log.warning("the process that hashes texts is gone (%s): they are hashed by the worker itself", error)
            self.close()
            return hash_texts(texts)
        ends = np.arange(0, 2 * DIGEST_BYTES * len(texts) + 1, 2 * DIGEST_BYTES, dtype=np.int32)
        return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(digits))

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close()
