"""What tests/jobs/hostile.py damages: configurations, models and tokenizers, corpora, Parquet footers, and a dataset's bookkeeping, opened as commands do."""

from __future__ import annotations

import datetime
import decimal
import gzip
import io
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from embermill.encoder import Encoder, describe
from embermill.encoder.text.tokenizer import Tokenizer
from embermill.jobs.config import CorpusConfig, JobConfig, ModelConfig, OutputConfig, load_config
from embermill.jobs.corpus.reading import read_rows
from embermill.jobs.dataset.views.status import status
from embermill.jobs.dataset.views.verify import verify
from embermill.jobs.engine.native import NativeEngine
from embermill.jobs.errors import model_errors
from embermill.jobs.plan.listing import survey_files
from embermill.jobs.plan.planning import cut_corpus, row_schema
from embermill.jobs.storage import open_folder
from tests.encoder.tiny_bert import TinyBert, write_sentence_transformers
from tests.jobs.command_line import command
from tests.jobs.hostile import Subject
from tests.jobs.worked_on import inline_pools

Look = Callable[[Path], int | None]
GOLDEN = Path(__file__).parents[1] / "golden"
ROWS = [{"id": str(row), "text": f"text {row} é" * (row % 3), "k": row, "f": row / 2, "l": [row]} for row in range(40)]
TEXTS = ["a text of some words", "", "é\0🙂" * 50, "[CLS] <s> 日本語\N{ZERO WIDTH NO-BREAK SPACE}"]
SETTINGS = {
    "model": {"source": "org/name", "max_tokens": 12, "prompt": "a "},
    "corpus": {"files": ["a", "b*"], "id_column": "id", "keep_columns": ["k", {"f": "g"}], "types": {"k": "int64"}, "max_quarantined": 0.1},
    "output": {"uri": "out"},
    "workers": {"count": 2},
}


def subjects(where: Path, finished: Path, versions: Path) -> dict[str, Subject]:
    """finished: a dataset, whose bookkeeping is damaged in copies. versions: one of several versions, and its corpus changed since."""
    dataset = {path.relative_to(finished).as_posix(): path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    books = tuple(sorted(name for name in dataset if name.startswith("_embermill/")))
    unfinished = {name: data for name, data in dataset.items() if "/manifests/" not in name}
    begun = tuple(name for name in books if name in unfinished)
    job = (finished.parent / f"{finished.name}.yaml").read_text()
    return {
        "configuration": Subject({"job.yaml": yaml.safe_dump(SETTINGS).encode()}, lambda folder: _drop(load_config(folder / "job.yaml"))),
        "model": _model(where / "template"),
        "lines": Subject(_lines(), _look_at_corpus),
        "parquet": Subject(_parquet(), _look_at_corpus),
        "dataset": Subject(dataset, lambda folder: _drop(status(open_folder(str(folder)))), books),
        "commits": Subject(unfinished, lambda folder: _drop(status(open_folder(str(folder)))), begun),
        "shards": Subject(dataset, lambda folder: _drop(verify(open_folder(str(folder))))),
        "many types": Subject(_many_types(), _look_at_corpus),
        "edited lines": Subject(_lines(), _look_at_corpus, ("a.jsonl",), edits=True),
        "edited configuration": Subject({"job.yaml": yaml.safe_dump(SETTINGS).encode()}, lambda folder: _drop(load_config(folder / "job.yaml")), edits=True),
        "edited model": replace(_model(where / "template"), edits=True),
        "tokenizer": _tokenizers(),
        "family": _families(),
        "job": Subject({"job.yaml": job.encode()}, lambda folder: _ask("plan", str(folder / "job.yaml")), edits=True),
        "forged, read": Subject(dataset, _asked("status", "search", "verify"), books, edits=True, forged=True),
        "forged, run": Subject(dataset, _asked("plan", "run", job=job), books, edits=True, forged=True),
        "forged, resumed": Subject(unfinished, _asked("run", "verify", job=job), edits=True, forged=True),
        "forged, redriven": Subject(unfinished, _asked("redrive", job=job), edits=True, forged=True),
        "forged, repaired": Subject(dataset, _asked("repair", "verify", "gc", job=job), edits=True, forged=True),
        "damaged, repaired": Subject(dataset, _asked("repair", "verify", "run", job=job)),
        **_versions(versions),
    }


def _versions(dataset: Path) -> dict[str, Subject]:
    files = {path.relative_to(dataset).as_posix(): path.read_bytes() for path in dataset.rglob("*") if path.is_file()}
    job = (dataset.parent / f"{dataset.name}.yaml").read_text()
    books = tuple(sorted(name for name in files if name.startswith(("_embermill/keys", "_embermill/sync/", "_embermill/versions/", "_embermill/claims/"))))
    plain = tuple(sorted(files.keys() - {*books}))
    looked = {
        "read": _asked("status", "history", "files", "changes", "search", "verify"), "synced": _asked("plan", "sync", "verify", job=job),
        "rolled back": _asked("rollback", "compact", "gc"), "erased": _asked("erase", "verify"), "repaired": _asked("repair", "verify"),
    }  # fmt: skip
    return {f"versions, {how}": Subject(files, look, books * 3 + plain, edits=True, forged=True) for how, look in looked.items()}


def _drop(found: object) -> None:
    pass


# -- commands


def _ask(name: str, *arguments: str) -> int:
    answer = command(name, *arguments)
    assert answer.code in (0, 2, 3, 4, 33) and "Traceback" not in answer.errors, f"{name}: exit {answer.code}\n{answer.errors[-6000:]}"
    assert len(answer.errors) < 40_000, answer.errors[:500]
    if answer.code == 0:
        json.loads(answer.stdout)
    return answer.code


def _asked(*names: str, job: str = "") -> Look:
    """These commands one after another, on a copy of the dataset; the worst exit code. Nothing may appear beside the copy."""

    def look(folder: Path) -> int:
        codes = [0]
        with tempfile.TemporaryDirectory(dir=folder.parent) as name, inline_pools():
            copy = shutil.copytree(folder, Path(name) / "inner/dataset")
            config = Path(name) / "job.yaml"
            config.write_text(_moved(job, copy) if job else "")
            (Path(name) / "ids.txt").write_text("a5\nb5\n")
            further = {
                "search": ["text"], "changes": ["--since", "1"], "rollback": ["--to", "2"], "erase": ["--ids", str(Path(name) / "ids.txt")],
            }  # fmt: skip
            with mock.patch.multiple("embermill.jobs.dataset.metadata.lease", MAX_LEASE_S=0.01, LEASE_S=0.01):
                for each in names:
                    codes.append(_ask(each, str(config if each in ("plan", "run", "sync") else copy), *further.get(each, [])))
            assert sorted(path.name for path in (*Path(name).iterdir(), *copy.parent.iterdir())) == ["dataset", "ids.txt", "inner", "job.yaml"]
        return max(codes)

    return look


def _moved(job: str, output: Path) -> str:
    """The same job with another output.uri."""
    settings = yaml.safe_load(job)
    return yaml.safe_dump(settings | {"output": settings["output"] | {"uri": str(output)}})


# -- models


def _model(template: Path) -> Subject:
    bert = TinyBert()
    folder = write_sentence_transformers(bert.write(template), bert.hidden, max_seq_length=30, prompts={"document": "the ", "query": "how "})
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    shutil.rmtree(template)
    return Subject(files, _count_tokens, tuple(sorted(name for name in files if name.endswith((".json", ".txt")))))


def _count_tokens(folder: Path) -> None:
    preview = NativeEngine.preview(ModelConfig(source=str(folder)), "cpu")
    assert preview.count_tokens is not None
    preview.count_tokens(TEXTS)


def _tokenizers() -> Subject:
    """WordPiece, byte-level BPE and Unigram in folders of a BERT, an ModernBERT and an XLM-RoBERTa."""
    files = dict[str, bytes]()
    for name, family in (("bert", "bert"), ("roberta", "roberta"), ("modernbert", "modernbert"), ("xlm-roberta", "xlm-roberta"), ("mpnet", "mpnet")):
        files[f"{name}/config.json"] = (GOLDEN / "families" / family / "config.json").read_bytes()
        files[f"{name}/tokenizer.json"] = (GOLDEN / "tokenizers" / name / "tokenizer.json").read_bytes()
        files[f"{name}/tokenizer_config.json"] = json.dumps({"model_max_length": 30, "do_lower_case": name == "bert"}).encode()
        files[f"{name}/special_tokens_map.json"] = b'{"pad_token": {"content": "<pad>", "lstrip": false}}'
        files[f"{name}/added_tokens.json"] = b'{"<extra>": 99}'

    def look(folder: Path) -> None:
        for name in ("bert", "roberta", "modernbert", "xlm-roberta", "mpnet"):
            if any((folder / each).read_bytes() != data for each, data in files.items() if each.startswith(f"{name}/")):
                with model_errors():
                    Tokenizer(folder / name, max_tokens=30, vocab_size=1 << 30, threads=1).tokenize(TEXTS)

    return Subject(files, look, edits=True)


def _families() -> Subject:
    found = [path for path in sorted((GOLDEN / "families").glob("*/*")) if path.suffix in (".json", ".safetensors")]
    files = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in found}

    def look(folder: Path) -> None:
        for name in sorted({each.partition("/")[0] for each in files}):
            if any((folder / each).read_bytes() != data for each, data in files.items() if each.startswith(f"{name}/")):
                with model_errors():
                    describe(folder / name, pooling="mean")
                    with Encoder.from_pretrained(folder / name, device="cpu", threads=1, pooling="mean") as encoder:
                        encoder.encode_token_ids([[1, 2, 3], [4]])

    return Subject(files, look, tuple(sorted(name for name in files if name.endswith(".json"))) * 3 + tuple(sorted(files)), edits=True)


# -- corpora


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


def _many_types() -> dict[str, bytes]:
    """`k`, `f` and `l`, which are kept, of another kind in each file, in every form that Parquet's writers offer."""
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)
    kinds: list[tuple[list[Any], pa.DataType]] = [
        ([moment, None], pa.timestamp("us")),
        ([decimal.Decimal("1.25"), None], pa.decimal128(20, 2)),
        ([{"a": [1, None]}, None], pa.struct({"a": pa.list_(pa.int32())})),
        ([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
        ([True, None], pa.bool_()),
        ([b"\0\xff", None], pa.binary(2)),
        (["x", None], pa.dictionary(pa.int8(), pa.string())),
        ([datetime.time(1, 2), None], pa.time64("us")),
        ([1.5, None], pa.float16()),
        ([[[1]], None], pa.list_(pa.list_(pa.int8()))),
    ]
    files = {}
    for number in range(len(kinds)):
        columns = {name: pa.array(*kinds[(number + shift) % len(kinds)]) for shift, name in enumerate(("k", "f", "l"))}
        texts = pa.array(["text", "é"], (pa.string(), pa.large_string(), pa.binary())[number % 3])
        sink = io.BytesIO()
        pq.write_table(
            pa.table({"id": pa.array([number, None]), "text": texts, **columns}), sink,
            compression=("snappy", "zstd", "gzip", "brotli", "lz4", "none")[number % 6], data_page_version=("1.0", "2.0")[number % 2],
            use_deprecated_int96_timestamps=number % 2 == 0, write_page_index=number % 3 == 0, write_page_checksum=number % 4 == 0,
            row_group_size=1 + number % 2, store_schema=number % 5 != 0,
        )  # fmt: skip
        files[f"{number}.parquet"] = sink.getvalue()
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
