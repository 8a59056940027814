"""What NVIDIA's architectures allow a kernel, by compute capability."""

from __future__ import annotations

from typing import NamedTuple

from embermill.encoder.backends.cupy.choice import compute_capability


class Limits(NamedTuple):
    """shared_bytes: that one block may have. threads: of a multiprocessor. Its registers are 65,536 everywhere."""

    shared_bytes: int
    threads: int


LARGE, SMALL = Limits(163 << 10, 2048), Limits(99 << 10, 1536)
LIMITS = {80: LARGE, 86: SMALL, 87: Limits(163 << 10, 1536), 89: SMALL, 90: Limits(227 << 10, 2048), 100: Limits(227 << 10, 2048), 120: SMALL}
"""CUDA's programming guide, "Technical Specifications per Compute Capability"."""


def limits_of(architecture: str) -> Limits:
    """Those of the architecture, or of the nearest older one of its generation that is listed; what is newer than all has the smallest."""
    capability = compute_capability(architecture)
    known = [listed for listed in LIMITS if listed <= capability and listed // 10 == capability // 10]
    return LIMITS[max(known)] if known else SMALL
