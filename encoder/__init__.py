"""Texts in, embeddings out: BERT-like encoders on a CPU or a GPU, without torch. Knows nothing of Ray or of the job.

sources, config, description     where a model is, what its folder says, and what the options make of it
documents, tokenizer             what a caller hands over -> pieces -> token ids (glued_prompt: where a prompt would swallow some)
stream, windows, batching        batches of texts -> windows -> packed batches, and batches of embeddings again; the stages overlap
runner, turns, busy, channel     the threads that keep the device busy, and what passes between threads
models/, pooling                 the forward pass, written over ops/; kernels/ below it
weights/, parameters             every format behind one face, and every tensor of a model accounted for
throughput, gpu_profile, random_model   how fast it is here

Importing this costs next to nothing: each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encoder.description import ModelDescription, describe
    from encoder.encoder import Encoder
    from encoder.errors import DeviceError, EncoderError, InputError, ModelConfigError, SourceError, TokenizerError, WeightsError
    from encoder.windows import EncodedBatch

_HOMES = {
    "DeviceError": "errors",
    "EncodedBatch": "windows",
    "Encoder": "encoder",
    "EncoderError": "errors",
    "InputError": "errors",
    "ModelConfigError": "errors",
    "ModelDescription": "description",
    "SourceError": "errors",
    "TokenizerError": "errors",
    "WeightsError": "errors",
    "describe": "description",
}

__all__ = [
    "DeviceError",
    "EncodedBatch",
    "Encoder",
    "EncoderError",
    "InputError",
    "ModelConfigError",
    "ModelDescription",
    "SourceError",
    "TokenizerError",
    "WeightsError",
    "describe",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"encoder.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
