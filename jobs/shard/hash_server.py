"""The program of HashProcess: from stdin, again and again, the number of texts, where each begins and ends, and their bytes; to stdout their digests as hex.

It is run as a file, and imports nothing but the standard library, so that it is there at once. It ends with its input.
"""

from __future__ import annotations

import hashlib
import itertools
import signal
import struct
import sys
from array import array

DIGEST_BYTES = 16


def serve() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with its worker
    given, answers = sys.stdin.buffer, sys.stdout.buffer
    while head := given.read(8):
        (count,) = struct.unpack("<q", head)
        offsets = array("q", given.read(8 * (count + 1)))
        data = memoryview(given.read(offsets[-1]))
        fresh = hashlib.blake2b(digest_size=DIGEST_BYTES).copy
        digests = bytearray()
        for start, end in itertools.pairwise(offsets):
            state = fresh()
            state.update(data[start:end])
            digests += state.digest()
        answers.write(digests.hex().encode())
        answers.flush()


if __name__ == "__main__":
    serve()
