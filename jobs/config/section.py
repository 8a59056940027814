"""What every section of the configuration is, and the types of values that several have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(gt=0)]
AutoInt = Literal["auto"] | PositiveInt


def listed(value: object) -> object:
    """YAML has lists; a frozen configuration has tuples. One text alone stands for a list of one."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def is_own_code(name: str) -> bool:
    """Whether it is `python:module:name`: a class or a function of the user's own."""
    parts = name.split(":")
    return len(parts) == 3 and parts[0] == "python" and all(parts)


class Section(BaseModel):
    """Frozen; unknown keys and values of another type are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
