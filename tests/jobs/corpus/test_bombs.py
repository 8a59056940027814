"""Small files that promise or expand to more than anyone has: an outcome in words, in bounded memory and time."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.corpus import lines
from embermill.jobs.corpus.formats import parquet
from embermill.jobs.corpus.formats.parquet import open_parquet
from embermill.jobs.corpus.lines import DamagedStream, line_blocks, open_text
from embermill.jobs.errors import DataError
from embermill.jobs.storage import list_inputs, open_input


def write_zeros(path: Path, megabytes: int, codec: str) -> None:
    with pa.CompressedOutputStream(str(path), codec) as stream:
        for _ in range(megabytes):
            stream.write(bytes(1 << 20))


@pytest.mark.parametrize(("codec", "limit", "refused"), [("zstd", 2000, True), ("gzip", 2000, False), ("gzip", 500, True)])
def test_text_that_expands_beyond_all_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, limit: int, refused: bool) -> None:
    monkeypatch.setattr(lines, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(lines, "MAX_RATIO", limit)
    path = tmp_path / "a.txt.z"
    write_zeros(path, 64, codec)
    [(_, info)] = list_inputs(str(path))
    with closing(open_input(info.path, info.size, info.version)) as source:
        blocks = line_blocks(open_text(source, codec, str(path)), 0, None, 1 << 20)
        if refused:
            with pytest.raises(DamagedStream, match=rf"expands to more than {limit} times its {info.size} bytes"):
                list(blocks)
        else:
            assert len(list(blocks)) == 1


def test_a_footer_that_promises_more_than_its_file_can_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x" * 1000] * 100_000}), path, use_dictionary=False, compression="zstd")
    [(_, info)] = list_inputs(str(path))
    with closing(open_input(info.path, info.size, info.version)) as source, open_parquet(source, info.path) as file:
        assert file.metadata.num_rows == 100_000
    monkeypatch.setattr(parquet, "MAX_CHUNK_BYTES", 1 << 20)
    monkeypatch.setattr(parquet, "MAX_RATIO", 100)
    with closing(open_input(info.path, info.size, info.version)) as source, pytest.raises(DataError, match="row group 0 holds 100000 rows"):
        open_parquet(source, info.path)


def test_a_bomb_among_good_files_is_named(tmp_path: Path) -> None:
    """What is not Parquet at all is refused as before."""
    with pytest.raises(DataError, match="not a readable Parquet file"):
        open_parquet(_Bytes(b"PAR1 and nothing else"), "a.parquet")


class _Bytes(io.BytesIO):
    size = 21

    def check(self) -> None:
        pass
