"""Well-known families that we do not run, and why: said when such a model is opened."""

from __future__ import annotations

_DECODER = "it is a decoder (causal attention, RMSNorm, fewer key heads than query heads)"
_RELATIVE = "its attention has relative positions of another kind"

REFUSALS = {
    "qwen2": _DECODER,
    "qwen3": _DECODER,
    "mistral": _DECODER,
    "llama": _DECODER,
    "gemma": _DECODER,
    "gemma2": _DECODER,
    "gemma3": "it has RMSNorm, fewer key heads than query heads and values that overflow in float16",
    "gemma3_text": "it has RMSNorm, fewer key heads than query heads and values that overflow in float16",
    "eurobert": "it has RMSNorm and fewer key heads than query heads",
    "jina_embeddings_v3": "its vectors need one of five adapters, chosen by task",
    "t5": _RELATIVE,
    "deberta": _RELATIVE,
    "deberta-v2": _RELATIVE,
    "electra": "its embeddings may have another width than its layers",
    "albert": "its layers share their weights",
    "xlnet": _RELATIVE,
    "clip": "it is a model of texts and images",
}
