"""A family's table of names with shapes in letters ("EF"), written once, as the shapes of one model's parameters."""

from __future__ import annotations

from collections.abc import Mapping


def of_layers(letters: Mapping[str, str], at: str, num_layers: int) -> dict[str, str]:
    """letters: what each layer has. at: what comes before its names, "{}" being the layer's number."""
    return {at.format(layer) + name: shape for layer in range(num_layers) for name, shape in letters.items()}


def shapes_of(letters: Mapping[str, str], sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Each name's shape, [out, in] for products. sizes: what each letter stands for."""
    return {name: tuple(sizes[letter] for letter in shape) for name, shape in letters.items()}
