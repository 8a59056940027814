"""The architectures that we run, each in a module that is imported when a model of it is opened."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol

from encoder.config import TransformerConfig
from encoder.errors import ModelConfigError
from encoder.ops.base import Activations, DeviceBatch, Ops
from encoder.weights.loader import NameTable, Parameters

# model_type of config.json -> module of this package. To add one: a module with name_table() and build(), and a line here.
_MODULES = {"bert": "bert"}

Forward = Callable[[DeviceBatch], Activations]


class Architecture(Protocol):
    """What a model's module offers."""

    def name_table(self, config: TransformerConfig) -> NameTable:
        """The parameters that a weight file must hold."""
        ...

    def build(self, config: TransformerConfig, parameters: Parameters, ops: Ops) -> Forward:
        """Plan the forward pass: packed batch to hidden states [T, E]."""
        ...


def get_architecture(model_type: str) -> Architecture:
    """The module for config.json's model_type. Raises ModelConfigError, naming those that there are."""
    if model_type not in _MODULES:
        raise ModelConfigError(f"model_type {model_type!r} is not supported; supported are {', '.join(sorted(_MODULES))}.")
    module: Architecture = import_module(f"encoder.models.{_MODULES[model_type]}")
    return module
