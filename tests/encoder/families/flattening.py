"""sentence-transformers' flattened input on a CPU: it asks for flash attention, so a plain one takes its place, one document after another."""

from __future__ import annotations

from typing import Any

import pytest


def flash_attention(q: Any, k: Any, v: Any, *, cu_seqlens_q: Any, softmax_scale: float, window_size: tuple[int, int] = (-1, -1), **_: Any) -> Any:
    """q, k, v: [T, H, D]. The signature of flash_attn_varlen_func, as far as encoders use it; a window counts to both sides, both ends in."""
    import torch

    found = torch.empty_like(q)
    for start, end in zip(cu_seqlens_q[:-1].tolist(), cu_seqlens_q[1:].tolist(), strict=True):
        scores = torch.einsum("qhd,khd->hqk", q[start:end], k[start:end]) * softmax_scale
        if window_size[0] >= 0:
            places = torch.arange(end - start)
            scores = scores.masked_fill((places[:, None] - places).abs() > window_size[0], float("-inf"))
        found[start:end] = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v[start:end])
    return found


def flatten(model: Any, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Makes a SentenceTransformer on a CPU flatten its inputs. False where it does not for this architecture (MPNet has an attention of its own)."""
    from transformers import modeling_flash_attention_utils as library

    functions = (None, flash_attention, None, library._pad_input, library._unpad_input)
    monkeypatch.setattr(library, "_lazy_imports", lambda *_, **__: functions)
    monkeypatch.setattr(library, "_loaded_implementation", None)
    transformer = model[0]
    if not transformer.model.is_backend_compatible():
        return False
    transformer.model.config._attn_implementation = "flash_attention_2"
    transformer.unpad_inputs = None
    return bool(transformer.can_flatten_inputs)
