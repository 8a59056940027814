"""Brute-force search: exact against a plain computation, ties in row order, the same whatever the batch, and only with the model that made the dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embermill.jobs.dataset.views.search
from embermill.jobs.dataset.views.search import search
from embermill.jobs.errors import DataError
from embermill.jobs.storage import open_folder


def write_shards(folder: Path, vectors: np.ndarray, shards: int, row_group: int = 7) -> list[str]:
    """[N, E] over so many files, with integer ids in row order."""
    names = []
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(np.array_split(np.arange(len(vectors)), shards)):
        kind = pa.list_(pa.field("element", pa.float32(), nullable=False), vectors.shape[1])
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors[rows].ravel(), pa.float32()), type=kind)
        names.append(f"data/part-{number:03d}.parquet")
        table = pa.table({"id": rows, "embedding": column, "lang": [f"l{row % 3}" for row in rows]})
        pq.write_table(table, folder / names[-1], row_group_size=row_group, write_page_checksum=True)
    return names


@pytest.mark.parametrize(("content", "said"), [(None, "is gone"), (b"PAR1 nothing of the kind PAR1", "not a whole Parquet file")])
def test_a_shard_that_is_gone_or_damaged_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    names = write_shards(tmp_path, np.ones((4, 3), np.float32), 2)
    if content is None:
        (tmp_path / names[1]).unlink()
    else:
        (tmp_path / names[1]).write_bytes(content)
    with pytest.raises(DataError, match=f"{names[1]}: .*{said}.*verify"):
        search(open_folder(str(tmp_path)), names, np.ones(3, np.float32), 2)


@given(data=st.data())
def test_finds_what_a_full_sort_finds(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    rows, shards, k = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 4)), data.draw(st.integers(1, 70))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    vectors = rng.integers(-2, 3, (rows, 3)).astype(np.float32)  # few distinct values, so that there are ties and zeros
    query = rng.normal(size=3).astype(np.float32)
    folder = tmp_path_factory.mktemp("dataset")
    names = write_shards(folder, vectors, shards)
    hits = search(open_folder(str(folder)), names, query, k)

    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    scores = np.divide(vectors @ query, norms, out=np.zeros(rows, np.float32), where=norms > 0)
    assert len(hits) == min(k, rows)
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(scores)[::-1][:k], atol=1e-6)
    for hit in hits:
        assert hit.score == pytest.approx(scores[hit.columns["id"]], abs=1e-6)
        assert set(hit.columns) == {"id", "lang"} and hit.columns["lang"] == f"l{hit.columns['id'] % 3}"


def test_equal_scores_come_in_row_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.tile(np.array([[1, 0], [0, 1]], np.float32), (50, 1))
    names = write_shards(tmp_path, vectors, 3)
    for batch_rows in (1, 3, 8192):
        monkeypatch.setattr(embermill.jobs.dataset.views.search, "BATCH_ROWS", batch_rows)
        hits = search(open_folder(str(tmp_path)), names, np.array([2, 0], np.float32), 5)
        assert [hit.columns["id"] for hit in hits] == [0, 2, 4, 6, 8]


def test_no_shards_no_hits(tmp_path: Path) -> None:
    assert search(open_folder(str(tmp_path)), [], np.ones(3, np.float32), 5) == []
