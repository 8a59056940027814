"""The operations of the CPU backend for a precision; what the others need is never imported."""

from __future__ import annotations

from embermill.encoder.errors import DeviceError
from embermill.encoder.ops.base import Ops


def make_ops(precision: str, threads: int) -> Ops:
    """precision: "float32-numpy" is float32 without compiled functions, as it was before there were any: the same bits.

    Raises DeviceError for a precision that a CPU does not have, and for fewer than one thread.
    """
    if threads < 1:
        raise DeviceError(f"threads: expected at least 1, got {threads}")
    if precision == "float32-numpy":
        from embermill.encoder.backends.cpu.ops import NumpyOps

        return NumpyOps(threads)
    if precision in ("auto", "float32", "bfloat16", "int8"):
        from embermill.encoder.backends.cpu.path_ops import open_path

        return open_path("float32" if precision == "auto" else precision, threads)
    raise DeviceError(f'precision on the CPU: expected "auto", "float32", "bfloat16" or "int8", got "{precision}"')
