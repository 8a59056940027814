"""How config.json spells rotary position embeddings: `rope_parameters`, or the older `rope_theta` beside `rope_scaling`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from embermill.encoder.models.config_file import ConfigFile


class RopeParameters(NamedTuple):
    """kind: "default", "linear", "dynamic" or "ntk". factor: of the scaling; 1 where there is none."""

    kind: str
    theta: float
    factor: float = 1.0


def read_rope(file: ConfigFile, default_theta: float, supported: tuple[str, ...], theta_names: tuple[str, ...] = ("rope_theta",)) -> RopeParameters:
    """The rotation of all layers. theta_names: keys of theta outside of rope_parameters. Raises ModelConfigError for a kind that is not in `supported`."""
    given = file.get("rope_parameters", "rope_scaling", default={})
    theta = file.number(*theta_names, default=default_theta, least=1.0)
    return rope_from(file, given, theta, supported)


def rope_from(file: ConfigFile, given: Any, theta: float, supported: tuple[str, ...]) -> RopeParameters:
    """given: one object as in rope_parameters. theta: where it names none."""
    if not isinstance(given, Mapping):
        raise file.refuse(f"rope_parameters: expected an object, got {given!r}.")
    values = ConfigFile(given, file.path)
    kind = values.get("rope_type", "type", default="default")
    known = {"rope_type", "type", "rope_theta", "factor", "partial_rotary_factor", "original_max_position_embeddings"}
    unknown = sorted(key for key, value in given.items() if key not in known and value is not None)
    if kind not in supported or unknown:
        what = f"rope_type {kind!r}" if kind not in supported else f"{', '.join(unknown)} in rope_parameters"
        raise file.refuse(f"{what} is not supported for this family; supported are {', '.join(supported)}.")
    values.expect(partial_rotary_factor=1.0)
    factor = 1.0 if kind == "default" else values.number("factor", least=1e-6)
    return RopeParameters(str(kind), values.number("rope_theta", default=theta, least=1.0), factor)
