"""Texts in, embeddings out: BERT-like encoders on a CPU or a GPU, without torch. Knows nothing of Ray or of the job.

encoder        the public class; joins the rooms below
sources, config, description     where a model is, what its folder says, and what the options make of it
text/          texts -> token ids: tokenizer, prompt, limits
pipeline/      documents -> windows -> packed batches and back in the caller's order; the stages overlap
models/, pooling                 the forward pass, written over ops/ (the vocabulary), which each of backends/ offers
weights/, parameters             every format behind one face, and every tensor of a model accounted for
migration, similarity, progress     what users of sentence-transformers expect of an encoder, and what to write where it is another word here
measure/       how fast it is here

Importing this costs next to nothing: each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if __name__ != "embermill.encoder":
    raise ImportError("this package is called embermill.encoder: write `from embermill import Encoder`, or `import embermill.encoder`", name=__name__)

if TYPE_CHECKING:
    from embermill.encoder.description import ModelDescription, describe
    from embermill.encoder.encoder import Encoder
    from embermill.encoder.errors import DeviceError, EncoderError, InputError, ModelConfigError, SourceError, TokenizerError, WeightsError
    from embermill.encoder.pipeline.windows import EncodedBatch

_HOMES = {
    "DeviceError": "errors",
    "EncodedBatch": "pipeline.windows",
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
    value = getattr(import_module(f"embermill.encoder.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
