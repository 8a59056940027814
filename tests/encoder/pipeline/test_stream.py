"""The stream's stages against programs that are slow, or that fail: nothing hangs, nothing is lost, one batch's fault is its own."""

from __future__ import annotations

import gc
import itertools
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from embermill.encoder.pipeline.batching import PackedBatch
from embermill.encoder.pipeline.busy_clock import BusyClock
from embermill.encoder.pipeline.runner import Runner, Written
from embermill.encoder.pipeline.stream import LINGER_S, Budget, encode_stream
from embermill.encoder.pipeline.windows import EncodedBatch
from embermill.encoder.text.tokenizer import TokenizedTexts
from tests.encoder.pipeline.streams import BUDGET, Sums, comes_true, in_pieces, random_batches, tokenize, whole


def embed(program: Sums, batches: object, tokenize: object = tokenize, budget: Budget = BUDGET) -> Iterator[EncodedBatch]:
    runner = Runner(program, BusyClock())
    try:
        yield from encode_stream((whole(batch) for batch in batches), tokenize, runner, 1, budget)  # type: ignore[attr-defined, arg-type]
    finally:
        runner.close()
        assert program.closed


def test_every_document_gets_its_own_embedding() -> None:
    given = random_batches(200)
    program = Sums()
    for batch, encoded in zip(given, embed(program, given), strict=True):
        assert encoded.embeddings[:, 0].tolist() == [sum(document) for document in batch]
        assert encoded.num_tokens.tolist() == [len(document) for document in batch]
    assert program.most_in_flight == program.depth


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


def test_an_idle_device_gets_one_packed_batch_and_a_busy_one_whole_windows() -> None:
    """The first embeddings do not wait for a window to fill."""
    windows: list[int] = []
    all_read = threading.Event()

    def batches() -> Iterator[list[list[int]]]:
        for _ in range(7):
            yield [[1] * 8]
        all_read.set()

    runner = Runner(Sums(lambda batch: assert_soon(all_read)), BusyClock())
    submit = runner.submit

    def noted(packed: Sequence[PackedBatch], into: np.ndarray) -> list[Written]:
        windows.append(len(packed))
        return submit(packed, into)

    runner.submit = noted  # type: ignore[method-assign, assignment]
    encoded = list(encode_stream((whole(batch) for batch in batches()), tokenize, runner, 1, BUDGET))
    runner.close()
    assert [batch.embeddings.item() for batch in encoded] == [8] * 7
    assert windows[:2] == [1, 3] and sum(windows) == 7


def assert_soon(event: threading.Event) -> None:
    assert event.wait(timeout=30)


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
    assert comes_true(lambda: set(threading.enumerate()) <= before)


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


def test_texts_that_trickle_in_are_answered_while_they_do() -> None:
    """A window that is never full goes once what is in it has lingered, though more comes all the time."""
    answered, trickled = threading.Event(), 0

    def trickle() -> Iterator[list[list[int]]]:
        nonlocal trickled
        while not answered.is_set() and trickled < 400:
            trickled += 1
            yield [[trickled]]
            time.sleep(LINGER_S / 10)

    for encoded in embed(Sums(), trickle(), budget=BUDGET._replace(window_tokens=1_000_000)):
        answered.set()
        assert encoded.embeddings.shape == (1, 1)
    assert trickled < 400


def test_a_batch_is_nobodys_but_the_callers() -> None:
    more = threading.Event()

    def batches() -> Iterator[list[list[int]]]:
        yield [[1] * 8] * 20
        more.wait(timeout=20)

    stream = embed(Sums(), batches())
    embeddings = next(stream).embeddings
    held = weakref.ref(embeddings if embeddings.base is None else embeddings.base)
    del embeddings
    assert comes_true(lambda: held() is None)
    more.set()
    assert list(stream) == []


@pytest.mark.parametrize("last", range(1, 6))
def test_an_encoder_that_is_closed_gives_out_no_part_of_a_batch(last: int) -> None:
    """last: the group after which it is closed; the batch has six windows."""
    runner = Runner(Sums(), BusyClock())
    submit, groups = runner.submit, itertools.count(1)

    def submit_and_close(batches: list[PackedBatch], into: np.ndarray) -> object:
        written = submit(batches, into)
        if next(groups) == last:
            runner.close()
        return written

    runner.submit = submit_and_close  # type: ignore[method-assign, assignment]
    stream = encode_stream([whole([[1] * 24] * 6), whole([[2]])], tokenize, runner, 1, BUDGET)
    with pytest.raises(RuntimeError, match="closed"):
        next(stream)
    assert list(stream) == []


@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from(["read", "leave", "fail", "endless"])), min_size=1, max_size=6), st.integers(1, 4), st.booleans()
)
def test_many_streams_on_one_runner(streams: list[tuple[int, str]], depth: int, close: bool) -> None:
    """Each gets its own, whoever leaves or fails beside it, and when the encoder is closed under them: an answer is right, or an error says why."""
    before = set(threading.enumerate())
    program = Sums(failing_on(999))
    program.depth = depth
    runner = Runner(program, BusyClock())

    def use(number: int, batches: int, ending: str) -> int:
        given = random_batches(batches + number)
        if ending == "fail":
            given[batches // 2] = [[1], [999]]
        source = itertools.cycle(given) if ending == "endless" else iter(given)
        stream = encode_stream(map(in_pieces, source), tokenize, runner, 1, BUDGET)
        answered = 0
        try:
            for batch, encoded in zip(given, stream, strict=False):
                assert encoded.embeddings[:, 0].tolist() == [sum(document) for document in batch]
                answered += 1
                if ending == "leave" and answered > batches // 2:
                    break
        except ArithmeticError:
            assert ending == "fail" and answered <= batches // 2  # batches that share its window fail with it
        except RuntimeError as error:
            assert close and "closed" in str(error)
        else:
            assert ending != "fail" and answered == (batches // 2 + 1 if ending == "leave" else len(given))
        finally:
            stream.close()  # type: ignore[attr-defined]
        return answered

    with ThreadPoolExecutor(len(streams)) as pool:
        used = [pool.submit(use, number, *stream) for number, stream in enumerate(streams)]
        if close:
            used[0].result(timeout=60)
            runner.close()
        for each in used:
            each.result(timeout=60)
    runner.close()
    assert program.closed and program.most_in_flight <= depth
    assert comes_true(lambda: set(threading.enumerate()) <= before)
