"""Three threads and two channels over fakes: order, cuts, continuity, and what one partition's fault costs the others."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue

import hypothesis
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import strategies as st

from embermill.jobs.corpus.rows import RowBatch
from embermill.jobs.engine import Embedded, Engine
from embermill.jobs.errors import DataError, InputChanged, Interrupted, UsageError
from embermill.jobs.partition import Partition
from embermill.jobs.receipt import Done, Event, Failed, Progress, Receipt, Task
from embermill.jobs.worker.cutting import BatchLimits
from embermill.jobs.worker.pipeline import IDLE_S, Pipeline
from embermill.jobs.worker.task_queue import TaskQueue
from embermill.jobs.worker.writing import Work
from tests.jobs import engines
from tests.jobs.fakes import Shelf, batch, partition, rows_of

LIMITS = BatchLimits(4, 1000)


def run(
    engine: Engine,
    read: Callable[[Partition], Iterator[RowBatch]],
    tasks: Iterable[Task],
    shelf: Shelf,
    *,
    rows_per_shard: int = 7,
    refuse_long_texts: bool = False,
) -> list[Event]:
    queue, events, before = TaskQueue[Task](), list[Event](), set(threading.enumerate())
    for task in tasks:
        queue.put(task)
    queue.finish()
    Pipeline(engine, Work(read, shelf.open_shard, rows_per_shard, LIMITS, refuse_long_texts), events.append).run(queue)
    assert not [thread.name for thread in {*threading.enumerate()} - before if thread.name in ("reader", "writer")], "a pipeline leaves no thread behind"
    return events


class _Running:
    """A pipeline in a thread of its own, over a queue that stays open to the end of the `with`; by then it must be through."""

    def __init__(self, engine: Engine, read: Callable[[Partition], Iterator[RowBatch]] = lambda p: rows_of(p, 20), shelf: Shelf | None = None) -> None:
        self.queue, self.through, self.failure = TaskQueue[Task](), SimpleQueue[Done | Failed](), list[BaseException]()
        self.emit: Callable[[Done | Failed], None] = self.through.put
        self.pipeline = Pipeline(engine, Work(read, (shelf or Shelf()).open_shard, 7, LIMITS), self._hear)
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.pipeline.run(self.queue)
        except BaseException as error:
            self.failure.append(error)

    def _hear(self, event: Event) -> None:
        if isinstance(event, Done | Failed):
            self.emit(event)

    def next(self) -> Done | Failed:
        """The next partition that is through, one way or the other."""
        return self.through.get(timeout=20)

    def note_next(self, through: dict[int, str]) -> None:
        """Its kind of failure, "" for none, by its number."""
        event = self.next()
        assert event.partition not in through, f"partition {event.partition} was reported twice"
        through[event.partition] = event.kind if isinstance(event, Failed) else ""

    def __enter__(self) -> _Running:
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.queue.finish()
        self.thread.join(20)
        assert not self.thread.is_alive()


def raising(event: Event) -> None:
    raise ZeroDivisionError


def receipts(events: list[Event]) -> list[tuple[int, int, bool]]:
    return [(event.partition, event.ordinal, event.last) for event in events if isinstance(event, Receipt)]


def failures(events: list[Event]) -> dict[int, Failed]:
    return {event.partition: event for event in events if isinstance(event, Failed)}


@pytest.mark.parametrize("engine", [engines.PlainEngine(), engines.LookingAheadEngine()])
def test_every_row_meets_its_own_vector(engine: Engine) -> None:
    shelf = Shelf()
    events = run(engine, lambda p: rows_of(p, 20), [Task(partition(number)) for number in range(5)], shelf)
    assert receipts(events) == [(number, ordinal, ordinal == 2) for number in range(5) for ordinal in range(3)]
    for (number, ordinal), shard in shelf.shards.items():
        assert shard.texts == [f"{number}-{row}" for row in range(20)][ordinal * 7 : ordinal * 7 + 7]
        expected = engines.embed_texts(pa.array(shard.texts)).columns["embedding"]
        np.testing.assert_array_equal(np.concatenate(shard.vectors), expected)


def test_the_first_answer_does_not_wait_for_a_whole_batch() -> None:
    """A person waits for it; a worker that has answered gets whole batches, whatever partition they are of."""
    sizes: list[int] = []

    class Noting(engines.PlainEngine):
        def answer(self, texts: pa.Array) -> Embedded:
            sizes.append(len(texts))
            time.sleep(0.01)
            return super().answer(texts)

    queue, events, shelf = TaskQueue[Task](), list[Event](), Shelf()
    for number in range(3):
        queue.put(Task(partition(number)))
    queue.finish()
    limits = BatchLimits(1000, 1000, first_text_bytes=8)
    Pipeline(Noting(), Work(lambda p: rows_of(p, 400), shelf.open_shard, 1000, limits), events.append).run(queue)
    assert sizes[0] == 2 and sizes.count(2) < 10 and sum(sizes) == 1200
    assert min(sizes[len(sizes) // 2 :]) > 100, "small ones come first, and never again"
    assert [len(shelf.shards[number, 0].texts) for number in range(3)] == [400] * 3


def test_the_stream_is_not_drained_between_partitions() -> None:
    streams = []

    class Counting(engines.LookingAheadEngine):
        def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
            streams.append(1)
            return super().embed(texts)

    run(Counting(), lambda p: rows_of(p, 5), [Task(partition(number)) for number in range(30)], Shelf())
    assert len(streams) == 1


def test_an_engine_that_holds_texts_back_gives_them_out_when_nothing_more_is_queued() -> None:
    queue, shelf, done = TaskQueue[Task](), Shelf(), threading.Event()
    work = Work(lambda p: rows_of(p, 3), shelf.open_shard, 7, LIMITS)
    pipeline = Pipeline(engines.LookingAheadEngine(), work, lambda event: done.set() if isinstance(event, Receipt) else None)
    thread = threading.Thread(target=pipeline.run, args=(queue,))
    thread.start()
    queue.put(Task(partition(0)))
    assert done.wait(20), "the last partition is reported though the queue stays open"
    queue.finish()
    thread.join(20)
    assert not thread.is_alive()


def test_an_engine_that_fails_while_its_stream_is_open_and_nothing_is_queued_is_reported() -> None:
    with _Running(engines.PromptEngine(), lambda p: rows_of(p, 20) if p.number else iter([batch(0, ["poison"])])) as running:
        running.queue.put(Task(partition(0)))
        assert isinstance(running.next(), Failed)
        running.queue.put(Task(partition(1)))
        assert isinstance(running.next(), Done), "it goes on with the next"
    assert not running.failure


class Threaded(engines.PromptEngine):
    """Takes its texts ahead, in a thread of its own that nobody waits for."""

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        ahead: SimpleQueue[pa.Array | None] = SimpleQueue()
        threading.Thread(target=lambda: [*map(ahead.put, texts), ahead.put(None)], daemon=True).start()
        return super().embed(iter(ahead.get, None))


@hypothesis.settings(deadline=None, max_examples=40)
@hypothesis.given(
    st.sampled_from([engines.PromptEngine, Threaded, engines.PoisonedEngine]),
    st.lists(st.tuples(st.sampled_from(["", "engine", "bad_data", "storage"]), st.booleans())),
)
def test_whatever_fails_each_partition_is_through_once_and_only_its_own_fault_is_told(make: type[Engine], faults: list[tuple[str, bool]]) -> None:
    """faults: of each partition what goes wrong with it, and whether it is waited for before the next is queued."""
    shelf, through, kinds = Shelf(), dict[int, str](), [kind for kind, _ in faults]
    shelf.fail_on = {(number, 1) for number, kind in enumerate(kinds) if kind == "storage"}

    def read(p: Partition) -> Iterator[RowBatch]:
        yield from rows_of(p, 9)
        if kinds[p.number] == "engine":
            yield batch(9, ["poison"])
        elif kinds[p.number] == "bad_data":
            raise DataError("broken")

    with _Running(make(), read, shelf) as running:
        for number, (_, wait) in enumerate(faults):
            running.queue.put(Task(partition(number)))
            while wait and number not in through:
                running.note_next(through)
        while len(through) < len(faults):
            running.note_next(through)
    assert [through[number] for number in range(len(faults))] == kinds
    assert running.through.empty() and not running.failure
    assert {(number, ordinal) for number, kind in enumerate(kinds) for ordinal in range(1 if kind else 2)} == shelf.shards.keys()


@pytest.mark.parametrize("answer", [None, {"embedding": 1}])
def test_an_answer_of_an_engine_that_is_none_is_shown(answer: object) -> None:
    class Other(engines.PromptEngine):
        def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
            for _ in texts:
                yield answer  # type: ignore[misc]

    with _Running(Other()) as running:
        running.queue.put(Task(partition(0)))
        failed = running.next()
    assert isinstance(failed, Failed) and failed.message.endswith(f"expected an embermill.jobs.engine.Embedded for each batch, the engine gave {answer!r}")


def test_an_engine_that_ends_its_stream_early_loses_no_partition() -> None:
    class Early(engines.PromptEngine):
        def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
            yield self.answer(next(iter(texts)))

    with _Running(Early()) as running:
        for number in range(4):
            running.queue.put(Task(partition(number)))
        through = [running.next() for _ in range(4)]
    assert {event.partition for event in through} == set(range(4))
    assert all("ended its stream" in event.message for event in through if isinstance(event, Failed))


def test_a_fault_of_ours_ends_a_stream_that_is_open() -> None:
    with _Running(engines.PromptEngine()) as running:
        running.emit = raising
        running.queue.put(Task(partition(0)))
        running.thread.join(20)
        assert [type(error) for error in running.failure] == [ZeroDivisionError]


def test_the_stream_of_an_engine_that_answers_promptly_stays_open_while_nothing_is_queued() -> None:
    streams = []

    class Counting(engines.PromptEngine):
        def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
            streams.append(1)
            return super().embed(texts)

    with _Running(Counting()) as running:
        for number in range(3):
            time.sleep(3 * IDLE_S)
            running.queue.put(Task(partition(number)))
            assert isinstance(running.next(), Done), "each partition is reported while the queue is empty and open"
    assert len(streams) == 1


def test_committed_shards_are_read_past_and_not_embedded() -> None:
    engine, shelf = engines.PlainEngine(), Shelf()
    events = run(engine, lambda p: rows_of(p, 20), [Task(partition(0), frozenset({0, 1}))], shelf)
    assert receipts(events) == [(0, 2, True)] and sum(engine.batches) == 6
    assert shelf.shards[0, 2].texts == [f"0-{row}" for row in range(14, 20)]


def test_a_partition_without_rows_and_one_of_refused_rows_give_a_receipt_each() -> None:
    shelf, engine = Shelf(), engines.PlainEngine()
    rows: dict[int, list[str | None]] = {0: [], 1: [None] * 9, 2: ["text"]}
    events = run(engine, lambda p: iter([batch(0, rows[p.number])]), [Task(partition(number)) for number in range(3)], shelf)
    assert receipts(events) == [(0, 0, True), (1, 0, False), (1, 1, True), (2, 0, True)]
    assert engine.batches == [1] and len(shelf.shards[1, 0].refused) == 7


def test_poison_is_named_and_the_partitions_beside_it_lose_nothing() -> None:
    shelf = Shelf()

    def read(p: Partition) -> Iterator[RowBatch]:
        yield from rows_of(p, 20)
        if p.number == 2:
            yield batch(20, ["poison"])

    events = run(engines.PoisonedEngine(), read, [Task(partition(number)) for number in range(6)], shelf)
    assert set(failures(events)) == {2} and failures(events)[2].kind == "engine"
    assert "poison" in failures(events)[2].message and "answer" in failures(events)[2].traceback and "/corpus/2.parquet" in failures(events)[2].message
    assert {key for key in shelf.shards if key[0] != 2} == {(number, ordinal) for number in (0, 1, 3, 4, 5) for ordinal in range(3)}


def test_a_model_that_its_device_cannot_hold_is_for_a_person() -> None:
    """Seen with 1.2 GB free on a GPU: exit 3, as if the texts were bad."""

    class FullGpu(engines.PoisonedEngine):
        def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
            try:
                yield from super().embed(texts)
            except RuntimeError:
                raise UsageError("out of GPU memory: a document of 8,192 tokens needs about 9 bytes, and 8 are free.") from None

    events = run(FullGpu(), lambda p: iter([batch(0, ["poison"])]), [Task(partition(0))], Shelf())
    assert failures(events)[0].kind == "usage" and failures(events)[0].message.startswith("out of GPU memory")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InputChanged("a changed"), "input_changed"),
        (DataError("a broken"), "bad_data"),
        (OSError("gone"), "storage"),
        (Interrupted("slow down"), "storage"),
        (OSError(errno.ENOSPC, "no space"), "usage"),
        (UsageError("access denied"), "usage"),
        (KeyError("x"), "defect"),
    ],
)
def test_an_error_in_reading_costs_its_own_partition_only(error: Exception, kind: str) -> None:
    shelf = Shelf()

    def read(p: Partition) -> Iterator[RowBatch]:
        yield from rows_of(p, 12)
        if p.number == 1:
            raise error

    events = run(engines.LookingAheadEngine(), read, [Task(partition(number)) for number in range(3)], shelf)
    assert {number: failed.kind for number, failed in failures(events).items()} == {1: kind}
    assert [key for key in shelf.shards if key[0] != 1] == [(0, 0), (0, 1), (2, 0), (2, 1)] and (1, 1) not in shelf.shards
    assert shelf.abandoned == 1 and type(error).__name__ in failures(events)[1].traceback


def test_an_error_in_writing_costs_its_own_partition_only() -> None:
    shelf = Shelf()
    shelf.fail_on = {(1, 1)}
    events = run(engines.LookingAheadEngine(), lambda p: rows_of(p, 20), [Task(partition(number)) for number in range(3)], shelf)
    assert {number: failed.kind for number, failed in failures(events).items()} == {1: "storage"}
    assert sorted(shelf.shards) == [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1), (2, 2)]


class Wrong(engines.PlainEngine):
    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        for number, answer in enumerate(super().embed(texts)):
            match self.fault:
                case "too many answers":
                    yield answer
                    yield answer
                case "an answer too few" if number == 1:
                    return
                case _:
                    yield answer


@pytest.mark.parametrize("fault", ["too many answers", "an answer too few"])
def test_an_engine_that_breaks_its_contract_is_found_out(fault: str) -> None:
    shelf = Shelf()
    events = run(Wrong(fault), lambda p: rows_of(p, 10), [Task(partition(0))], shelf)
    assert failures(events)[0].kind == "engine" and "engine" in failures(events)[0].message and (0, 1) not in shelf.shards


def test_long_texts_are_refused_where_that_is_asked_for() -> None:
    shelf, texts = Shelf(), ["short", "x" * 101, None, "y" * 100, "z" * 200]
    events = run(engines.PlainEngine(), lambda p: iter([batch(0, list(texts))]), [Task(partition(0))], shelf, refuse_long_texts=True)
    shard = shelf.shards[0, 0]
    assert shard.texts == ["short", "y" * 100]
    assert [(each.row, each.reason) for each in shard.refused] == [(1, "text_over_limit"), (2, "null_text"), (4, "text_over_limit")]
    assert (shard.refused[2].file, shard.refused[2].first_row, shard.refused[2].first_byte) == ("file", None, 40)
    assert shard.refused[0].id == "id-1" and shard.refused[0].text_bytes == 101 and "1 token more" in shard.refused[0].error
    assert next(event for event in events if isinstance(event, Receipt)).rows_quarantined == 3


def test_rows_tokens_and_seconds_are_reported_once() -> None:
    events = run(engines.PlainEngine(), lambda p: rows_of(p, 20), [Task(partition(number)) for number in range(4)], Shelf())
    progress = [event for event in events if isinstance(event, Progress)]
    assert sum(event.rows for event in progress) == 80
    assert sum(event.tokens for event in progress) == sum(len(f"{number}-{row}") for number in range(4) for row in range(20))
    assert {stage for event in progress for stage in event.seconds} == {"read", "encode", "write"}
    assert all(seconds >= 0 for event in progress for seconds in event.seconds.values())


def test_texts_are_told_with_what_a_limit_dropped_of_them() -> None:
    events = run(engines.PlainEngine(), lambda p: iter([batch(0, ["x" * 1000, None, "é"])]), [Task(partition(0))], Shelf())
    progress = [event for event in events if isinstance(event, Progress)]
    assert (sum(event.tokens for event in progress), sum(event.text_bytes for event in progress)) == (102, 1002)


def test_a_fault_of_ours_in_emitting_ends_the_pipeline_loudly() -> None:
    def emit(event: Event) -> None:
        if not isinstance(event, Progress):
            raise ZeroDivisionError

    queue = TaskQueue[Task]()
    queue.put(Task(partition(0)))
    queue.finish()
    with pytest.raises(ZeroDivisionError):
        Pipeline(engines.PlainEngine(), Work(lambda p: rows_of(p, 20), Shelf().open_shard, 7, LIMITS), emit).run(queue)
