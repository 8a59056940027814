"""A config.json, read value by value: each method checks one kind of value, and says what was expected, what came, and in which file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embermill.encoder.errors import ModelConfigError

# Hugging Face's names of activations -> ops'. "gelu" is the erf form.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_new",
    "gelu_fast": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
PLAIN_ACTIVATIONS = ("gelu", "gelu_new", "relu")
"""Of feed-forward networks without a gate."""


MAX_LAYERS = 10_000
MAX_WHOLE = (1 << 31) - 1
"""No size, count or position of a model is beyond it; whatever is computed from two of them fits a float and 64 bits."""
MAX_NUMBER = 1e30
MAX_SHOWN = 80  # characters of a value that is refused


class ConfigFile:
    """values: the JSON object. Where several names are given, the first that is there counts: the same setting under names of different ages."""

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        self.values, self.path = values, path

    def get(self, *names: str, default: Any = None) -> Any:
        """The value as it is; `default` where it is absent or null."""
        return next((self.values[name] for name in names if self.values.get(name) is not None), default)

    def refuse(self, problem: str) -> ModelConfigError:
        return ModelConfigError(f"{self.path}: {problem}")

    def positive(self, *names: str, default: int | None = None) -> int:
        """A whole number from 1 up."""
        return self._whole(1, names, default)

    def num_layers(self, *names: str) -> int:
        """The number of layers, before anything is made for each of them."""
        value = self.positive(*names)
        if value > MAX_LAYERS:
            raise self.refuse(f"{names[0]}: expected at most {MAX_LAYERS} layers, got {value}.")
        return value

    def natural(self, *names: str, default: int | None = None) -> int:
        """A whole number from 0 up."""
        return self._whole(0, names, default)

    def _whole(self, least: int, names: tuple[str, ...], default: int | None) -> int:
        value = self.get(*names, default=default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_WHOLE:
            expected = ("a positive whole number" if least else "a whole number from 0 up") + (" below 2^31" if isinstance(value, int) and value > 0 else "")
            raise self.refuse(f"{names[0]}: expected {expected}, got {repr(value)[:MAX_SHOWN]}.")
        return value

    def number(self, *names: str, default: float | None = None, least: float = 0.0, below: float = MAX_NUMBER) -> float:
        """A number from `least` to below `below`."""
        value = self.get(*names, default=default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < below:
            expected = f"a number from {least:g} to {below:g}" if below < MAX_NUMBER else f"a number from {least:g} up"
            raise self.refuse(f"{names[0]}: expected {expected}, got {repr(value)[:MAX_SHOWN]}.")
        return float(value)

    def flag(self, *names: str, default: bool) -> bool:
        value = self.get(*names, default=default)
        if not isinstance(value, bool):
            raise self.refuse(f"{names[0]}: expected true or false, got {value!r}.")
        return value

    def activation(self, *names: str, default: str = "gelu", supported: tuple[str, ...] = PLAIN_ACTIVATIONS) -> str:
        """In ops' spelling, one of `supported`."""
        value = self.get(*names, default=default)
        found = ACTIVATIONS.get(value) if isinstance(value, str) else None
        if found not in supported:
            known = sorted(name for name, meaning in ACTIVATIONS.items() if meaning in supported)
            raise self.refuse(f"{names[0]} {value!r} is not supported; supported are {', '.join(known)}.")
        return str(found)

    def expect(self, **expected: Any) -> None:
        """Each of these keys is absent, null or as expected."""
        for key, value in expected.items():
            if self.values.get(key, value) not in (value, None):
                raise self.refuse(f"{key} {self.values[key]!r} is not supported; expected {value!r}.")

    def require_no_code(self) -> None:
        """For families whose own code is not replaced by ours: code in a model folder is never run."""
        if code := self.values.get("auto_map"):
            raise self.refuse(f"auto_map asks for Python code of the model's own ({', '.join(map(str, code))}), which is never run.")

    def require_heads(self, hidden_size: int, num_heads: int, *, rotary: bool = False) -> None:
        """rotary: dimensions of a head are rotated in pairs."""
        if hidden_size % num_heads:
            raise self.refuse(f"hidden_size {hidden_size} is not a multiple of num_attention_heads {num_heads}.")
        if rotary and hidden_size // num_heads % 2:
            raise self.refuse(f"rotary positions need heads of an even size; hidden_size {hidden_size} for {num_heads} heads gives {hidden_size // num_heads}.")
