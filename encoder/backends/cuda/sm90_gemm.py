"""cuda/sm90_gemm.cu: a product and what follows it: an activation, a gate, or queries and keys turned by their positions."""

from __future__ import annotations

import ctypes as C
from dataclasses import dataclass
from typing import Any, NamedTuple

from embermill.encoder.backends.cuda.driver import launch, resident_blocks, tensor_map
from embermill.encoder.backends.cupy.kernel import KernelModule

TILE_M, TILE_K, THREADS = 128, 64, 384
ROTARY_DIMS = (32, 64, 128)


@dataclass(frozen=True)
class Tile:
    """columns: of the 128 rows. stages: of shared memory. cluster: blocks that share the weights."""

    columns: int = 256
    stages: int = 4
    cluster: int = 2

    @property
    def shared_bytes(self) -> int:
        """Stages of x and weight, boxes of 64 x 64 on their way out, and barriers."""
        boxes = 2 if self.columns % 128 else 4
        return self.stages * (TILE_M + self.columns) * TILE_K * 2 + boxes * 64 * 64 * 2 + self.stages * 16

    @property
    def defines(self) -> dict[str, int]:
        return dict(TILE_N=self.columns, STAGES=self.stages, CLUSTER_ROWS=self.cluster)

    def whole(self, outputs: int) -> int:
        """Columns of whole tiles."""
        return -(-outputs // self.columns) * self.columns


CHOSEN = Tile()  # where a product names no other


class After(NamedTuple):
    """What follows the product. activation: a number of activation.cuh; with `gated`, of the gate. rotary_dim: of the heads that are turned, 0 for none.

    turned: columns, from the first on, that hold such heads.
    """

    activation: int = 0
    gated: bool = False
    rotary_dim: int = 0
    turned: int = 0

    def defines(self, biased: bool) -> dict[str, int]:
        if self.gated:
            return dict(ACTIVATION=self.activation, GATED=1, BIAS=int(biased))
        return dict(ROTARY_DIM=self.rotary_dim, BIAS=int(biased)) if self.rotary_dim else dict(ACTIVATION=self.activation)


class HopperGemm:
    """out [T, N] = activation(x [T, K] @ weight[N, K]^T + bias [N]), or what `after` says; bias is float32. Addresses are device pointers.

    With a gate the weight is `in_eights`, the bias too, and out [T, N / 2]. With a gate or angles there may be no bias, and a bias reaches up to whole tiles.
    """

    def __init__(
        self,
        weight: int,
        bias: int | None,
        outputs: int,
        inputs: int,
        *,
        precision: str,
        storage: int,
        multiprocessors: int,
        after: After = After(),  # noqa: B008
        tile: Tile | None = None,
    ) -> None:
        self.tile = tile or CHOSEN
        in_part = outputs % self.tile.columns != 0 and not (after.gated or after.rotary_dim)
        if in_part or inputs % TILE_K:
            raise ValueError(f"gemm_wgmma: expected outputs in tiles of {self.tile.columns} and inputs in steps of {TILE_K}, got weight [{outputs}, {inputs}]")
        self.outputs, self.inputs, self.precision, self.bias, self.after = outputs, inputs, precision, bias or 0, after
        self.module = KernelModule("cuda/sm90_gemm.cu", dict(STORAGE=storage) | after.defines(bias is not None) | self.tile.defines, "sm_90a")
        self.kernel = self.module.kernel("gemm_wgmma", (THREADS,), self.tile.shared_bytes)
        self.blocks = resident_blocks(self.kernel, self.tile.cluster, multiprocessors)
        self.weight_map = tensor_map(weight, outputs, inputs, self.tile.columns // self.tile.cluster, precision)

    @staticmethod
    def fits(outputs: int, inputs: int) -> bool:
        """Whether the kernel takes these shapes, with an activation or none."""
        return outputs % CHOSEN.columns == 0 and inputs % TILE_K == 0

    @staticmethod
    def fits_gated(inner: int, inputs: int) -> bool:
        return inner % 8 == 0 and inputs % TILE_K == 0

    @staticmethod
    def fits_rotary(outputs: int, inputs: int, head_dim: int) -> bool:
        return head_dim in ROTARY_DIMS and outputs % 8 == 0 and inputs % TILE_K == 0

    def __call__(self, x: int, out: int, rows: int, stream: int, angles: tuple[int, int] | None = None) -> None:
        """angles: (cosine, sine) pairs, [., D/2] float32, and which row of them each row of x takes, [T] int32; 0: its own."""
        x_map = tensor_map(x, rows, self.inputs, TILE_M, self.precision)
        out_map = tensor_map(out, rows, self.outputs // (2 if self.after.gated else 1), 64, self.precision)
        sizes = C.c_int(rows), C.c_int(self.tile.whole(self.outputs)), C.c_int(self.inputs)
        rotation: tuple[Any, ...] = ()
        if angles is not None:
            table, positions = angles
            rotation = C.c_uint64(table), C.c_uint64(positions), C.c_int(self.after.turned)
        launch(self.kernel, self.blocks, stream, x_map, self.weight_map, out_map, C.c_uint64(self.bias), *sizes, *rotation)


def in_eights(gate: Any, up: Any) -> Any:
    """Eight rows of the one, eight of the other, and so on: [F, ...] twice to [2F, ...]. Arrays of NumPy or CuPy."""
    out = gate.__class__((2 * len(gate), *gate.shape[1:]), gate.dtype)
    eights = out.reshape(-1, 2, 8, *gate.shape[1:])
    for place, part in enumerate((gate, up)):
        eights[:, place] = part.reshape(-1, 8, *part.shape[1:])
    return out
