"""What is wrong with a file of the bookkeeping by itself: by the checksum inside it, or by the hash in its name."""

from __future__ import annotations

import hashlib
import re

from embermill.jobs.bookkeeping.seal import broken_seal

NAMED_BY_CONTENT = re.compile(r".*-([0-9a-f]{32})\.(?:parquet|pq)")


def problem_of(name: str, data: bytes) -> str:
    """"" where nothing is, or where the file is from before there were checksums."""
    if (hashed := NAMED_BY_CONTENT.fullmatch(name)) is not None:
        return "" if hashlib.sha256(data).hexdigest().startswith(hashed[1]) else "its content is not what it is named by"
    return broken_seal(data)
