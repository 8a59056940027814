"""Decompresses a gzipped weight file under a limit, so that a small file cannot claim all memory."""

from __future__ import annotations

import zlib
from io import BytesIO

from embermill.encoder.errors import WeightsError
from embermill.encoder.weights.mapped_file import Buffer

GZIP_RATIO_LIMIT = 100  # decoded bytes per compressed byte; trained weights are about 1.1, a record of nothing but zeros about 1,000
GZIP_FREE_BYTES = 64 << 20  # up to here no ratio is looked at

_READ, _WRITE = 1 << 16, 1 << 20


def gunzip(data: Buffer, file: str) -> bytes:
    """The first gzip member in `data`, its checksum verified. Raises WeightsError when damaged, truncated or beyond the ratio limit."""
    limit = max(GZIP_FREE_BYTES, GZIP_RATIO_LIMIT * len(data))
    inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    decoded, position, pending = BytesIO(), 0, b""
    try:
        while not inflate.eof:
            if not pending:
                pending = data[position : position + _READ]
                position += len(pending)
            piece = inflate.decompress(pending, _WRITE)
            if not piece and not pending and not inflate.eof:
                raise WeightsError("the gzip stream ends too early; the file is truncated", file=file, offset=len(data))
            pending = inflate.unconsumed_tail
            if decoded.tell() + len(piece) > limit:
                problem = f"decompresses to more than {GZIP_RATIO_LIMIT} times its size; if you trust it, decompress it with gunzip and use the .mpk"
                raise WeightsError(problem, file=file, offset=position)
            decoded.write(piece)
    except zlib.error as error:
        raise WeightsError(f"the gzip stream is damaged ({error})", file=file, offset=position - len(pending)) from None
    return decoded.getvalue()
