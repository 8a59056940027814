"""The section `chunk`: how `model.on_long_text: split` cuts documents."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from embermill.jobs.bookkeeping.stored_keys import IfAbsent
from embermill.jobs.config.errors import WrongKey
from embermill.jobs.config.section import PositiveInt, Section, is_own_code, listed

EDITION = 1  # of the cutting rules: other rules cut otherwise, and make another dataset


def _splitter(value: str | None) -> str | None:
    if value is not None and not is_own_code(value):
        raise ValueError(f"expected python:module:function, got {value!r:.80}")
    return value


class ChunkConfig(Section):
    """Every key has a default that cuts; without `on_long_text: split` none may be set."""

    max_tokens: Annotated[PositiveInt | None, IfAbsent(None)] = None
    min_fill: Annotated[float, Field(ge=0.1, le=0.9), IfAbsent(0.25)] = 0.25
    overlap_tokens: Annotated[int, Field(ge=0), IfAbsent(0)] = 0
    rules: Annotated[Literal["auto", "text", "markdown"], IfAbsent("auto")] = "auto"
    prefix_columns: Annotated[tuple[str, ...], BeforeValidator(listed), IfAbsent([])] = ()
    headings: Annotated[bool, IfAbsent(False)] = False
    keep_text: Annotated[bool, IfAbsent(False)] = False
    document_column: Annotated[str, Field(min_length=1), IfAbsent("document_id")] = "document_id"
    on_blob: Annotated[Literal["keep", "refuse"], IfAbsent("keep")] = "keep"
    splitter: Annotated[str | None, AfterValidator(_splitter), IfAbsent(None)] = None
    pooling: Annotated[Literal["alone", "late"], IfAbsent("alone")] = "alone"
    edition: Annotated[Literal[1], IfAbsent(1)] = 1

    @model_validator(mode="after")
    def _check(self) -> ChunkConfig:
        if self.max_tokens is not None and self.overlap_tokens * 2 >= self.max_tokens:
            said = f"expected less than half of chunk.max_tokens, which is {self.max_tokens}, got {self.overlap_tokens}"
            raise WrongKey("overlap_tokens", said, "max_tokens")
        if self.headings and self.rules == "text":
            raise WrongKey("headings", "true needs Markdown: set chunk.rules to auto or markdown", "rules")
        if self.headings and self.splitter is not None:
            raise WrongKey("headings", "true excludes chunk.splitter: leave one out, or keep headings in a column that chunk.prefix_columns names", "splitter")
        if self.pooling == "late":
            self._check_late()
        return self

    def _check_late(self) -> None:
        if self.max_tokens is None:
            raise WrongKey("pooling", "late needs chunk.max_tokens, the tokens of a chunk: set it; model.max_tokens is that of a window, which holds several")
        others = {"overlap_tokens": self.overlap_tokens > 0, "headings": self.headings, "splitter": self.splitter is not None}
        if taken := [f"chunk.{name}" for name, is_set in others.items() if is_set]:
            raise WrongKey("pooling", f"late goes without {' and '.join(taken)}: a chunk sees all of its window already; take it out", *taken)
