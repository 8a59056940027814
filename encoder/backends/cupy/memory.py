"""How many rows fit into what is free on a GPU, and what it means when they do not. No CuPy here: what it knows comes in as numbers and exceptions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from embermill.encoder.errors import DeviceError

RESERVE_BYTES = 128 << 20
"""Left alone: captured graphs, kernels and the libraries' own workspaces, which no pool of ours counts."""
CAPTURED_SHARE = 2.0
"""A pool that has served buckets of every size holds up to twice the largest one: pieces that smaller ones were given are too small for it."""
SMALLEST_ROWS = 256
OUT_OF_MEMORY = {"CUDARuntimeError": 2, "CUDADriverError": 2, "CUBLASError": 3}  # CuPy's exceptions -> their status for it


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a GPU, or the host for its pinned memory, had no room: CuPy's OutOfMemoryError is a MemoryError, the libraries below it give a status."""
    if isinstance(error, MemoryError):
        return True
    status = OUT_OF_MEMORY.get(type(error).__name__)
    return status is not None and getattr(error, "status", None) == status


def rows_that_fit(nominal: int, bytes_per_row: float, free_bytes: int, longest: int, *, captured: bool) -> int:
    """The budget of a packed batch: `nominal` rows, or half of them, a quarter, ..., as `free_bytes` allow.

    longest: tokens of the longest document, all of which must fit. captured: whether passes of several sizes are kept. Raises DeviceError where
    not even one such document fits.
    """
    usable = free_bytes - RESERVE_BYTES
    least = max(longest, SMALLEST_ROWS)
    if least * bytes_per_row > usable:
        raise does_not_fit(f"a document of {least:,} tokens", least * bytes_per_row + RESERVE_BYTES, free_bytes)
    rows, share = nominal, CAPTURED_SHARE if captured else 1.0
    while rows * bytes_per_row * share > usable and rows > SMALLEST_ROWS:
        rows //= 2
    return rows


def does_not_fit(what: str, needed_bytes: float | None, free_bytes: int) -> DeviceError:
    """needed_bytes: None where nothing has been measured yet."""
    sizes = f"more bytes than the {free_bytes:,} that are free" if needed_bytes is None else f"about {round(needed_bytes):,} bytes, and {free_bytes:,} are free"
    return DeviceError(
        f"out of GPU memory: {what} needs {sizes}. "
        "Free memory on this GPU, use another one, a smaller model, precision='float16' instead of float32, or a smaller max_tokens."
    )


@contextlib.contextmanager
def refusing(what: str, needed_bytes: int | None, free_bytes: Callable[[], int]) -> Iterator[None]:
    """DeviceError with the bytes needed and free where something runs out of memory inside."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise does_not_fit(what, needed_bytes, free_bytes()) from error
