"""One run of read -> embed -> write over partitions: four threads, three bounded channels, no Ray.

    reader thread   rows of the next partitions, cut into batches      --rows-->
    this thread     the engine's stream, fed with texts                --embedded-->
    writer thread   rows into shards                                   --written-->
    finisher thread shards, checked, published and reported one by one

It is never drained between partitions: while one is being embedded the next is read and the last is written. What goes wrong in reading or writing
costs its own partition only. Where the engine raises, each batch that it held is embedded alone: the one at fault costs its own partition, or, where the
task says so, its own rows. An engine that breaks its contract ends the stream for all that are in it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from functools import partial

import pyarrow as pa

from embermill.channel import Channel
from embermill.jobs.engine import Embedded, Engine
from embermill.jobs.errors import EngineError
from embermill.jobs.receipt import TOKENIZE, Done, Event, Task
from embermill.jobs.worker.cutting import ShardRows, cut
from embermill.jobs.worker.failures import engine_failure, failure
from embermill.jobs.worker.isolation import Isolated, embed_or_isolate, finite_rows
from embermill.jobs.worker.long_texts import judge_lengths
from embermill.jobs.worker.pulse import pulse
from embermill.jobs.worker.refused_rows import refuse_failed
from embermill.jobs.worker.stage_clock import StageClock
from embermill.jobs.worker.stream_items import Attempt, Broken, End, Item, Rows, Through, has_texts
from embermill.jobs.worker.task_queue import TaskQueue
from embermill.jobs.worker.token_check import TokensDiffer
from embermill.jobs.worker.writing import Work, Writing

MAX_FRUITLESS = 3
ROWS_AHEAD = 3  # batches between reader and engine, and between engine and writer: enough to overlap, little to hold


class _BrokenContract(EngineError):
    """Answers that do not match what was asked: none of that stream can be trusted."""


class EngineFailed(Exception):
    """The engine ended a stream. suspects: partitions of which it held texts; waiting: others that were not finished."""

    def __init__(self, cause: BaseException, suspects: list[Task], waiting: list[Task]) -> None:
        super().__init__(str(cause))
        self.cause, self.suspects, self.waiting = cause, suspects, waiting


class Retokenize(Exception):
    """The engine's fast tokenizer was found out, and is used no more. rest: the partitions that were under way, to be done again."""

    def __init__(self, words: str, rest: list[Task]) -> None:
        super().__init__(words)
        self.rest = rest


class Stream:
    """One run of the threads, from the first task to the moment when none came for `patience_s` (None: when none will)."""

    def __init__(self, engine: Engine, work: Work, emit: Callable[[Event], None], clock: StageClock) -> None:
        self._engine, self._work, self._emit, self._clock = engine, work, emit, clock
        self._read: Channel[Item] = Channel(ROWS_AHEAD)
        self._done: Channel[Item] = Channel(ROWS_AHEAD)
        self._held: deque[Item] = deque()  # given to the engine (or waiting behind what was), oldest first
        self._turn = threading.Lock()  # an engine may pull its texts from a thread of its own
        self._attempts: list[Attempt] = []
        self._defects: list[BaseException] = []
        self._differing: TokensDiffer | None = None
        self._writing = Writing(work, emit, clock, self._done)
        self._engine_turn = 0  # which of the engine's streams it is
        self._fruitless = 0  # streams of the engine's that failed one after another, with no batch answered in between
        self._over = False  # the engine has ended: no more tasks are taken

    def run(self, tasks: TaskQueue[Task], patience_s: float | None) -> None:
        bodies = {"reader": partial(self._reader, tasks, patience_s), "writer": self._writing.write_all, "finisher": self._finish_all}
        threads = [threading.Thread(target=self._guarded, args=(body,), name=name, daemon=True) for name, body in bodies.items()]
        for thread in threads:
            thread.start()
        engine_error: Exception | None = None
        try:
            with pulse(self._engine, self._say_that_it_moves):
                self._collect()
        except Exception as error:
            engine_error = error
        finally:
            self._over = True
            tasks.wake()
            self._read.close()
            self._done.finish()
            for thread in threads:
                thread.join()
        if self._defects:
            raise self._defects[0]
        unfinished = [attempt for attempt in self._attempts if not attempt.over]
        if self._differing is not None:
            raise Retokenize(str(self._differing), [attempt.rest() for attempt in unfinished])
        if engine_error is None and unfinished:
            engine_error = EngineError("the engine ended its stream before its texts were at an end")
        if engine_error is not None:
            self._give_back(unfinished, engine_error)

    def _say_that_it_moves(self) -> None:
        at_work = next((attempt.number for attempt in self._attempts if not attempt.over), None)
        if at_work is not None:
            self._clock.moved(at_work)

    def _guarded(self, body: Callable[[], None]) -> None:
        """A fault of ours in a thread ends the stream, and is raised by run."""
        try:
            body()
        except BaseException as error:
            self._defects.append(error)
            self._read.close()
            self._done.close()
            self._writing.close()

    def _finish_all(self) -> None:
        try:
            self._writing.finish_all()
        except TokensDiffer as error:
            self._differing = error
            self._read.close()
            self._done.close()
            self._writing.abandon_all()

    # -- reader thread

    def _reader(self, tasks: TaskQueue[Task], patience_s: float | None) -> None:
        while (task := tasks.take(patience_s, lambda: self._over)) is not None:
            if task.kind == TOKENIZE:
                self._review(task)
                continue
            attempt = Attempt(task)
            self._attempts = [*(each for each in self._attempts if not each.over), attempt]
            self._clock.began(attempt.number)
            try:
                if self._work.tokens is not None:
                    attempt.tokenizer = self._work.tokens.begin()
                self._read_partition(attempt)
                self._read.offer(Through(attempt))
            except Exception as error:
                self._read.offer(Broken(attempt, failure(task, error)))
        self._read.finish()

    def _review(self, task: Task) -> None:
        """A task of which nothing goes to the engine's stream or to the writer."""
        try:
            assert self._work.tokens is not None, "an engine was given a task that it has no tokenizer for"
            receipt = self._work.tokens.review(task.partition, self._work.read(task.partition), self._work.rows_per_shard)
        except Exception as error:
            self._emit(failure(task, error))
            return
        self._emit(receipt)
        self._emit(Done(task.partition.number, task.attempt))

    def _read_partition(self, attempt: Attempt) -> None:
        batches = self._clock.timed("read", self._work.read(attempt.task.partition))
        for part in cut(batches, self._work.rows_per_shard, attempt.task.skip, self._work.limits, lambda: self._clock.has_answered):
            item: Item = Rows(attempt, part) if isinstance(part, ShardRows) else End(attempt, part)
            if attempt.over or not self._read.offer(item):
                break

    # -- the engine's thread

    def _feed(self, turn: int) -> Iterator[pa.Array]:
        """Texts for the engine; all else waits in line behind them. turn: of the engine's stream, which takes nothing more once it has failed."""

        def left() -> bool:
            return turn != self._engine_turn

        while True:
            with self._clock.waiting():
                if not self._read.wait(left):
                    return
            with self._turn:  # an item that is taken is held, or is left to the stream that comes after this one
                item = None if left() else self._read.take()
                if item is None or item.attempt.over:
                    continue
                self._held.append(item)
                self._pass_on()
            if has_texts(item):
                assert isinstance(item, Rows)
                yield item.rows.batch.texts

    def _collect(self) -> None:
        """One stream of the engine's after another: where it raises, what it held is embedded batch by batch, and the next one carries on."""
        while (error := self._run_engine()) is not None:
            self._fruitless += 1
            if self._fruitless > MAX_FRUITLESS:
                raise error
            self._recover()

    def _run_engine(self) -> Exception | None:
        """What the engine raised; None at the end of all texts. _BrokenContract passes through."""
        answers = self._engine.embed(self._feed(self._engine_turn))
        timed = self._clock.timed_engine(answers)
        try:
            for embedded in timed:
                if not isinstance(embedded, Embedded):
                    raise _BrokenContract(f"expected an embermill.jobs.engine.Embedded for each batch, the engine gave {embedded!r:.80}")
                with self._turn:
                    if not self._take_answer(embedded):
                        return EngineError("the engine gave no vector that is finite")
            if self._held:
                raise _BrokenContract(f"the engine ended its stream too early; batches left unanswered: {sum(map(has_texts, self._held))}")
            return None
        except _BrokenContract:
            raise
        except Exception as error:
            return error
        finally:
            if isinstance(answers, Generator):
                answers.close()

    def _recover(self) -> None:
        """Embed what a stream that failed had taken and not answered."""
        with self._turn:
            self._engine_turn += 1
            held = list(self._held)
            self._held.clear()
        self._read.wake()
        for item in held:
            self._done.offer(self._embed_alone(item) if isinstance(item, Rows) and has_texts(item) else item)

    def _embed_alone(self, item: Rows) -> Item:
        """One batch by itself. Where rows of it fail they are refused, if the task says so; else it fails as a whole."""
        task = item.attempt.task
        if item.attempt.over:
            return item
        try:
            found = embed_or_isolate(self._engine, item.rows.batch.texts, task.isolate)
        except Exception as error:
            return Broken(item.attempt, engine_failure(task, error))
        return self._answered(item, found)

    def _take_answer(self, embedded: Embedded) -> bool:
        """False where it is to be embedded once more, row by row."""
        if not self._held:
            raise _BrokenContract("the engine answered with more batches than it was given")
        item = self._held[0]
        assert isinstance(item, Rows)
        found = finite_rows(embedded) if item.attempt.task.isolate else Isolated(embedded, {})
        if found.embedded is None:
            return False
        self._held.popleft()
        self._done.offer(self._answered(item, found))
        self._pass_on()
        return True

    def _answered(self, item: Rows, found: Isolated) -> Rows:
        """What the writer gets of a batch: the rows that failed, or are too long, stand among its refused ones."""
        self._fruitless = 0
        batch, embedded = item.rows.batch, found.embedded
        if found.failed:
            batch, embedded = refuse_failed(batch, embedded, found.failed)
        if embedded is not None:
            self._clock.embedded(item.attempt.number, embedded, item.rows.batch.text_bytes)
            batch, embedded = judge_lengths(batch, embedded, self._work.refuse_long_texts)
        return Rows(item.attempt, ShardRows(item.rows.ordinal, batch), embedded)

    def _pass_on(self) -> None:
        """What waits for no answer of the engine goes on to the writer."""
        while self._held and not has_texts(self._held[0]):
            self._done.offer(self._held.popleft())

    def _give_back(self, unfinished: list[Attempt], cause: Exception) -> None:
        """Raise EngineFailed with what is not finished. Where all is, the engine's fault is nobody's: some answer may have been another's."""
        if not unfinished:
            raise cause
        with self._turn:  # a thread of the engine's may still be handing something over
            held = {item.attempt for item in self._held if has_texts(item)}
        suspects = [attempt for attempt in unfinished if attempt in held] or unfinished
        waiting = [attempt.rest() for attempt in unfinished if attempt not in suspects]
        raise EngineFailed(cause, [attempt.rest() for attempt in suspects], waiting) from cause
