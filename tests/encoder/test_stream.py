"""The stream's stages against programs that are slow, or that fail: nothing hangs, nothing is lost, one batch's fault is its own."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from encoder.batching import PackedBatch
from encoder.busy import BusyClock
from encoder.channel import Channel, ChannelClosed
from encoder.runner import Runner
from encoder.stream import Budget, Piece, encode_stream
from encoder.tokenizer import TokenizedTexts
from encoder.turns import SHORT_TURNS, TURN_S
from encoder.windows import Batch, Documents, EncodedBatch, WaitingDocuments

BUDGET = Budget(max_batch_tokens=8, row_block=1, window_tokens=24, tokenize_threads=2)


class Sums:
    """A Program whose embedding is the sum of a document's ids; `act` is called with each batch before it is computed."""

    depth = 2

    def __init__(self, act: Callable[[PackedBatch], None] = lambda batch: None) -> None:
        self.act, self.closed, self.most_in_flight, self.in_flight = act, False, 0, 0

    def submit(self, batch: PackedBatch) -> Sum:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return Sum(self, batch)

    def close(self) -> None:
        self.closed = True


class Sum:
    def __init__(self, program: Sums, batch: PackedBatch) -> None:
        self.program, self.batch = program, batch

    def result(self) -> np.ndarray:
        self.program.in_flight -= 1
        self.program.act(self.batch)
        return np.add.reduceat(self.batch.input_ids, self.batch.cu_seqlens[:-1])[:, None].astype(np.float32)


def tokenize(documents: list[list[int]], first: int) -> TokenizedTexts:
    lengths = [len(document) for document in documents]
    flat = np.array([token for document in documents for token in document], np.int32)
    return TokenizedTexts(flat, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), np.zeros(len(documents), np.int32))


def whole(batch: list[list[int]]) -> Iterator[Piece]:
    yield Piece(batch, 0, len(batch), last=True)


def embed(program: Sums, batches: object, tokenize: object = tokenize) -> Iterator[EncodedBatch]:
    runner = Runner(program, BusyClock())
    try:
        yield from encode_stream((whole(batch) for batch in batches), tokenize, runner, 1, BUDGET)  # type: ignore[attr-defined, arg-type]
    finally:
        runner.close()
        assert program.closed


def random_batches(count: int) -> list[list[list[int]]]:
    random = np.random.default_rng(count)
    return [[random.integers(1, 100, random.integers(1, 12)).tolist() for _ in range(random.integers(0, 9))] for _ in range(count)]


def test_every_document_gets_its_own_embedding() -> None:
    given = random_batches(200)
    program = Sums()
    for batch, encoded in zip(given, embed(program, given), strict=True):
        assert encoded.embeddings[:, 0].tolist() == [sum(document) for document in batch]
        assert encoded.num_tokens.tolist() == [len(document) for document in batch]
    assert program.most_in_flight == program.depth


def in_pieces(batch: list[list[int]]) -> Iterator[Piece]:
    for first in range(0, max(1, len(batch)), 3):
        yield Piece(batch[first : first + 3], first, len(batch), last=first + 3 >= len(batch))


def test_a_batch_over_several_windows_alone_and_beside_others() -> None:
    random = np.random.default_rng(7)
    given = [[random.integers(1, 100, random.integers(1, 9)).tolist() for _ in range(count)] for count in (40, 1, 0, 2, 100, 3, 3, 60)]
    runner = Runner(Sums(), BusyClock())
    encoded = list(encode_stream(map(in_pieces, given), tokenize, runner, 1, BUDGET))
    runner.close()
    assert [batch.embeddings[:, 0].tolist() for batch in encoded] == [[sum(document) for document in batch] for batch in given]
    assert [batch.num_tokens.tolist() for batch in encoded] == [[len(document) for document in batch] for batch in given]


def test_a_window_of_one_batch_is_full_whatever_the_pieces() -> None:
    """Each packed batch ends where the next document would not fit, also in the middle of a piece: nothing is computed half empty but the last."""
    random = np.random.default_rng(3)
    given = [[[1] * int(length) for length in random.integers(1, 9, 50)] for _ in range(8)]
    rows: list[tuple[int, int]] = []
    runner = Runner(Sums(lambda batch: rows.append((batch.num_rows, batch.num_sequences))), BusyClock())
    encoded = list(encode_stream(map(in_pieces, given), tokenize, runner, 1, BUDGET._replace(window_tokens=8)))
    runner.close()
    assert [batch.embeddings[:, 0].tolist() for batch in encoded] == [[len(document) for document in batch] for batch in given]
    lengths = [len(document) for batch in given for document in batch]
    for number, (tokens, documents) in enumerate(rows):
        assert tokens == sum(lengths[:documents]) <= 8
        del lengths[:documents]
        assert number == len(rows) - 1 or tokens + lengths[0] > 8
    assert not lengths


def test_a_window_that_is_not_full_waits_while_the_device_is_busy() -> None:
    sizes: list[int] = []
    arrived = threading.Event()

    def act(batch: PackedBatch) -> None:
        sizes.append(batch.num_rows)
        if len(sizes) == 1:
            assert arrived.wait(timeout=30)
            time.sleep(0.1)

    def batches() -> Iterator[list[list[int]]]:
        yield [[1] * 8]
        yield [[1] * 3]
        time.sleep(0.1)  # longer than a window lingers
        arrived.set()
        yield [[1] * 5]

    runner = Runner(Sums(act), BusyClock())
    list(encode_stream((whole(batch) for batch in batches()), tokenize, runner, 1, BUDGET._replace(window_tokens=8)))
    runner.close()
    assert sizes == [8, 8]


@hypothesis.given(st.lists(st.lists(st.integers(1, 9), max_size=6), max_size=8), st.integers(1, 12), st.integers(1, 5))
def test_waiting_documents_come_out_in_order_as_many_as_fit(pieces: list[list[int]], max_tokens: int, max_documents: int) -> None:
    waiting = WaitingDocuments()
    lengths = [length for piece in pieces for length in piece]
    ids = iter(range(sum(lengths)))
    for piece in pieces:
        flat = np.array([next(ids) for _ in range(sum(piece))], np.int32)
        waiting.add(Documents(Batch(), len(piece), flat, np.concatenate([[0], np.cumsum(piece)]).astype(np.int64)))
    came: list[int] = []
    while waiting:
        assert (waiting.num_documents, waiting.num_tokens) == (len(lengths), sum(lengths))
        taken = waiting.take(max_tokens, max_documents)
        count, tokens = sum(part.num_documents for part in taken), sum(part.num_tokens for part in taken)
        assert [int(length) for part in taken for length in np.diff(part.offsets)] == lengths[:count]
        assert count == 1 or (count <= max_documents and tokens <= max_tokens)
        assert count == max_documents or count == len(lengths) or tokens + lengths[count] > max_tokens
        came += [int(token) for part in taken for token in part.input_ids]
        del lengths[:count]
    assert came == list(range(len(came)))
    assert not lengths


def test_the_next_batch_is_submitted_while_the_last_one_is_waited_for() -> None:
    """Also where windows come one by one: a device that waits for the thread that waits for it stands idle half of the time."""
    batches = 20
    submitted = [threading.Event() for _ in range(batches + 1)]
    submitted[batches].set()  # nothing follows the last one

    class Overlapping(Sums):
        count = 0

        def submit(self, batch: PackedBatch) -> Sum:
            submitted[self.count].set()
            self.count += 1
            return super().submit(batch)

    collected = iter(range(batches))
    runner = Runner(Overlapping(lambda batch: waits_for(submitted[next(collected) + 1])), BusyClock())
    encoded = list(encode_stream((whole([[number] * 8]) for number in range(batches)), tokenize, runner, 1, BUDGET._replace(window_tokens=8)))
    runner.close()
    assert [batch.embeddings.item() for batch in encoded] == [8 * number for number in range(batches)]


def waits_for(event: threading.Event) -> None:
    assert event.wait(timeout=20)


def test_a_slow_program_and_a_slow_caller() -> None:
    given = random_batches(30)
    for batch, encoded in zip(given, embed(Sums(lambda batch: time.sleep(0.002)), given), strict=True):
        time.sleep(0.002)
        assert encoded.embeddings[:, 0].tolist() == [sum(document) for document in batch]


def failing_on(token: int) -> Callable[[PackedBatch], None]:
    def act(batch: PackedBatch) -> None:
        if token in batch.input_ids:
            raise ArithmeticError(f"token {token}")

    return act


def test_a_failing_batch_comes_out_in_its_turn_and_the_runner_goes_on() -> None:
    runner = Runner(Sums(failing_on(999)), BusyClock())

    def run(batches: list[list[list[int]]]) -> Iterator[EncodedBatch]:
        return encode_stream((whole(batch) for batch in batches), tokenize, runner, 1, BUDGET)

    stream = run([[[1] * 30], [[2] * 30], [[999] * 30], [[3] * 30]])
    assert [next(stream).embeddings.item(), next(stream).embeddings.item()] == [30, 60]
    with pytest.raises(ArithmeticError, match="token 999"):
        next(stream)
    assert list(stream) == []
    assert [batch.embeddings.item() for batch in run([[[4]]])] == [4]
    runner.close()


@pytest.mark.parametrize("stage", ["submit", "tokenize", "pack"])
def test_faults_of_each_stage_reach_the_caller(stage: str) -> None:
    program = Sums()
    if stage == "submit":
        program.submit = lambda batch: 1 // 0  # type: ignore[assignment, method-assign, return-value]

    def broken(documents: list[list[int]], first: int) -> TokenizedTexts:
        return tokenize([[]] if stage == "pack" else 1 // 0, first)  # type: ignore[arg-type]

    expected = "expected at least one token" if stage == "pack" else "division"
    with pytest.raises(Exception, match=expected):
        list(embed(program, [[[1]]], tokenize if stage == "submit" else broken))


@pytest.mark.parametrize("leave", ["close", "forget", "raise"])
def test_a_stream_that_is_left_ends_its_threads(leave: str) -> None:
    before = set(threading.enumerate())
    runner = Runner(Sums(), BusyClock())
    stream = encode_stream((whole([[1, 2]] * 10) for _ in iter(int, 1)), tokenize, runner, 1, BUDGET)
    next(stream)
    if leave == "close":
        stream.close()  # type: ignore[attr-defined]
    elif leave == "raise":
        with pytest.raises(KeyError):
            stream.throw(KeyError())  # type: ignore[attr-defined]
    del stream
    gc.collect()
    runner.close()
    deadline_s = time.monotonic() + 10
    while set(threading.enumerate()) - before and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before


def test_what_is_packed_for_a_caller_who_left_is_not_computed() -> None:
    gate, computed = threading.Event(), 0

    def count(batch: PackedBatch) -> None:
        nonlocal computed
        computed += 1
        if computed > 100:
            assert gate.wait(timeout=30)

    runner = Runner(Sums(count), BusyClock())
    budget = Budget(max_batch_tokens=8, row_block=1, window_tokens=800, tokenize_threads=1)
    stream = encode_stream((whole([[1] * 8] * 100) for _ in iter(int, 1)), tokenize, runner, 1, budget)
    next(stream)  # the first window: a hundred batches; by now others wait behind it
    while computed <= 100:
        time.sleep(0.001)
    stream.close()  # type: ignore[attr-defined]
    gate.set()
    runner.close()
    assert computed <= 100 + Sums.depth


def test_turns_are_short_while_something_is_in_flight_and_only_then() -> None:
    before, seen = sys.getswitchinterval(), list[float]()
    runner = Runner(Sums(lambda batch: seen.append(sys.getswitchinterval())), BusyClock(), SHORT_TURNS)
    for number in (1, 2):
        list(encode_stream([whole([[number] * 8] * 3)], tokenize, runner, 1, BUDGET))
    runner.close()
    assert seen == pytest.approx([TURN_S] * 6)
    assert sys.getswitchinterval() == pytest.approx(before)


def test_a_channel_that_is_full_makes_the_writer_wait() -> None:
    channel: Channel[int] = Channel(2)
    written: list[int] = []

    def write() -> None:
        for number in range(5):
            channel.put(number)
            written.append(number)
        channel.finish()

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.05)
    assert written == [0, 1]
    assert [channel.get() for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ChannelClosed):
        channel.get()
    writer.join()


def test_a_channel_tells_both_sides() -> None:
    channel: Channel[int] = Channel(1)
    with pytest.raises(TimeoutError):
        channel.get(timeout_s=0)
    channel.put(1)
    channel.close()
    with pytest.raises(ChannelClosed):
        channel.put(2)
    with pytest.raises(ChannelClosed):
        channel.get()


def test_busy_time_counts_overlap_once() -> None:
    clock = BusyClock()
    assert clock.seconds == 0
    with clock, clock:
        time.sleep(0.02)
        running = clock.seconds
    assert 0.02 <= running <= clock.seconds
    stopped = clock.seconds
    time.sleep(0.01)
    assert clock.seconds == stopped
