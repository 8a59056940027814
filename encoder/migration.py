"""What users of sentence-transformers are used to and what has no meaning here: each raises an error that says what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from embermill.encoder.errors import InputError

_QUANTIZED = {
    "ubinary": "np.packbits(vectors > 0, axis=-1)",
    "binary": "(np.packbits(vectors > 0, axis=-1).astype(np.int16) - 128).astype(np.int8)",
}
_CALIBRATED = 'quantize_embeddings(vectors, precision="{kind}", calibration_embeddings=...) of sentence_transformers, which needs vectors to calibrate with'
_DEVICE = 'the device is chosen when the model is loaded: Encoder.from_pretrained(source, device="gpu")'
_SEVERAL = "one Encoder has one device; `embermill run` embeds a corpus on several"
_TEXTS = "give the texts as the first argument: encoder.encode(texts)"
# keyword -> the value that means what is done anyway, and what to write in place of any other
_KEYWORDS: dict[str, tuple[Any, str]] = {
    "convert_to_numpy": (True, "write torch.from_numpy(encoder.encode(texts)) for a tensor"),
    "convert_to_tensor": (False, "write torch.from_numpy(encoder.encode(texts))"),
    "output_value": ("sentence_embedding", "an Encoder gives one vector for each text and keeps no token's; leave output_value out"),
    "device": (None, _DEVICE),
    "pool": (None, _SEVERAL),
    "chunk_size": (None, _SEVERAL),
    "sentences": (..., _TEXTS),
    "inputs": (..., _TEXTS),
    "task": (None, "write encode_query(texts) or encode_document(texts)"),
}
_ATTRIBUTES = {
    "max_seq_length": "write encoder.max_tokens; it is set when the model is loaded: Encoder.from_pretrained(source, max_tokens=...)",
    "get_max_seq_length": "write encoder.max_tokens",
    "get_sentence_embedding_dimension": "write encoder.dimension",
    "get_embedding_dimension": "write encoder.dimension",
    "truncate_dim": "write encoder.dimension; Encoder.from_pretrained(source, dimensions=...) sets it",
    "prompts": "write encoder.description.config.prompts",
    "default_prompt_name": "write encoder.description.config.default_prompt_name",
    "tokenizer": "write encoder.encode_stream(batches): its batches say num_tokens and num_tokens_dropped",
    "tokenize": "write encoder.encode_stream(batches): its batches say num_tokens and num_tokens_dropped",
    "encode_multi_process": _SEVERAL,
    "start_multi_process_pool": _SEVERAL,
    "similarity_pairwise": "write (a * b).sum(axis=1) of normalised vectors a and b",
    "to": _DEVICE,
    "cuda": _DEVICE,
    "cpu": 'write Encoder.from_pretrained(source, device="cpu")',
    "half": 'write Encoder.from_pretrained(source, precision="float16")',
    "bfloat16": 'write Encoder.from_pretrained(source, precision="bfloat16")',
    "float": 'write Encoder.from_pretrained(source, precision="float32")',
    "eval": "leave it out: an Encoder does nothing but inference",
    "save_pretrained": "`embermill convert` writes a model's folder",
}


def refuse_unsupported_keywords(keywords: Mapping[str, Any]) -> None:
    """Of `encode`: the keywords of sentence-transformers that are not ours. InputError where one asks for something else than what is done."""
    for name, value in keywords.items():
        if name == "precision":
            _require_float32(value)
        elif name not in _KEYWORDS:
            raise TypeError(f"encode() got an unexpected keyword argument {name!r}")
        elif value != _KEYWORDS[name][0]:
            raise InputError(f"{name}={value!r}: {_KEYWORDS[name][1]}.")


def _require_float32(value: Any) -> None:
    if value in (None, "float32"):
        return
    advice = _QUANTIZED.get(value) or (_CALIBRATED.format(kind=value) if value in ("int8", "uint8") else "")
    if advice:
        raise InputError(f"precision={value!r}: vectors are float32; to quantise them, write {advice}.")
    loading = "from_pretrained(source, precision=...)"
    raise InputError(f"precision={value!r}: vectors are float32; what the model computes in is chosen when it is loaded: {loading}.")


def missing_attribute(name: str) -> AttributeError:
    """For an Encoder's attribute that is none."""
    advice = f": {_ATTRIBUTES[name]}" if name in _ATTRIBUTES else ""
    return AttributeError(f"an Encoder has no attribute {name!r}{advice}")
