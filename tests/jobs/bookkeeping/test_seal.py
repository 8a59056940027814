"""A file that carries its checksum is known by itself, whichever bit was flipped; one from before there were checksums is read as ever."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.bookkeeping.seal import BEGIN, BLANK, END, broken_seal, read_json, sealed_json, sealed_parquet

DOCUMENT = {"format": 1, "paths": ["ä", "b"], "prompt": "as " + BLANK + " says"}
KEYS = DOCUMENT.keys()
TABLE = pa.table({"a": [1, 2, 3], "b": ["x", "y", None]})


def flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ (1 << bit % 8)]) + data[bit // 8 + 1 :]


def test_what_was_sealed_reads_back() -> None:
    data = sealed_json(DOCUMENT)
    assert read_json(data, KEYS) == DOCUMENT and json.loads(data)["format"] == 1
    assert pq.read_table(io.BytesIO(sealed_parquet(TABLE))).equals(TABLE) and sealed_parquet(TABLE) == sealed_parquet(TABLE)


@pytest.mark.parametrize("data", [sealed_json(DOCUMENT), sealed_json({}), sealed_parquet(TABLE)])
def test_every_flipped_bit_is_found(data: bytes) -> None:
    assert broken_seal(data) == ""
    assert [bit for bit in range(8 * len(data)) if broken_seal(flipped(data, bit)) == ""] == []


def test_a_document_whose_checksum_went_missing_is_no_older_one() -> None:
    whole = sealed_json({"format": 1})
    other_key = whole.replace(b'"checksum"', b'"chucksum"').replace(BEGIN, b"").replace(END, b"")
    with pytest.raises(ValueError, match="no checksum, and a key 'chucksum'"):
        read_json(other_key, {"format"})


@pytest.mark.parametrize("data", [b"", b"[1]", b'"x"', b"\xff\xfe", b"{"])
def test_what_is_no_object(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_json(data, ())


def test_a_document_from_before_there_were_checksums() -> None:
    assert read_json(b'{"format": 1}', {"format"}) == {"format": 1}
    with pytest.raises(ValueError, match="a key 'fxrmat'"):
        read_json(b'{"fxrmat": 1}', {"format"})
