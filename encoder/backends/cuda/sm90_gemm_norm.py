"""cuda/sm90_gemm_norm.cu: a product, a residual and LayerNorm in one kernel, for rows that fit into one block or into those of a cluster."""

from __future__ import annotations

import ctypes as C
from typing import NamedTuple

from embermill.encoder.backends.cuda.driver import launch, resident_blocks, tensor_map
from embermill.encoder.backends.cuda.sm90_gemm import THREADS, TILE_K, TILE_M
from embermill.encoder.backends.cupy.kernel import KernelModule


class RowTile(NamedTuple):
    """columns: of one block. stages: of shared memory. blocks: of a cluster that share a row; where it is one, two blocks of other rows share the weights."""

    columns: int
    stages: int
    blocks: int

    @property
    def parts(self) -> int:
        """Products that a block's columns are cut into: one has at most 256."""
        return 2 if self.columns > 256 else 1

    @property
    def cluster_rows(self) -> int:
        return 2 if self.blocks == 1 else 1

    @property
    def shared_bytes(self) -> int:
        """Stages of x and weight, a warp's 16 x 64 values on their way out, bias, gamma and beta, what blocks tell each other of a row, and barriers."""
        exchange = 2 * self.blocks * TILE_M * 8 + 32 if self.blocks > 1 else 0
        return self.stages * (TILE_M + self.columns) * TILE_K * 2 + 8 * 16 * 128 + 3 * self.columns * 4 + exchange + self.stages * 16


ROW_TILES = {256: RowTile(256, 4, 1), 384: RowTile(384, 3, 1), 512: RowTile(256, 4, 2), 768: RowTile(384, 3, 2)}  # by E


class HopperNorm:
    """out [T, E] = LayerNorm(x [T, K] @ weight[E, K]^T + bias [E] + residual [T, E]) * gamma [E] + beta [E]; all but x, weight and residual are float32.

    keep_sum: what LayerNorm is taken of is written, too. Addresses are device pointers; one of the results may be in the residual's place.
    """

    def __init__(
        self,
        weight: int,
        bias: int,
        gamma: int,
        beta: int,
        eps: float,
        outputs: int,
        inputs: int,
        *,
        precision: str,
        storage: int,
        multiprocessors: int,
        keep_sum: bool = False,
    ) -> None:
        self.tile = ROW_TILES[outputs]
        self.outputs, self.inputs, self.precision = outputs, inputs, precision
        self.constants = C.c_uint64(bias), C.c_uint64(gamma), C.c_uint64(beta), C.c_float(eps)
        rows, columns = self.tile.cluster_rows, self.tile.blocks
        defines = dict(STORAGE=storage, TILE_N=self.tile.columns, STAGES=self.tile.stages, CLUSTER_ROWS=rows, CLUSTER_COLUMNS=columns)
        defines |= {"KEEP_SUM": 1} if keep_sum else {}
        self.module = KernelModule("cuda/sm90_gemm_norm.cu", defines, "sm_90a")
        self.kernel = self.module.kernel("gemm_norm", (THREADS,), self.tile.shared_bytes)
        self.blocks = resident_blocks(self.kernel, rows * columns, multiprocessors)
        self.weight_map = tensor_map(weight, outputs, inputs, self.tile.columns // self.tile.parts // rows, precision)

    @staticmethod
    def fits(outputs: int, inputs: int) -> bool:
        """Whether the kernel takes these shapes."""
        return outputs in ROW_TILES and inputs % TILE_K == 0

    def __call__(self, x: int, residual: int, out: int, rows: int, stream: int, total: int | None = None) -> None:
        """total: where the sum goes, if it is kept."""
        x_map = tensor_map(x, rows, self.inputs, TILE_M // self.tile.blocks, self.precision)
        residual_map = tensor_map(residual, rows, self.outputs, TILE_M, self.precision)
        sizes = C.c_int(rows), C.c_int(self.inputs)
        kept = () if total is None else (C.c_uint64(total),)
        launch(self.kernel, self.blocks, stream, x_map, self.weight_map, residual_map, *self.constants, C.c_uint64(out), *sizes, *kept)
