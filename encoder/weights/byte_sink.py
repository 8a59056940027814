"""Where writers put their bytes."""

from __future__ import annotations

from typing import Any, Protocol


class ByteSink(Protocol):
    """Anything that takes bytes: a file, a gzip stream, a buffer."""

    def write(self, data: Any, /) -> Any: ...
