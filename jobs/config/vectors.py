"""`output.vectors`: the columns of vectors that one pass writes, each in a form of its own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from embermill.jobs.config.errors import WrongKey
from embermill.jobs.config.section import PositiveInt, Section

BITS_A_BYTE = 8


class VectorConfig(Section):
    """One column. dimensions: unset, all of the model's. source: the engine's column, the first unless named. scale: of int8, measured unless given."""

    column: Annotated[str, Field(min_length=1)]
    dtype: Literal["float32", "float16", "int8", "ubinary"] = "float32"
    dimensions: PositiveInt | None = None
    int8_ranges: Literal["symmetric", "sentence-transformers"] = "symmetric"
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    source: str | None = None

    @model_validator(mode="after")
    def _check(self) -> VectorConfig:
        if self.dtype != "int8" and (self.int8_ranges != "symmetric" or self.scale is not None):
            key = "scale" if self.scale is not None else "int8_ranges"
            raise WrongKey(key, f"is for int8 alone, and the column {self.column!r} is {self.dtype}")
        if self.scale is not None and self.int8_ranges != "symmetric":
            raise WrongKey("scale", f"is one number for all, and int8_ranges {self.int8_ranges} has a range for each dimension: leave one of the two out")
        if self.dtype == "ubinary" and self.dimensions is not None and self.dimensions % BITS_A_BYTE:
            raise WrongKey("dimensions", f"ubinary packs eight dimensions a byte: expected a multiple of 8, got {self.dimensions}")
        return self


def _entries(value: object) -> object:
    """YAML has lists; a frozen configuration has tuples."""
    return tuple(value) if isinstance(value, list) else value


def _distinct(entries: tuple[VectorConfig, ...]) -> tuple[VectorConfig, ...]:
    columns = [entry.column for entry in entries]
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise ValueError(f"two columns would be called {twice[0]!r}: give them different names")
    return entries


Vectors = Annotated[tuple[VectorConfig, ...], BeforeValidator(_entries), AfterValidator(_distinct)]
