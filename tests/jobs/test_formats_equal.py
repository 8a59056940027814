"""The same documents in every format, compression and cut give the same vectors, ids and counts."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.jobs.command_line import Answer

DOCUMENTS = [(f"doc-{n:03d}", f"text {n}, with \"quotes\" and a comma" + " é漢字🙂 \u2028 \x85 tab\t" * (n % 3), f"l{n % 4}") for n in range(120)]
FORMATS, COMPRESSIONS = ("parquet", "jsonl", "csv", "txt"), ("", ".gz", ".zst")


def columns(documents: list[tuple[str, str, str]]) -> pa.Table:
    ids, texts, languages = zip(*documents, strict=True)
    return pa.table({"id": ids, "text": texts, "lang": languages})


def rendered(documents: list[tuple[str, str, str]], form: str) -> bytes:
    if form == "parquet":
        sink = io.BytesIO()
        pq.write_table(columns(documents), sink, row_group_size=17)
        return sink.getvalue()
    if form == "jsonl":
        return "".join(json.dumps({"id": i, "text": t, "lang": g}, ensure_ascii=n % 2 == 0) + "\n" for n, (i, t, g) in enumerate(documents)).encode()
    if form == "csv":
        out = io.StringIO()
        csv.writer(out, lineterminator="\r\n").writerows([("id", "text", "lang"), *documents])
        return out.getvalue().encode()
    return "".join(text + "\n" for _, text, _ in documents).encode()


def compressed(data: bytes, suffix: str) -> bytes:
    if suffix == ".gz":
        return gzip.compress(data, mtime=0)
    return pa.compress(data, codec="zstd", asbytes=True) if suffix == ".zst" else data


CASES = [(form, suffix, files) for form in FORMATS for suffix in COMPRESSIONS for files in (1, 5) if not (form == "parquet" and suffix)]


@pytest.mark.parametrize(("form", "suffix", "files"), CASES)
def test_every_format_gives_the_same_dataset(embed: Callable[..., Answer], tmp_path: Path, form: str, suffix: str, files: int) -> None:
    (tmp_path / "corpus").mkdir()
    size = -(-len(DOCUMENTS) // files)
    for number in range(files):
        part = DOCUMENTS[number * size : (number + 1) * size]
        (tmp_path / f"corpus/part-{number}.{form}{suffix}").write_bytes(compressed(rendered(part, form), suffix))
    kept = {} if form == "txt" else {"keep_columns": ["lang"]}
    answer = embed(corpus={"files": [str(tmp_path / "corpus")], "partition_text_bytes": 900, **kept})
    assert (answer.code, answer["rows_in"], answer["rows_out"], answer["rows_quarantined"]) == (0, 120, 120, 0)
    rows = [row for file in sorted((answer.output / "data").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]
    whole = embed(corpus={"files": [str(reference(tmp_path))], "keep_columns": ["lang"]}, output="reference")
    expected = [row for file in sorted((whole.output / "data").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]
    shared = ["embedding", "num_tokens", "num_tokens_dropped", "text_hash"] + ([] if form == "txt" else ["id", "lang"])
    assert [[row[name] for name in shared] for row in rows] == [[row[name] for name in shared] for row in expected]
    assert form != "txt" or len({row["id"] for row in rows}) == 120
    assert (answer["tokens"], answer["tokens_dropped"]) == (whole["tokens"], whole["tokens_dropped"])


def reference(folder: Path) -> Path:
    """One Parquet file in one row group."""
    (folder / "reference-corpus").mkdir()
    path = folder / "reference-corpus/all.parquet"
    pq.write_table(columns(DOCUMENTS), path)
    return path
