"""Which attention kernel runs on which architecture, and that its block fits there. No GPU is needed."""

from __future__ import annotations

import pytest

from embermill.encoder.backends.cuda.architecture import limits_of
from embermill.encoder.backends.cuda.attention_plan import MMA, WGMMA, AttentionPlan, plan_of
from embermill.encoder.backends.cupy.choice import compute_capability, describe_choice

WHOLE, SPLIT = MMA[128]
MPNET_RADIUS = 91


@pytest.mark.parametrize(
    ("architecture", "head_128"),
    [("sm_80", WHOLE), ("compute_80", WHOLE), ("sm_86", SPLIT), ("sm_87", WHOLE), ("sm_89", SPLIT), ("sm_90a", WHOLE), ("sm_100", WHOLE), ("sm_120", SPLIT)],
)
def test_the_plan_of_an_architecture(architecture: str, head_128: AttentionPlan) -> None:
    limits, hopper = limits_of(architecture), architecture == "sm_90a"
    assert [plan_of(dim, None, limits, hopper) for dim in (32, 64, 128)] == [*([WGMMA] * 2 if hopper else [MMA[32][0], MMA[64][0]]), head_128]
    assert plan_of(96, None, limits, hopper) is None
    for head_dim in (32, 64, 128):
        for radius in (None, MPNET_RADIUS):
            plan = plan_of(head_dim, radius, limits, hopper)
            assert plan is None or plan.shared_bytes(head_dim, radius) <= limits.shared_bytes


@pytest.mark.parametrize(
    ("architecture", "shared_kb", "threads"),
    [("sm_80", 163, 2048), ("sm_86", 99, 1536), ("sm_89", 99, 1536), ("sm_90a", 227, 2048), ("sm_103", 227, 2048), ("sm_121", 99, 1536), ("sm_130", 99, 1536)],
)
def test_limits(architecture: str, shared_kb: int, threads: int) -> None:
    assert limits_of(architecture) == (shared_kb << 10, threads)


def test_compute_capability() -> None:
    assert [compute_capability(name) for name in ("sm_90a", "sm_90", "compute_80", "9.0", "gfx", "sm_120")] == [90, 90, 80, 90, 0, 120]


@pytest.mark.parametrize(
    ("architecture", "precision", "words"),
    [
        ("sm_75", "float16", "float16 by the portable kernels: sm_75 is older than compute capability 8.0"),
        ("sm_80", "float16", "float16 by cuBLASLt and attention by mma.sync: sm_80 has compute capability 8.0 or later and is no Hopper"),
        ("sm_86", "bfloat16", "bfloat16 by cuBLASLt and attention by mma.sync: sm_86 has"),
        ("sm_89", "float16", "float16 by cuBLASLt and attention by mma.sync: sm_89 has"),
        ("sm_90", "float16", "float16 by kernels for Hopper alone: this GPU is sm_90"),
        ("sm_90a", "bfloat16", "bfloat16 by kernels for Hopper alone: this GPU is sm_90a"),
        ("sm_100", "float16", "float16 by cuBLASLt and attention by mma.sync: sm_100 has"),
        ("sm_120", "float16", "float16 by cuBLASLt and attention by mma.sync: sm_120 has"),
        ("sm_90", "float32", "float32 by cuBLASLt and the portable kernels: tensor cores are for 16 bits"),
        ("gfx942", "float16", "float16 by the portable kernels: gfx942 is no NVIDIA GPU"),
    ],
)
def test_one_line_says_which_path_is_taken_and_why(architecture: str, precision: str, words: str) -> None:
    line = describe_choice(architecture, precision)
    assert line.startswith(words) and "\n" not in line
    assert ("has not yet" in line) == ("mma.sync" in line), "what no GPU of its kind has run is said plainly"
