"""LayerNorm and attention by compiled functions, float32. Both are per row or per document, so that nothing depends on what else is in the batch."""

from __future__ import annotations

import ctypes

import numpy as np

from embermill.encoder.backends.cpu.compiled.library import address, load_library
from embermill.encoder.backends.cpu.compiled.paths import Path
from embermill.encoder.backends.cpu.workspace import Workspace
from embermill.encoder.pipeline.batching import PackedBatch


class CompiledLayerNorm:
    """LayerNorm(x + residual)."""

    def __init__(self, path: Path, gamma: np.ndarray, beta: np.ndarray | None, eps: float) -> None:
        self._run = getattr(load_library(), f"{path.rows}_layer_norm")
        self._gamma, self._beta = np.ascontiguousarray(gamma, np.float32), None if beta is None else np.ascontiguousarray(beta, np.float32)
        self._eps = ctypes.c_float(eps)

    def __call__(self, x: np.ndarray, residual: np.ndarray | None = None) -> np.ndarray:
        """x, residual: [T, E] to a new array [T, E]."""
        y = np.empty(x.shape, np.float32)
        self.into(y, np.ascontiguousarray(x, np.float32), residual)
        return y

    def into(self, y: np.ndarray, x: np.ndarray, residual: np.ndarray | None) -> None:
        """The same into y [T, E], which may be x or residual."""
        assert all(array.flags.c_contiguous and array.dtype == np.float32 for array in (x, y)) and (residual is None or residual.flags.c_contiguous)
        added = None if residual is None else address(residual)
        shift = None if self._beta is None else address(self._beta)
        self._run(address(x), added, address(self._gamma), shift, self._eps, ctypes.c_int64(x.shape[1]), ctypes.c_int64(len(x)), address(y))


class CompiledAttention:
    """softmax(q k^T / sqrt(D)) v inside each document, with neither rotation, window nor bias by distance (attention.py has those)."""

    def __init__(self, path: Path, num_heads: int, head_dim: int, workspace: Workspace) -> None:
        library = load_library()
        self._run, self._scratch = getattr(library, f"{path.rows}_attention"), getattr(library, f"{path.rows}_attention_scratch")
        self._sizes, self._workspace = (ctypes.c_int64(num_heads), ctypes.c_int64(head_dim)), workspace
        self.width, self._scale = num_heads * head_dim, ctypes.c_float(head_dim**-0.5)

    def __call__(self, qkv: np.ndarray, batch: PackedBatch) -> np.ndarray:
        """qkv: [T, 3E] to a new array [T, E]."""
        context = np.empty((len(qkv), self.width), np.float32)
        self.into(context, qkv, batch)
        return context

    def into(self, context: np.ndarray, qkv: np.ndarray, batch: PackedBatch) -> None:
        """The same into context [T, E]. Filler rows are set to 0."""
        assert context.flags.c_contiguous and qkv.flags.c_contiguous and qkv.dtype == np.float32
        if batch.num_tokens < len(context):
            context[:] = 0
        starts, lengths = batch.cu_seqlens[:-1].astype(np.int64), batch.lengths.astype(np.int64)
        longest = int(lengths.max(initial=0))
        scratch = self._workspace.array("attention scratch", self._scratch(ctypes.c_int64(longest), self._sizes[1]))
        self._run(address(qkv), address(starts), address(lengths), ctypes.c_int64(len(lengths)), *self._sizes, self._scale, address(context), address(scratch))
