"""Which of the ways to compute a GPU is given, and why, in a line for a person. No GPU is needed to say it."""

from __future__ import annotations

FIRST = 80
"""The first compute capability of NVIDIA's that has mma.sync in 16 bits with asynchronous copies."""
HOPPER = 90


def compute_capability(architecture: str) -> int:
    """sm_90, sm_90a, compute_90, 90 or 9.0 to 90; 0 when it says nothing of the kind."""
    digits = "".join(character for character in architecture if character.isdigit())
    return int(digits) if digits else 0


def describe_choice(architecture: str, precision: str) -> str:
    """architecture: "sm_86", "gfx942". precision: resolved."""
    capability = compute_capability(architecture)
    if not architecture.startswith(("sm_", "compute_")):
        return f"{precision} by the portable kernels: {architecture} is no NVIDIA GPU, which faster ones are for"
    if capability < FIRST:
        return f"{precision} by the portable kernels: {architecture} is older than compute capability 8.0, which the faster ones need"
    if precision == "float32":
        return f"{precision} by cuBLASLt and the portable kernels: tensor cores are for 16 bits"
    if capability == HOPPER and architecture.startswith("sm_"):
        return f"{precision} by kernels for Hopper alone: this GPU is {architecture}"
    never = "a Hopper GPU has run this path, an A100, A10, L4 or Blackwell has not yet"
    return f"{precision} by cuBLASLt and attention by mma.sync: {architecture} has compute capability 8.0 or later and is no Hopper ({never})"
