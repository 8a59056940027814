"""Text hashes by a process of its own: BLAKE2b of each text is a step of the interpreter for each row, and a worker on a GPU has none to spare.

The same digests as hash_texts(). Where the process does not answer, this one computes them.
"""

from __future__ import annotations

import contextlib
import logging
import struct
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pyarrow as pa

from embermill.jobs.shard.contents import string_buffers
from embermill.jobs.shard.text_hash import DIGEST_BYTES, hash_texts

log = logging.getLogger(__name__)
FEW = 256  # texts that are hashed here, sooner than asked for
PROGRAM = Path(__file__).with_name("hash_server.py")


class HashProcess:
    """Called as hash_texts is, by one thread at a time or several. It ends with whoever made it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen([sys.executable, "-I", "-S", str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            weakref.finalize(self, _end, self._process)

    def __call__(self, texts: pa.Array) -> pa.Array:
        """[N] text_hash of each."""
        if len(texts) < FEW or self._process is None:
            return hash_texts(texts)
        try:
            with self._lock:
                digits = self._ask(self._process, texts)
        except (OSError, ValueError) as error:
            log.warning("the process that hashes texts is gone (%s): they are hashed by the worker itself", error)
            self._process = None
            return hash_texts(texts)
        offsets = np.arange(0, 2 * DIGEST_BYTES * len(texts) + 1, 2 * DIGEST_BYTES, dtype=np.int32)
        return pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(digits))

    def close(self) -> None:
        if self._process is not None:
            _end(self._process)
            self._process = None

    def _ask(self, process: subprocess.Popen[bytes], texts: pa.Array) -> bytes:
        data, offsets = string_buffers(texts)
        given, answers = process.stdin, process.stdout
        assert given is not None and answers is not None
        given.write(struct.pack("<q", len(texts)) + (offsets.astype("<i8") - int(offsets[0])).tobytes())
        given.write(data[int(offsets[0]) : int(offsets[-1])])
        given.flush()
        digits = answers.read(2 * DIGEST_BYTES * len(texts))
        if len(digits) != 2 * DIGEST_BYTES * len(texts):
            raise OSError(f"it ended after {len(digits)} bytes of its answer")
        return digits


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()
