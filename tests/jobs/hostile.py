"""Files as an attacker or a failing disk would make them: configurations, models, corpora, Parquet footers, bookkeeping; and what becomes of each."""

from __future__ import annotations

import gzip
import io
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from embermill.jobs.config import CorpusConfig, JobConfig, ModelConfig, OutputConfig, load_config
from embermill.jobs.corpus.reading import read_rows
from embermill.jobs.dataset.views.status import status
from embermill.jobs.dataset.views.verify import verify
from embermill.jobs.engine.native import NativeEngine
from embermill.jobs.errors import JobError
from embermill.jobs.plan.listing import survey_files
from embermill.jobs.plan.planning import cut_corpus, row_schema
from embermill.jobs.storage import open_folder
from tests.encoder.tiny_bert import TinyBert, write_sentence_transformers

ROWS = [{"id": str(row), "text": f"text {row} é" * (row % 3), "k": row, "f": row / 2, "l": [row]} for row in range(40)]
TOKENS = [
    b"", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"{", b"}", b"[", b"]", b'"', b"\\", b"\\ud800", b",", b":", b"\n", b"\r", b"\r\n", b"- ", b"&a ", b"*a", b"<<: ",
    b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-0", b"18446744073709551616", b"9223372036854775808", b"-1", b"0", b"0.5", b"1" * 400, b"[" * 300,
    b"{\"a\":" * 300, b"../../etc/passwd", b"/dev/zero", b"!!python/object:os.system", b"PAR1",
    b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\x28\xb5\x2f\xfd", b"\x7f" * 9,
]  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """name -> file, of which one is damaged at a time; `look` opens what is there as a command would."""

    files: dict[str, bytes]
    look: Callable[[Path], None]
    damaged: tuple[str, ...] = ()

    def pick(self, draw: random.Random) -> str:
        return draw.choice(self.damaged or sorted(self.files))


def mutate(draw: random.Random, data: bytes, *, tail: bool = False) -> bytes:
    """One to six edits. tail: most of them near the end, where a Parquet file keeps its footer."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
        low = max(0, len(found) - 1500) if tail and draw.random() < 0.9 else 0
        at = draw.randint(low, len(found))
        match draw.randrange(8):
            case 0 | 1 if found and at < len(found):
                found[at] ^= 1 << draw.randrange(8)
            case 2:
                found[at : at + draw.choice((1, 2, 8, 64))] = b""
            case 3:
                found[at:at] = draw.choice(TOKENS)
            case 4:
                found[at : at + draw.choice((1, 4, 8, 16))] = draw.choice(TOKENS)
            case 5:
                found[at:at] = found[at : at + draw.choice((1, 16, 200))]
            case 6 if draw.random() < 0.3:
                del found[at:]
            case _ if at < len(found):
                found[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
    return bytes(found)


def outcome(subject: Subject, folder: Path) -> str:
    """"read" or "refused"; anything else that happens is raised."""
    try:
        subject.look(folder)
    except JobError as error:
        assert error.exit_code in (2, 3, 4, 33) and len(str(error)) < 20_000, type(error)
        return "refused"
    return "read"


def write(subject: Subject, folder: Path) -> None:
    for name, data in subject.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def try_one(subjects: dict[str, Subject], folders: dict[str, Path], seed: int) -> tuple[str, str]:
    """(subject and file, outcome) of one mutation; the file is put back."""
    draw = random.Random(seed)
    kind = sorted(subjects)[seed % len(subjects)]
    subject, folder = subjects[kind], folders[kind]
    name = subject.pick(draw)
    (folder / name).write_bytes(mutate(draw, subject.files[name], tail=name.endswith(".parquet")))
    try:
        return f"{kind}: {name}", outcome(subject, folder)
    finally:
        (folder / name).write_bytes(subject.files[name])


def subjects(where: Path, finished: Path) -> dict[str, Subject]:
    """finished: a dataset, whose bookkeeping is damaged in copies."""
    bookkeeping = {path.relative_to(finished).as_posix(): path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    no_shards = tuple(sorted(name for name in bookkeeping if name.startswith("_embermill/")))
    unfinished = {name: data for name, data in bookkeeping.items() if "/manifests/" not in name}
    return {
        "configuration": Subject({"job.yaml": yaml.safe_dump(SETTINGS).encode()}, lambda folder: _drop(load_config(folder / "job.yaml"))),
        "model": _model(where / "template"),
        "lines": Subject(_lines(), _look_at_corpus),
        "parquet": Subject(_parquet(), _look_at_corpus),
        "dataset": Subject(bookkeeping, lambda folder: _drop(status(open_folder(str(folder)))), no_shards),
        "commits": Subject(unfinished, lambda folder: _drop(status(open_folder(str(folder)))), tuple(name for name in no_shards if name in unfinished)),
        "shards": Subject(bookkeeping, lambda folder: _drop(verify(open_folder(str(folder))))),
    }


SETTINGS = {
    "model": {"source": "org/name", "max_tokens": 12, "prompt": "a "},
    "corpus": {"files": ["a", "b*"], "id_column": "id", "keep_columns": ["k", {"f": "g"}], "types": {"k": "int64"}, "max_quarantined": 0.1},
    "output": {"uri": "out"},
    "workers": {"count": 2},
}


def _drop(found: object) -> None:
    pass


def _model(template: Path) -> Subject:
    bert = TinyBert()
    folder = write_sentence_transformers(bert.write(template), bert.hidden, max_seq_length=30, prompts={"document": "the ", "query": "how "})
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    shutil.rmtree(template)

    def look(folder: Path) -> None:
        preview = NativeEngine.preview(ModelConfig(source=str(folder)), "cpu")
        assert preview.count_tokens is not None
        preview.count_tokens(["a text of some words", "", "é\0🙂" * 50])

    return Subject(files, look, tuple(sorted(name for name in files if name.endswith((".json", ".txt")))))


def _lines() -> dict[str, bytes]:
    lines = "".join(json.dumps(row, ensure_ascii=row["k"] != 7) + "\n" for row in ROWS).encode()
    table = ("id,text,k,f,l\n" + "".join(f'{row["id"]},"{row["text"]}",{row["k"]},{row["f"]},x\n' for row in ROWS)).encode()
    return {"a.jsonl": lines, "b.csv": table, "c.jsonl.gz": gzip.compress(lines, mtime=0), "d.jsonl.zst": pa.compress(lines, codec="zstd", asbytes=True)}


def _parquet() -> dict[str, bytes]:
    files = {}
    for name, settings in (("a.parquet", {}), ("b.parquet", {"use_dictionary": False, "compression": "zstd", "row_group_size": 10})):
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(ROWS), sink, **settings)
        files[name] = sink.getvalue()
    return files


def _look_at_corpus(folder: Path) -> None:
    """As `plan` and a worker would: what cannot be read is quarantined."""
    corpus = CorpusConfig(
        files=(str(folder),), id_column="id", keep_columns=(("k", "k"), ("f", "f"), ("l", "l")), max_text_bytes=10_000,
        on_bad_file="quarantine", on_schema_drift="null",
    )  # fmt: skip
    job = JobConfig(model=ModelConfig(engine="python:none:None"), corpus=corpus, output=OutputConfig(uri="out"))
    files = survey_files(corpus)
    rows = row_schema(job, files)
    for partition in cut_corpus(files, 2000):
        found = 0
        for batch in read_rows(partition, rows):
            assert batch.num_rows == len(batch.ids) + sum(refusal.row_count for refusal in batch.refused)
            found += batch.num_rows
            assert found < 1 << 40
