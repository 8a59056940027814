"""A fast tokenizer that gives other ids than the one that counts: on every row, on one in a hundred, on single rows. What becomes of the dataset."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.differing_tokens import DIFFERING
from embermill.jobs.errors import Interrupted
from embermill.jobs.storage import open_folder
from embermill.jobs.worker.token_sample import SAMPLE_ROWS, TokenSample
from tests.jobs.command_line import Answer, command, open_inline_pool, run
from tests.jobs.word_engines import FastWordEngine, vector

FILES, ROWS = 3, 400
TEXTS = [[f"file {file} says number {row}" for row in range(ROWS)] for file in range(FILES)]
Run = Callable[..., Answer]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A job of three partitions, a file each, with a fast tokenizer that is wrong about the texts that are given."""
    for name in ("run", "stages.token_review"):
        monkeypatch.setattr(f"embermill.jobs.{name}.open_pool", open_inline_pool)
    (tmp_path / "corpus").mkdir()
    for file, texts in enumerate(TEXTS):
        pq.write_table(pa.table({"id": [f"{file}-{row}" for row in range(ROWS)], "text": texts}), tmp_path / f"corpus/{file}.parquet")

    def carry_out(planted: Iterable[str], output: str = "out", name: str = "run") -> Answer:
        monkeypatch.setattr(FastWordEngine, "planted", frozenset(planted))
        return run(tmp_path, engine="FastWordEngine", output=output, name=name, corpus={"partition_text_bytes": 100_000, "id_column": "id"})

    return carry_out


def sampled(file: int) -> set[str]:
    sample = TokenSample()
    sample.add(pa.array(TEXTS[file]))
    assert len(sample.texts()) == SAMPLE_ROWS
    return set(sample.texts())


def outside(file: int) -> str:
    """A text that no sample holds."""
    return next(text for text in TEXTS[file] if text not in sampled(file))


def inside(file: int) -> str:
    return next(text for text in TEXTS[file] if text in sampled(file))


def tokenizers_of(output: Path) -> list[str]:
    """Of each committed shard, in their order."""
    return [receipt.provenance["tokenizer"] for receipt in sorted(CommitLog(open_folder(str(output))).receipts(), key=lambda each: each.partition)]


def vectors_of(output: Path) -> dict[str, Any]:
    return {row["id"]: (row["embedding"], row["num_tokens"]) for file in sorted(output.glob("data/*.parquet")) for row in pq.read_table(file).to_pylist()}


@pytest.fixture
def exact(job: Run, tmp_path: Path) -> dict[str, Any]:
    """What the tokenizer that counts makes."""
    assert job([], output="exact").code == 0
    assert not (tmp_path / "exact" / DIFFERING).exists()
    return vectors_of(tmp_path / "exact")


def test_no_difference_and_the_receipts_name_the_tokenizer(job: Run, tmp_path: Path, exact: dict[str, Any]) -> None:
    assert tokenizers_of(tmp_path / "exact") == ["fast 1.0"] * FILES and len(exact) == FILES * ROWS


@pytest.mark.parametrize("every", [1, 100])
def test_wrong_on_every_row_and_on_one_in_a_hundred(job: Run, tmp_path: Path, exact: dict[str, Any], every: int) -> None:
    planted = [text for texts in TEXTS for text in texts[::every]]
    assert job(planted).code == 0
    assert vectors_of(tmp_path / "out") == exact
    assert tokenizers_of(tmp_path / "out") == ["exact 2.0"] * FILES, "the partition is done again, and all later ones are done by the one that counts"
    found = json.loads((tmp_path / "out" / DIFFERING).read_bytes())
    assert found["tokenizer"] == "fast 1.0" and found["exact"] == "exact 2.0" and found["rows_compared"] == SAMPLE_ROWS and found["rows_differing"] > 0


def test_found_late_committed_shards_are_looked_at_again_and_are_right(job: Run, tmp_path: Path, exact: dict[str, Any]) -> None:
    assert job([inside(2)]).code == 0
    assert vectors_of(tmp_path / "out") == exact
    assert tokenizers_of(tmp_path / "out")[2] == "exact 2.0"


def test_a_committed_shard_that_differs_is_named_and_the_advice_leads_to_an_equal_dataset(job: Run, tmp_path: Path, exact: dict[str, Any]) -> None:
    single, found = outside(0), inside(2)
    answer = job([single, found])
    assert answer.code == 3 and not [*(tmp_path / "out/_embermill").glob("manifests/*")]
    (shard,) = [path for path in (tmp_path / "out/data").iterdir() if path.name.startswith("part-000000000-")]
    assert f"data/{shard.name}" in answer.errors and f"'0-{TEXTS[0].index(single)}'" in answer.errors and "part-000000001" not in answer.errors
    assert job([single, found]).code == 3, "running again changes nothing"
    assert vectors_of(tmp_path / "out") != exact
    shard.unlink()
    assert command("repair", str(tmp_path / "out")).code == 0
    assert job([single, found]).code == 0
    assert vectors_of(tmp_path / "out") == exact


def end_before_the_review(job: Run, planted: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is ended once all shards are committed."""

    def interrupted(*given: object) -> None:
        raise Interrupted("ended by the test")

    with monkeypatch.context() as patched:
        patched.setattr("embermill.jobs.run.review_tokens", interrupted)
        assert job(planted).code == 33


def test_the_note_outlives_the_run_and_shards_whose_receipts_are_lost_are_looked_at(job: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are adopted, and nobody knows what made them."""
    planted = [outside(0), inside(2)]
    end_before_the_review(job, planted, monkeypatch)
    for commit in (tmp_path / "out/_embermill/commits").iterdir():
        commit.unlink()
    answer = job(planted)
    assert answer.code == 3 and "part-000000000-" in answer.errors


def test_another_tokenizer_than_the_one_that_was_found_out_cannot_judge(job: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end_before_the_review(job, [inside(2)], monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(FastWordEngine, "fast_tokenizer_name", "fast 1.1")
        answer = job([])
    assert answer.code == 3 and "no worker had fast 1.0" in answer.errors
    assert job([inside(2)]).code == 0, "it is installed again"


def test_a_damaged_note_says_what_to_do(job: Run, tmp_path: Path) -> None:
    note = tmp_path / "out" / DIFFERING
    note.parent.mkdir(parents=True)
    note.write_text("{")
    answer = job([])
    assert answer.code == 3 and DIFFERING in answer.errors
    note.unlink()
    assert job([]).code == 0


def test_a_single_row_outside_every_sample_is_the_limit_of_a_sample(job: Run, tmp_path: Path, exact: dict[str, Any]) -> None:
    """Where nothing else was found, nobody looks: infra/decisions/0009 says so."""
    single = outside(1)
    assert job([single]).code == 0
    differing = {row for row, made in vectors_of(tmp_path / "out").items() if made != exact[row]}
    assert differing == {f"1-{TEXTS[1].index(single)}"} and tokenizers_of(tmp_path / "out") == ["fast 1.0"] * FILES


def test_a_sync_tokenizes_exactly(job: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.sync.stages.open_pool", open_inline_pool)
    assert job([]).code == 0
    new = [f"new text number {row}" for row in range(ROWS)]
    pq.write_table(pa.table({"id": [f"new-{row}" for row in range(ROWS)], "text": new}), tmp_path / "corpus/new.parquet")
    assert job(new, name="sync").code == 0 and not (tmp_path / "out" / DIFFERING).exists()
    files = [pq.read_table(file) for file in (tmp_path / "out/changes").rglob("*.parquet")]
    made = {row["id"]: row["embedding"] for file in files if "embedding" in file.column_names for row in file.to_pylist()}
    assert {f"new-{row}" for row in range(ROWS)} <= made.keys()
    assert made["new-7"] == pytest.approx(vector(new[7]).tolist())
