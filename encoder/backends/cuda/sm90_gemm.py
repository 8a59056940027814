"""cuda/sm90_gemm.cu: a product with the activation in its epilogue."""

from __future__ import annotations

import ctypes as C
from dataclasses import dataclass

from embermill.encoder.backends.cuda.driver import launch, resident_blocks, tensor_map
from embermill.encoder.backends.cupy.kernel import KernelModule

TILE_M, TILE_K, THREADS = 128, 64, 384


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


CHOSEN = Tile()  # where a product names no other


class HopperGemm:
    """out [T, N] = activation(x [T, K] @ weight[N, K]^T + bias [N]); bias is float32. Addresses are device pointers."""

    def __init__(
        self,
        weight: int,
        bias: int,
        outputs: int,
        inputs: int,
        *,
        precision: str,
        storage: int,
        activation: int,
        multiprocessors: int,
        tile: Tile | None = None,
    ) -> None:
        self.tile = tile or CHOSEN
        if outputs % self.tile.columns or inputs % TILE_K:
            raise ValueError(f"gemm_wgmma: expected outputs in tiles of {self.tile.columns} and inputs in steps of {TILE_K}, got weight [{outputs}, {inputs}]")
        self.outputs, self.inputs, self.precision, self.bias = outputs, inputs, precision, bias
        defines = dict(STORAGE=storage, ACTIVATION=activation, TILE_N=self.tile.columns, STAGES=self.tile.stages, CLUSTER_ROWS=self.tile.cluster)
        self.module = KernelModule("cuda/sm90_gemm.cu", defines, "sm_90a")
        self.kernel = self.module.kernel("gemm_wgmma", (THREADS,), self.tile.shared_bytes)
        self.blocks = resident_blocks(self.kernel, self.tile.cluster, multiprocessors)
        self.weight_map = tensor_map(weight, outputs, inputs, self.tile.columns // self.tile.cluster, precision)

    @staticmethod
    def fits(outputs: int, inputs: int) -> bool:
        """Whether the kernel takes these shapes."""
        return outputs % CHOSEN.columns == 0 and inputs % TILE_K == 0

    def __call__(self, x: int, out: int, rows: int, stream: int) -> None:
        x_map = tensor_map(x, rows, self.inputs, TILE_M, self.precision)
        out_map = tensor_map(out, rows, self.outputs, 64, self.precision)
        sizes = C.c_int(rows), C.c_int(self.outputs), C.c_int(self.inputs)
        launch(self.kernel, self.blocks, stream, x_map, self.weight_map, out_map, C.c_uint64(self.bias), *sizes)
