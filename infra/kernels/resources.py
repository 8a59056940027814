"""What a block of each kernel takes of a multiprocessor, read from its machine code, and whether an architecture has it.

Registers stand in the section of a kernel's code, its own shared memory in a section beside it, the threads of a block among its attributes
(`__launch_bounds__`). The shared memory that a launch adds is known to its plan alone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from embermill.encoder.backends.cuda.architecture import Limits, limits_of
from embermill.encoder.backends.cuda.attention_plan import plan_of

REGISTERS = 65536  # of a multiprocessor, on every architecture that has kernels here
WARP, REGISTER_UNIT = 32, 256  # registers are handed to whole warps, so many at a time
MAX_THREADS, SIZED = 0x05, 0x04  # EIATTR_MAX_THREADS; the format of attributes that say how long they are


class Usage(NamedTuple):
    """Of one block. threads: the most that it is launched with. registers: of a thread."""

    registers: int
    threads: int
    shared_bytes: int


def usage(code: bytes) -> dict[str, Usage]:
    """Kernel -> what a block of it takes, without what a launch adds; code: an ELF image."""
    sections = {name: (size, info, content) for name, size, info, content in _sections(code)}
    found = {}
    for name in sections:
        if name.startswith(".text."):
            kernel = name.removeprefix(".text.")
            shared_bytes = sections.get(f".nv.shared.{kernel}", (0, 0, b""))[0]
            found[kernel] = Usage(sections[name][1] >> 24, _max_threads(sections[f".nv.info.{kernel}"][2]), shared_bytes)
    return found


def complaints(kernel: str, taken: Usage, limits: Limits, registers: int = REGISTERS) -> list[str]:
    """What a multiprocessor lacks for one block of the kernel, in words; empty: nothing."""
    of_a_warp = -(-taken.registers * WARP // REGISTER_UNIT) * REGISTER_UNIT
    needs = (
        ("bytes of shared memory", taken.shared_bytes, limits.shared_bytes),
        ("threads", taken.threads, limits.threads),
        ("registers", of_a_warp * -(-taken.threads // WARP), registers),
    )
    return [f"{kernel}: a block takes {needed:,} {what}, a multiprocessor has {there:,}" for what, needed, there in needs if needed > there]


def dynamic_bytes(source: str, defines: dict[str, int], architecture: str) -> int | None:
    """What a launch adds; None where this variant is not what the architecture runs."""
    if source != "cuda/sm80_attention.cu":
        return 0
    head_dim, radius = defines["HEAD_DIM"], defines.get("BIAS_RADIUS")
    plan = plan_of(head_dim, radius, limits_of(architecture), hopper=False)
    if plan is None or plan.split != defines.get("SPLIT", 1):
        return None
    return plan.shared_bytes(head_dim, radius)


def check(source: str, defines: dict[str, int], architecture: str, code: bytes) -> int:
    """-> the kernels that were checked. Each check must also fail when its limit is one less than what is taken. Raises SystemExit in words."""
    added, limits, checked = dynamic_bytes(source, defines, architecture), limits_of(architecture), 0
    for kernel, own in usage(code).items() if added is not None else ():
        taken = own._replace(shared_bytes=own.shared_bytes + (added or 0))
        found = complaints(kernel, taken, limits)
        if found:
            raise SystemExit(f"{source} {defines} on {architecture}: {'; '.join(found)}")
        lowered = [Limits(taken.shared_bytes - 1, limits.threads), Limits(limits.shared_bytes, taken.threads - 1)]
        if not all(complaints(kernel, taken, low) for low in lowered) or not complaints(kernel, taken, limits, taken.registers * taken.threads - 1):
            raise SystemExit(f"{source} {defines} on {architecture}: a limit lowered below what {kernel} takes ({taken}) is not noticed")
        checked += 1
    return checked


def _sections(code: bytes) -> Iterator[tuple[str, int, int, bytes]]:
    """(name, size, info, content) of each section."""
    table, (size, count, names_at) = struct.unpack_from("<Q", code, 40)[0], struct.unpack_from("<3H", code, 58)
    padded = code + b"\0"  # CuPy's getCUBIN drops the last byte
    headers = [struct.unpack_from("<2I4Q2I2Q", padded, table + i * size) for i in range(count)]
    names = headers[names_at][4]
    for header in headers:
        at = names + header[0]
        yield padded[at : padded.index(b"\0", at)].decode(), header[5], header[7], padded[header[4] : header[4] + header[5]]


def _max_threads(attributes: bytes) -> int:
    at = 0
    while at < len(attributes):
        form, name, value = struct.unpack_from("<BBH", attributes, at)
        at += 4
        if (form, name) == (SIZED, MAX_THREADS):
            x, y, z = struct.unpack_from("<3I", attributes, at)
            return int(x * y * z)
        at += value if form == SIZED else 0
    raise ValueError("a kernel without __launch_bounds__: the threads of its blocks are not known")
