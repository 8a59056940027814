"""What a family of models offers to the rest of the encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from embermill.encoder.models.config_file import ConfigFile
from embermill.encoder.ops.base import Activations, DeviceBatch, Ops
from embermill.encoder.weights.loader import NameTable, Parameters

Forward = Callable[[DeviceBatch], Activations]
"""A planned forward pass: packed batch to hidden states [T, E]."""


class FamilyConfig(Protocol):
    """A model's config.json as its family reads it. Sizes are counts."""

    @property
    def model_type(self) -> str: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def vocab_size(self) -> int: ...

    @property
    def position_limit(self) -> int | None:
        """Tokens of the longest document that the model can take, special ones included; None: any."""
        ...

    def fingerprint(self) -> dict[str, object]:
        """What of it changes vectors, by name, ready for JSON. The names and values are for ever: datasets hold a digest of them."""
        ...


class Family(Protocol):
    """A module of embermill.encoder.models."""

    def read_config(self, file: ConfigFile) -> Any:
        """The FamilyConfig. Raises ModelConfigError for what cannot be honoured."""
        ...

    def name_table(self, config: Any) -> NameTable:
        """The parameters that a weight file must hold: names and shapes, written once."""
        ...

    def build(self, config: Any, parameters: Parameters, ops: Ops) -> Forward:
        """Plan the forward pass."""
        ...
