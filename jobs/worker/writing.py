"""The second half of a stream: what the engine answered becomes shards, which are checked, published and reported one by one, in their order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from embermill.channel import Channel
from embermill.jobs.corpus.rows import RowBatch
from embermill.jobs.dataset.metadata.differing_tokens import TOKENIZER
from embermill.jobs.engine import Embedded
from embermill.jobs.partition import Partition
from embermill.jobs.receipt import Done, Event, Failed, Receipt
from embermill.jobs.worker.cutting import BatchLimits, ShardEnd
from embermill.jobs.worker.failures import failure
from embermill.jobs.worker.stage_clock import StageClock
from embermill.jobs.worker.stream_items import Attempt, Broken, End, Item, Rows, Through
from embermill.jobs.worker.token_check import Compared, TokenCheck, TokensDiffer
from embermill.jobs.worker.token_sample import TokenSample


class ShardSink(Protocol):
    """Where the rows of one shard go, and the quarantine beside it: a ShardWriter, or a small one in a test."""

    def write(self, batch: RowBatch, embedded: Embedded | None) -> None: ...
    def flush(self) -> None:
        """No more rows come: what is held of them is encoded while the shard waits to be finished."""
        ...

    def finish(self, last: bool, provenance: dict[str, str], input_digest: str = "", /) -> Receipt: ...
    def abandon(self) -> None: ...


@dataclass(frozen=True)
class Work:
    """What a pipeline needs to know of the job. provenance: what is to be remembered of this worker with every shard.
    tokens: for an engine with a fast tokenizer, what rows of each shard are compared by."""

    read: Callable[[Partition], Iterator[RowBatch]]
    open_shard: Callable[[Partition, int], ShardSink]
    rows_per_shard: int
    limits: BatchLimits
    refuse_long_texts: bool = False
    tokens: TokenCheck | None = None
    provenance: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Written:
    """A shard whose rows are all in its sink. comparing: a sample of its texts, tokenized by both tokenizers."""

    attempt: Attempt
    end: ShardEnd
    sink: ShardSink
    comparing: Future[Compared] | None
    opened_s: float


class Writing:
    """Two threads' work: write_all() and finish_all(). done: what comes from the engine, in its order."""

    def __init__(self, work: Work, emit: Callable[[Event], None], clock: StageClock, done: Channel[Item]) -> None:
        self._work, self._emit, self._clock, self._done = work, emit, clock, done
        self._written: Channel[Item | Written] = Channel(1)
        self._sink: ShardSink | None = None
        self._owner: Attempt | None = None  # of the sink
        self._opened_s = 0.0
        self._sample = TokenSample()

    # -- writer thread

    def write_all(self) -> None:
        """The writer thread's."""
        try:
            for item in self._done:
                if self._owner is not None and self._owner.over:
                    self._abort()
                if not item.attempt.over:
                    with self._clock.busy("write"):  # waiting for the finisher included
                        self._pass_to_finisher(item)
        finally:
            self._abort()
            self._written.finish()

    def _pass_to_finisher(self, item: Item) -> None:
        try:
            written = self._write(item)
        except Exception as error:
            written = Broken(item.attempt, failure(item.attempt.task, error))
        if isinstance(written, Broken):
            item.attempt.over = True
            self._abort()
        if written is not None and not self._written.offer(written) and isinstance(written, Written):
            written.sink.abandon()

    def _write(self, item: Item) -> Item | Written | None:
        """What is left to do about it in its turn."""
        attempt = item.attempt
        match item:
            case Rows():
                self._open(attempt, item.rows.ordinal).write(item.rows.batch, item.embedded)
                if self._work.tokens is not None and self._work.tokens.is_fast(attempt.tokenizer):
                    self._sample.add(item.rows.batch.texts)
                return None
            case End():
                sink = self._open(attempt, item.end.ordinal)
                sink.flush()
                comparing = self._work.tokens.compare(attempt.tokenizer, self._sample) if self._work.tokens is not None else None
                written = Written(attempt, item.end, sink, comparing, self._opened_s)
                self._sink = self._owner = None
                return written
        return item

    def _open(self, attempt: Attempt, ordinal: int) -> ShardSink:
        if self._sink is None:
            self._sink, self._opened_s = self._work.open_shard(attempt.task.partition, ordinal), time.monotonic()
            self._owner, self._sample = attempt, TokenSample()
        return self._sink

    def _abort(self) -> None:
        """The shard that is open, if any, is not to be."""
        if self._sink is not None:
            sink, self._sink, self._owner = self._sink, None, None
            sink.abandon()

    # -- finisher thread: a shard is closed, checked and published while the next one is being written

    def finish_all(self) -> None:
        """The finisher thread's. TokensDiffer where rows of a shard have other ids than those that count; then abandon_all() is to be called."""
        for item in self._written:
            published = False
            try:
                if not item.attempt.ended:
                    self._finish(item)
                    published = True
            except TokensDiffer:
                raise
            except Exception as error:
                self._end(item.attempt, failure(item.attempt.task, error))
            finally:
                if isinstance(item, Written) and not published:
                    item.sink.abandon()

    def abandon_all(self) -> None:
        """Whatever is written from now on is not to be."""
        for item in self._written:
            if isinstance(item, Written):
                item.sink.abandon()

    def close(self) -> None:
        """Whoever finishes is gone."""
        self._written.close()

    def _finish(self, item: Item | Written) -> None:
        attempt = item.attempt
        match item:
            case Broken():
                self._end(attempt, item.failed)
            case Through():
                self._end(attempt, Done(attempt.number, attempt.task.attempt))
            case Written():
                told = {"seconds": f"{time.monotonic() - item.opened_s:.3f}"}
                if self._work.tokens is not None and attempt.tokenizer:
                    self._work.tokens.require_equal(item.comparing, attempt.task.partition)
                    told[TOKENIZER] = attempt.tokenizer
                receipt = item.sink.finish(item.end.last, self._work.provenance | told, item.end.input_digest)
                attempt.published.add(item.end.ordinal)
                self._clock.published(attempt.number)
                self._emit(receipt)

    def _end(self, attempt: Attempt, event: Done | Failed) -> None:
        attempt.over = attempt.ended = True
        self._emit(event)
