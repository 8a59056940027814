"""cupy/rotary.cu: by which angles queries and keys are turned, and the pass that turns them in place."""

from __future__ import annotations

from typing import NamedTuple

import cupy as cp
import numpy as np

from embermill.encoder.backends.cupy.batch import DeviceArray, GpuBatch
from embermill.encoder.backends.cupy.kernel import KernelModule
from embermill.encoder.ops.rotary import Rotary

THREADS = 256
PARTS = 16  # blocks that share a document where its angles are made


class Angles(NamedTuple):
    """table: [., D] float32, (cosine, sine) for each of D/2 dimensions. positions: int32 [T], which of its rows a token takes; None: its own."""

    table: DeviceArray
    positions: DeviceArray | None


class RotaryAngles:
    """The angles of one Rotary for any batch: by position, or, where a document's length decides them, computed for each row of each batch.

    Tables are for the largest batch so far and are kept: captured passes read them.
    """

    def __init__(self, rotary: Rotary, module: KernelModule, blocks: int) -> None:
        self.rotary, self.module, self.blocks = rotary, module, blocks
        self.head_dim = 2 * len(rotary.inverse_frequencies)
        self.tables: list[DeviceArray] = []

    def of(self, batch: GpuBatch) -> Angles:
        table = self._table(batch.room.rows)
        if self.rotary.dynamic is None:
            return Angles(table, batch.position_ids)
        out = cp.empty((batch.room.rows, self.head_dim), np.float32)
        make = self.module.kernel("angles_by_length", (THREADS,))
        make((self.blocks, PARTS), table, batch.cu_seqlens, batch.num_sequences, out, self.rotary.dynamic.trained_positions)
        return Angles(out, None)

    def _table(self, rows: int) -> DeviceArray:
        """By position, (cosine, sine); or by length, frequencies. A document of `rows` tokens finds its own in it."""
        needed = rows if self.rotary.dynamic is None else max(rows - self.rotary.dynamic.trained_positions, 0) + 1
        if not self.tables or len(self.tables[-1]) < needed:
            self.tables.append(self._by_position(rows) if self.rotary.dynamic is None else cp.asarray(self.rotary.frequencies_up_to(rows)))
            cp.cuda.get_current_stream().synchronize()  # other streams may read it from now on
        return self.tables[-1]

    def _by_position(self, positions: int) -> DeviceArray:
        out = cp.empty((positions, self.head_dim), np.float32)
        self.module.kernel("angles_by_position", (THREADS,))((self.blocks,), cp.asarray(self.rotary.inverse_frequencies, np.float32), out, positions)
        return out
