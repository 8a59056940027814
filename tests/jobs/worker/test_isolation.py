"""One bad row costs itself alone, where the task says so; one bad engine costs no row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.engine import Embedded
from embermill.jobs.receipt import Receipt, Task
from embermill.jobs.worker.isolation import isolate
from tests.jobs import engines
from tests.jobs.fakes import Shelf, batch, partition
from tests.jobs.worker.test_pipeline import failures, receipts, run


class Poisonable(engines.PlainEngine):
    """Raises where a text holds "raise", gives NaN where it holds "nan"; counts how often each text was answered. broken: gives NaN for everything."""

    def __init__(self, broken: bool = False) -> None:
        super().__init__()
        self.broken, self.answered, self.asked = broken, Counter[str](), 0

    def answer(self, texts: pa.Array) -> Embedded:
        self.asked += 1
        words = texts.to_pylist()
        if any("raise" in word for word in words):
            raise RuntimeError("the device is on fire")
        embedded = engines.embed_texts(texts)
        bad = np.array([self.broken or "nan" in word for word in words])
        embedded.columns["embedding"][bad] = np.nan
        self.answered.update(word for word, is_bad in zip(words, bad, strict=True) if not is_bad)
        return embedded


class Ahead(Poisonable):
    """The same, three batches late."""

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        held = list[pa.Array]()
        for each in texts:
            held.append(each)
            if len(held) > 3:
                yield self.answer(held.pop(0))
        yield from map(self.answer, held)


@given(st.lists(st.sampled_from(["good", "good", "good", "raise", "nan", None]), max_size=40), st.sampled_from([Poisonable, Ahead]))
def test_all_rows_that_fail_and_only_they_are_refused_and_good_texts_are_answered_once(kinds: list[str | None], make: type[Poisonable]) -> None:
    texts = [None if kind is None else f"{kind} {row}" for row, kind in enumerate(kinds)]
    shelf, engine = Shelf(), make()
    events = run(engine, lambda p: iter([batch(0, list(texts))]), [Task(partition(0), isolate=True)], shelf)
    assert not failures(events)
    good = [text for text in texts if text and text.startswith("good")]
    shards = [shelf.shards[key] for key in sorted(shelf.shards)]
    assert [text for shard in shards for text in shard.texts] == good
    vectors = [vector for shard in shards for part in shard.vectors for vector in part.tolist()]
    assert vectors == (engines.embed_texts(pa.array(good)).columns["embedding"].tolist() if good else [])
    refused = {each.row: each for shard in shards for each in shard.refused}
    assert {row: each.reason for row, each in refused.items() if each.reason == "encoder_failed"} == {
        row: "encoder_failed" for row, kind in enumerate(kinds) if kind in ("raise", "nan")
    }
    for row, each in refused.items():
        assert {"raise": "RuntimeError: the device is on fire", "nan": "the engine gave nan"}.get(kinds[row] or "", "") in each.error
    assert sum(event.rows_in for event in events if isinstance(event, Receipt)) == len(kinds)
    if make is Poisonable:
        assert all(engine.answered[text] == 1 for text in good)


def test_without_leave_the_partition_fails_and_those_beside_it_do_not() -> None:
    shelf, engine = Shelf(), Ahead()
    texts = {0: ["a"] * 9, 1: ["b", "raise", "b"], 2: ["c"] * 9}
    events = run(engine, lambda p: iter([batch(0, list(texts[p.number]))]), [Task(partition(number)) for number in range(3)], shelf)
    assert {number: failed.kind for number, failed in failures(events).items()} == {1: "engine"} and "on fire" in failures(events)[1].traceback
    assert receipts(events) == [(0, 0, False), (0, 1, True), (2, 0, False), (2, 1, True)]


@pytest.mark.parametrize("rows", [1, 2, 200])
def test_an_engine_that_fails_on_everything_refuses_no_row(rows: int) -> None:
    engine, shelf = Poisonable(broken=True), Shelf()
    events = run(engine, lambda p: iter([batch(0, ["text"] * rows)]), [Task(partition(0), isolate=True)], shelf)
    assert failures(events)[0].kind == "engine" and not shelf.shards
    assert engine.asked < 30, "and it is not asked for each row of a batch"


def test_a_batch_of_bad_rows_alone_is_refused_where_the_engine_is_sound() -> None:
    found = isolate(Poisonable(), pa.array(["nan 1", "raise 2", "nan 3"]))
    assert found.embedded is None and sorted(found.failed) == [0, 1, 2]


def test_few_questions_find_few_bad_rows() -> None:
    engine = Poisonable()
    found = isolate(engine, pa.array([f"good {row}" for row in range(5000)] + ["nan"] + [f"good {row}" for row in range(5000)]))
    assert list(found.failed) == [5000] and found.embedded is not None and len(found.embedded.num_tokens) == 10_000 and engine.asked < 30
