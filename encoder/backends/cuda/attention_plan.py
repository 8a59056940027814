"""Which attention kernel runs where, and how it is launched."""

from __future__ import annotations

from typing import NamedTuple

from embermill.encoder.backends.cuda import distance_bias
from embermill.encoder.backends.cuda.architecture import Limits

TENSOR_HEADS, WGMMA_HEADS = (32, 64, 128), (32, 64)
TILE_ROWS, KEY_ROWS = 128, 64  # query rows of a tile, and keys at a time
BARRIER_BYTES = 256


class AttentionPlan(NamedTuple):
    """How attention_{name} of cuda/{first}_attention.cu is launched: threads of a block, stages of keys and values, crews of threads with tiles of their own.

    first: the first architecture that it runs on. split: parts of a tile that are computed apart, where a whole one does not fit into shared memory.
    """

    first: str
    name: str
    threads: int
    stages: int = 2
    crews: int = 1
    split: int = 1

    def shared_bytes(self, head_dim: int, bias_radius: int | None = None) -> int:
        """Each crew: two slots of queries with their head's bias, its stages, and barriers; whole KiB."""
        rows = 2 * TILE_ROWS // self.split + self.stages * 2 * KEY_ROWS
        biases = 0 if bias_radius is None else 2 * distance_bias.shared_bytes(bias_radius)
        return self.crews * (-(-(rows * head_dim * 2 + biases + BARRIER_BYTES) // 1024) * 1024)

    @property
    def defines(self) -> dict[str, int]:
        return {"SPLIT": self.split} if self.split > 1 else {}


WGMMA = AttentionPlan("sm90", "wgmma", threads=640, stages=4, crews=2)
MMA = {
    32: [AttentionPlan("sm80", "mma", threads=128)],
    64: [AttentionPlan("sm80", "mma", threads=128)],
    128: [AttentionPlan("sm80", "mma", threads=256), AttentionPlan("sm80", "mma", threads=128, split=2)],
}
"""By head dimension, the best first."""


def plan_of(head_dim: int, bias_radius: int | None, limits: Limits, hopper: bool) -> AttentionPlan | None:
    """The first plan whose block fits; None: the portable kernel."""
    plans = [WGMMA] if hopper and head_dim in WGMMA_HEADS else MMA.get(head_dim, [])
    return next((plan for plan in plans if plan.shared_bytes(head_dim, bias_radius) <= limits.shared_bytes), None)
