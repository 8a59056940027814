"""The cutter of a job: what the configuration's section `chunk` says, counted by what its engine says of its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from embermill.jobs.chunking.cutter import Cutter, Settings
from embermill.jobs.chunking.late import LateCutter
from embermill.jobs.chunking.measure import CountTokens, Measure, none_unknown
from embermill.jobs.chunking.own_splitter import Splitter
from embermill.jobs.engine import Preview
from embermill.jobs.errors import UsageError
from embermill.jobs.named_class import import_module

if TYPE_CHECKING:
    from embermill.jobs.config import JobConfig


def make_cutter(config: JobConfig, preview: Preview, *, search_path: Sequence[str] = ()) -> Cutter | LateCutter:
    """UsageError where such an engine, or such a limit, cannot be cut for."""
    chunk, asked = config.chunk, f"model.on_long_text: split: the engine {config.model.engine}"
    if preview.count_tokens is None and preview.count_uncut is None:
        raise UsageError(f"{asked} does not count tokens: its `preview` must give count_tokens (embermill.jobs.engine.Preview)")
    limit = chunk.max_tokens or preview.max_tokens
    if limit is None:
        raise UsageError(f"{asked} names no limit: set chunk.max_tokens, or let its `preview` give max_tokens")
    if preview.max_tokens is not None and limit > preview.max_tokens:
        raise UsageError(f"chunk.max_tokens: expected at most {preview.max_tokens}, which is all that the model takes, got {limit}")
    if chunk.overlap_tokens * 2 >= limit:
        raise UsageError(f"chunk.overlap_tokens: expected less than half of a chunk's {limit} tokens, got {chunk.overlap_tokens}")
    if chunk.pooling == "late":
        _require_late(preview, limit)
    settings = Settings(limit, chunk.min_fill, chunk.overlap_tokens, chunk.headings, chunk.on_blob == "refuse")
    measure = Measure(_counter(preview, limit, asked), preview.unknown_words or none_unknown, preview.counts_add_up)
    try:
        chunks = Cutter(measure, settings, _splitter(chunk.splitter, search_path))
    except ValueError as error:
        raise UsageError(f"{'chunk.max_tokens' if chunk.max_tokens else asked}: {error}") from None
    if chunk.pooling != "late" or preview.max_tokens is None:
        return chunks
    return LateCutter(Cutter(measure, replace(settings, max_tokens=preview.max_tokens)), chunks)


def _require_late(preview: Preview, limit: int) -> None:
    if preview.why_not_late:
        raise UsageError(f"chunk.pooling: late: {preview.why_not_late}: leave it out")
    if preview.max_tokens is None or limit >= preview.max_tokens:
        raise UsageError(
            f"chunk.pooling: late: expected chunk.max_tokens under {preview.max_tokens}, the tokens of a window (model.max_tokens), got {limit}: "
            "a window must hold several chunks"
        )


def _counter(preview: Preview, limit: int, asked: str) -> CountTokens:
    """UsageError where a count stops at the limit: what is over could not be told from what fits."""
    if preview.count_uncut is not None:
        return preview.count_uncut
    assert preview.count_tokens is not None
    if int(np.asarray(preview.count_tokens(["a " * (2 * limit + 2)]))[0]) <= limit:
        raise UsageError(f"{asked} counts {limit} tokens at most: count_tokens must count those over the limit too, or its `preview` give count_uncut")
    return preview.count_tokens


def _splitter(name: str | None, search_path: Sequence[str]) -> Splitter | None:
    if name is None:
        return None
    _, module_name, function = name.split(":")
    found: Splitter | None = getattr(import_module(module_name, f"chunk.splitter: {name}", search_path), function, None)
    if not callable(found):
        raise UsageError(f"chunk.splitter: {name}: the module {module_name} has no function {function}")
    return found
