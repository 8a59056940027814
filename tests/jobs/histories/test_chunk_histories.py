"""Random histories of a dataset of chunks: edits, syncs and the commands that make versions, in any order; after each, rows, keys and documents are right."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embermill.jobs.dataset.metadata.versions import read_version
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import command, open_inline_pool
from tests.jobs.sync.chunks import TellingChunkEngine, begin, bring, prose, require_whole_documents
from tests.jobs.sync.corpus import Corpus, Row, live_rows

pytestmark = pytest.mark.long

TEXTS = st.tuples(st.integers(0, 5), st.sampled_from([0, 1, 30, 70, 200]), st.integers(0, 40))
STEP = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 5), TEXTS, st.sampled_from(["en", "de"])), st.tuples(st.just("remove"), st.integers(0, 5)),
    st.tuples(st.sampled_from(["sync", "compact"])), st.tuples(st.just("rollback"), st.integers(1, 5)), st.tuples(st.just("erase"), st.integers(0, 5)),
)  # fmt: skip


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)
    monkeypatch.setattr("embermill.jobs.sync.stages.open_pool", open_inline_pool)


def row(number: int, text: tuple[int, int, int], lang: str) -> Row:
    """Documents with one seed share their beginnings, so that chunks are shared and move."""
    seed, words, ahead = text
    return {"id": f"d{number}", "text": prose(90, ahead) + " " + prose(seed, words), "lang": lang}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(STEP, min_size=3, max_size=9))
def test_any_history(steps: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, TellingChunkEngine.given = Path(folder), []
        corpus, rows = Corpus(root / "corpus"), {number: row(number, (number, 120, 3 * number), "en") for number in range(4)}
        corpus.write("a.jsonl", [*rows.values()])
        begin(root)
        for step in [*steps, ("sync",)]:
            carry_out(root, corpus, rows, step)


def carry_out(root: Path, corpus: Corpus, rows: dict[int, Row], step: tuple[object, ...]) -> None:
    out = str(root / "out")
    match step:
        case ("put", int(number), (int(seed), int(words), int(ahead)), str(lang)):
            rows[number] = row(number, (seed, words, ahead), lang)
        case ("remove", int(number)) if len(rows) > 1:
            rows.pop(number, None)
        case ("sync",):
            corpus.write("a.jsonl", [*rows.values()])
            bring(root, corpus={"max_deleted_share": 1.0})
        case ("compact",):
            before = live_rows(out)
            assert command("compact", out).code == 0 and live_rows(out) == before
        case ("rollback", int(to)):
            newest = read_version(open_folder(out)).number
            then = live_rows(out, to, without=("version",)) if to <= newest and is_readable(out, to) else None
            assert (command("rollback", out, "--to", str(to)).code == 0) == (then is not None)
            assert then is None or live_rows(out, without=("version",)) == then
        case ("erase", int(number)):
            kept = {key: each for key, each in live_rows(out).items() if each["document_id"] != f"d{number}"}
            (root / "ids.txt").write_text(f"d{number}\n")
            assert command("erase", out, "--ids", str(root / "ids.txt")).code == 0 and live_rows(out) == kept
            rows.pop(number, None) if len(rows) > 1 else None
            corpus.write("a.jsonl", [*rows.values()])
    require_whole_documents(out)
    assert command("verify", out).code == 0


def is_readable(out: str, number: int) -> bool:
    return any(each["version"] == number and each["state"] == "readable" for each in command("history", out)["versions"])
