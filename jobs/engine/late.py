"""`chunk.pooling: late`: an engine that is asked for windows, where the rows that it is given are chunks in them (chunking.late)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from embermill.jobs.chunking.late import Grouped, SpannedText, by_window
from embermill.jobs.engine import Embedded, Engine
from embermill.jobs.engine.around import AroundEngine

if TYPE_CHECKING:
    from embermill.jobs.config import JobConfig


class SpanEngine(Engine, Protocol):
    """An Engine that also gives parts of a text vectors of their own; NativeEngine is one."""

    def embed_spans(self, texts: Iterable[Sequence[SpannedText]]) -> Iterator[Embedded]: ...


class LateEngine(AroundEngine[SpanEngine]):
    """Each window of a batch is read once. Its token ids are those that count: nothing is to be compared."""

    fast_tokenizer_name = ""

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        waiting = deque[Grouped]()

        def windows() -> Iterator[Sequence[SpannedText]]:
            for batch in texts:
                waiting.append(by_window(batch.to_pylist()))
                yield waiting[-1].windows

        for answer in self._engine.embed_spans(windows()):
            yield answer.take(np.array(waiting.popleft().order, np.int64))


def engine_of_chunks(config: JobConfig, engine: Engine) -> Engine:
    """What rows of a dataset go to."""
    return LateEngine(engine) if config.chunk.pooling == "late" else engine  # type: ignore[arg-type]
