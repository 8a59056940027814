"""A file as bytes that are read only when touched."""

from __future__ import annotations

import mmap
from pathlib import Path

from embermill.encoder.errors import WeightsError

Buffer = mmap.mmap | bytes


def map_file(path: str) -> Buffer:
    """The whole file, mapped read-only; pages come from the page cache when they are touched. Raises WeightsError when it cannot be read.

    The map stays valid for as long as an array looks into it, also after the file was deleted or replaced by renaming; a file that is
    shortened in place while mapped is the one thing that cannot be survived (the kernel ends the process), as with every mapped reader.
    """
    try:
        with Path(path).open("rb") as stream:
            if not stream.seek(0, 2):
                return b""  # an empty file cannot be mapped
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot be read: {error.strerror if isinstance(error, OSError) else error}", file=path) from None
