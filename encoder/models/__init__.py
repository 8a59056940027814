"""The architectures that we run, each in a module that is imported when a model of it is opened.

To add one: a module here with name_table() and build(), and a line in encoder/config.py's ARCHITECTURES, which refuses all others when config.json is read.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol

from embermill.encoder.config import ARCHITECTURES, TransformerConfig
from embermill.encoder.ops.base import Activations, DeviceBatch, Ops
from embermill.encoder.weights.loader import NameTable, Parameters

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
    """The module for a model_type of embermill.encoder.config.ARCHITECTURES."""
    module: Architecture = import_module(f"embermill.encoder.models.{ARCHITECTURES[model_type]}")
    return module
