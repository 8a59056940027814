"""`sync --import-vectors`: vectors that were made elsewhere are taken once some of them were made again and are the same; everything else is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.commands.answers_sync import show_sync
from embermill.jobs.dataset.metadata.versions import read_version
from embermill.jobs.dataset.views.history import history
from embermill.jobs.dataset.views.verify import verify
from embermill.jobs.difference import importing
from embermill.jobs.errors import UsageError
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from embermill.jobs.sync.job import SyncOptions, sync
from tests.jobs.command_line import Answer
from tests.jobs.sync.corpus import Corpus, TellingEngine, configure, live_rows, row, settings_of

SAMPLE = 5
ROWS = [row(f"r{n}", f"a text of number {n}") for n in range(30)]


@pytest.fixture(autouse=True)
def small_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "SAMPLED_TEXTS", SAMPLE)


@pytest.fixture
def vectors(tmp_path: Path, corpus: Corpus) -> dict[str, list[float]]:
    """Of each id, as another dataset of the same engine has them."""
    corpus.write("a.jsonl", ROWS)
    run(configure(tmp_path, "elsewhere"))
    TellingEngine.taken()
    return {identity: each["embedding"] for identity, each in live_rows(str(tmp_path / "elsewhere")).items()}


def write(path: Path, vectors: dict[str, Any], kind: pa.DataType | None = None, rows: list[dict[str, Any]] = ROWS, column: str = "embedding") -> str:
    dim = len(next(each for each in vectors.values() if each))
    values = pa.array([vectors[each["id"]] for each in rows], kind or pa.list_(pa.float32(), dim))
    pq.write_table(pa.table({"id": [each["id"] for each in rows], "text": [each["text"] for each in rows], column: values}), path)
    return str(path)


def imported(root: Path, *files: str, bound: float = importing.BOUND) -> Any:
    return sync(configure(root), SyncOptions(imports=files, import_bound=bound))


def turned(vector: list[float], cosine: float) -> list[float]:
    """Of the same length, with this cosine."""
    given = np.array(vector, np.float64)
    other = np.roll(given, 1) + 1
    other -= given * (other @ given) / (given @ given)
    return list(cosine * given + np.sqrt(1 - cosine**2) * other * np.linalg.norm(given) / np.linalg.norm(other))


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_a_dataset_is_begun_with_vectors_that_were_made_elsewhere(tmp_path: Path, vectors: dict[str, list[float]], kind: pa.DataType) -> None:
    given = write(tmp_path / "given.parquet", vectors, pa.list_(kind))
    summary = imported(tmp_path, given)
    assert (summary.action, summary.version, summary.rows, summary.texts_embedded, summary.vectors_copied) == ("committed", 2, 30, SAMPLE, 25)
    assert len(TellingEngine.taken()) == SAMPLE, "the rest is not computed"
    told = {"files": 1, "vectors": 25, "bound": 0.999, "texts": SAMPLE}
    assert summary.imported.items() >= told.items() and summary.imported["minimum"] > 0.999999
    version = read_version(open_folder(str(tmp_path / "out")))
    assert version.details["imported"] == summary.imported == history(open_folder(str(tmp_path / "out")))[-1]["imported"]
    without = ("version", "num_tokens")  # nobody has counted the tokens of what was imported
    assert live_rows(str(tmp_path / "out"), without=without) == live_rows(str(tmp_path / "elsewhere"), without=without)
    assert verify(open_folder(str(tmp_path / "out"))).to_json()["ok"]
    assert not [*open_folder(str(tmp_path / "out")).list("_embermill/sync/000002/imports")]
    assert sync(configure(tmp_path)).action == "nothing" and run(configure(tmp_path)).rows_embedded == 0


def test_later_only_texts_that_have_no_vector_are_taken(tmp_path: Path, vectors: dict[str, list[float]], corpus: Corpus) -> None:
    corpus.write("a.jsonl", ROWS[:10])
    run(configure(tmp_path))
    corpus.write("a.jsonl", [*ROWS, row("x", "a text that nobody gives")])
    TellingEngine.taken()
    summary = imported(tmp_path, write(tmp_path / "given.parquet", vectors))
    assert (summary.texts_embedded, summary.vectors_copied, summary.imported["vectors"], summary.imported["texts"]) == (SAMPLE + 1, 15, 15, SAMPLE)


def test_where_fewer_are_given_all_are_compared(tmp_path: Path, vectors: dict[str, list[float]]) -> None:
    summary = imported(tmp_path, write(tmp_path / "given.parquet", vectors, rows=ROWS[:3]))
    assert (summary.texts_embedded, summary.imported["texts"], summary.imported["vectors"]) == (30, 3, 0)


def test_vectors_of_another_model_are_refused_with_the_figures(tmp_path: Path, vectors: dict[str, list[float]]) -> None:
    near = write(tmp_path / "near.parquet", {identity: turned(vector, 0.995) for identity, vector in vectors.items()})
    figures = r"5 of the texts.*cosine of 0\.995000 at least \(0\.995000 on average\).*expected 0\.999 in each"
    with pytest.raises(UsageError, match=figures + r".*--import-bound 0\.99 accepts"):
        imported(tmp_path, near)
    assert len(TellingEngine.taken()) == SAMPLE and read_version(open_folder(str(tmp_path / "out"))).totals["rows"] == 0
    summary = imported(tmp_path, near, bound=0.99)  # as the message says
    assert (summary.rows, summary.imported["bound"], summary.imported["vectors"]) == (30, 0.99, 25) and TellingEngine.taken() == []
    assert summary.imported["minimum"] == pytest.approx(0.995, abs=1e-6)


def test_one_row_of_the_sample_is_enough(tmp_path: Path, vectors: dict[str, list[float]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "SAMPLED_TEXTS", 30)
    given = write(tmp_path / "given.parquet", vectors | {"r7": turned(vectors["r7"], 0.98)})
    with pytest.raises(UsageError, match=r"cosine of 0\.980000 at least \(0\.999333 on average\)") as refused:
        imported(tmp_path, given)
    assert "--import-bound" not in str(refused.value), "not even that would accept it"
    assert sync(configure(tmp_path)).rows == 30 and live_rows(str(tmp_path / "out"))["r7"]["embedding"] == vectors["r7"]


def test_vectors_of_another_length_are_refused(tmp_path: Path, vectors: dict[str, list[float]]) -> None:
    with pytest.raises(UsageError, match=r"they are 2 to 2 times as long; expected 0\.99 to 1\.01"):
        imported(tmp_path, write(tmp_path / "given.parquet", {identity: [2 * each for each in vector] for identity, vector in vectors.items()}))


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda vector: vector[:-1], None, r"column 'embedding' holds vectors of \d+ numbers, and this model makes \d+"),
        (lambda vector: vector[:-1], pa.list_(pa.float32()), r"given\.parquet, row 0 \(id 'r0'\): expected a vector of 8 .* got one of 7 numbers"),
        (lambda vector: [float("nan"), *vector[1:]], None, "row 0 .* got one that is not finite"),
        (lambda vector: [None, *vector[1:]], None, "row 0 .* got one that is not finite"),
        (lambda vector: None, None, "row 4 .* got none"),
        (lambda vector: [int(100 * each) for each in vector], pa.list_(pa.int8()), r"is of type list<.*: int8>: expected lists of float16, float32 or float64"),
    ],
)  # fmt: skip
def test_what_is_no_vector_is_refused(
    tmp_path: Path, vectors: dict[str, list[float]], change: Callable[[list[float]], Any], kind: pa.DataType | None, message: str
) -> None:
    changed = {identity: change(vector) if "row 4" not in message or identity == "r4" else vector for identity, vector in vectors.items()}
    with pytest.raises(UsageError, match=message):
        imported(tmp_path, write(tmp_path / "given.parquet", changed, kind))
    assert sync(configure(tmp_path)).rows == 30, "without them all is embedded"


def test_files_that_are_none_of_such_vectors_are_refused(tmp_path: Path, vectors: dict[str, list[float]]) -> None:
    with pytest.raises(UsageError, match=r"--import-vectors: .*nothing\.parquet"):
        imported(tmp_path, str(tmp_path / "nothing.parquet"))
    with pytest.raises(UsageError, match=r"--import-bound 0\.9: expected a cosine from 0\.99 to 1"):
        imported(tmp_path, write(tmp_path / "given.parquet", vectors), bound=0.9)
    assert not (tmp_path / "out").exists(), "before anything is begun"
    with pytest.raises(UsageError, match="it has no column 'embedding': expected the columns of the corpus and 'embedding'"):
        imported(tmp_path, write(tmp_path / "given.parquet", vectors, column="vector"))
    with pytest.raises(UsageError, match="expected Parquet files with ids, texts and vectors, got jsonl"):
        imported(tmp_path, str(tmp_path / "corpus/a.jsonl"))


def test_the_command_says_it(tmp_path: Path, vectors: dict[str, list[float]], command: Callable[..., Answer]) -> None:
    (tmp_path / "job.yaml").write_text(json.dumps(settings_of(tmp_path)))
    given = write(tmp_path / "given.parquet", vectors)
    found = command("sync", str(tmp_path / "job.yaml"), "--import-vectors", given)
    assert found.code == 0 and found["imported"]["vectors"] == 25
    assert "25 vectors of 1 file; 5 texts of theirs embedded here too, cosine 1.000000 at least" in show_sync(json.loads(found.stdout))
    assert command("sync", str(tmp_path / "job.yaml"), "--import-vectors", given, "--import-bound", "0.5").code == 2
