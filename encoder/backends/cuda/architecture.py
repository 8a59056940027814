"""What NVIDIA's architectures allow a kernel, by compute capability."""

from __future__ import annotations

from typing import NamedTuple

FIRST = 80
"""The first compute capability that this backend runs: mma.sync in 16 bits with asynchronous copies."""


class Limits(NamedTuple):
    """shared_bytes: that one block may have. threads: of a multiprocessor. Its registers are 65,536 everywhere."""

    shared_bytes: int
    threads: int


LARGE, SMALL = Limits(163 << 10, 2048), Limits(99 << 10, 1536)
LIMITS = {80: LARGE, 86: SMALL, 87: Limits(163 << 10, 1536), 89: SMALL, 90: Limits(227 << 10, 2048), 100: Limits(227 << 10, 2048), 120: SMALL}
"""CUDA's programming guide, "Technical Specifications per Compute Capability"."""


def compute_capability(architecture: str) -> int:
    """sm_90, sm_90a, compute_90, 90 or 9.0 to 90; 0 when it says nothing of the kind."""
    digits = "".join(character for character in architecture if character.isdigit())
    return int(digits) if digits else 0


def limits_of(architecture: str) -> Limits:
    """Those of the architecture, or of the nearest older one of its generation that is listed; what is newer than all has the smallest."""
    capability = compute_capability(architecture)
    known = [listed for listed in LIMITS if listed <= capability and listed // 10 == capability // 10]
    return LIMITS[max(known)] if known else SMALL
