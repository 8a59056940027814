"""What is refused at the door: before Ray is started, with nothing left behind. `plan`, `run` and `sync` go through one door (embermill.jobs.prepare).

CASES is the whole list. A case is what is wrong (sections of the configuration, files beside it) and the beginning of what is said of it. What only a run
can find is one of SEEN_BY_RUN_ALONE and says why.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save

from embermill.encoder.description import ModelDescription
from embermill.jobs import cli
from embermill.jobs.errors import UsageError
from embermill.jobs.pool.opening import open_pool
from tests.encoder.tiny_bert import TinyBert, write_json
from tests.jobs.command_line import Answer

Embed = Callable[..., Answer]
MODEL = TinyBert()


@dataclass(frozen=True)
class Case:
    """words: in what is said. `{here}` in any text is the test's folder.

    model, corpus, output, workers, ray: keys of the configuration. files: path -> its content (bytes, text, JSON, a table), None for one that goes away;
    what ends in / is a folder. config: what config.json of the model says otherwise. gpus, cupy: of the machine.
    because: why run alone can see it.
    """

    words: str
    code: int = 2
    model: dict[str, Any] = field(default_factory=dict)
    corpus: dict[str, Any] = field(default_factory=dict)
    output: dict[str, Any] = field(default_factory=dict)
    workers: dict[str, Any] = field(default_factory=dict)
    ray: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    gpus: int = 0
    cupy: bool = False
    because: str = ""

    def sections(self, here: Path) -> dict[str, dict[str, Any]]:
        named = {"model": self.model, "corpus": self.corpus, "output_section": self.output, "workers": self.workers, "ray": self.ray}
        found: dict[str, dict[str, Any]] = _filled(named, here)
        return {name: keys for name, keys in found.items() if keys}


def native(words: str, **others: Any) -> Case:
    """A case about the model in {here}/model; keys of the model's section may be given beside those of a case."""
    known = Case.__dataclass_fields__
    model = {"engine": "native", "source": "{here}/model"} | {key: value for key, value in others.items() if key not in known}
    return Case(words, model=model, **{key: value for key, value in others.items() if key in known})


def python(engine: str, words: str, **others: Any) -> Case:
    return Case(words, model={"engine": f"python:{engine}"}, **others)


def column(words: str, **corpus: Any) -> Case:
    return Case(words, corpus=corpus)


def _filled(value: Any, here: Path) -> Any:
    if isinstance(value, str):
        return value.replace("{here}", str(here))
    if isinstance(value, dict):
        return {key: _filled(each, here) for key, each in value.items()}
    return [_filled(each, here) for each in value] if isinstance(value, list) else value


ENGINE = """class Engine:
    def __init__(self, model, *, device, threads): ...
    def fingerprint(self): ...
    def outputs(self): ...
    def embed(self, texts): ...
"""
EXPECTED_CLASS = "expected a class with the methods fingerprint, outputs, embed (the protocol: embermill.jobs.engine.Engine), got"

DENSE = {
    "model/modules.json": [
        {"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.models.Pooling", "path": "1"},
        {"type": "sentence_transformers.models.Dense", "path": "2"},
    ],
    "model/1/config.json": {"word_embedding_dimension": MODEL.hidden},
    "model/2/config.json": {"in_features": MODEL.hidden, "out_features": 8, "bias": False},
}
OF_ANOTHER_DENSE = save({"linear.weight": np.ones((2, 2), np.float32)})

CONFIGURATION = [
    Case("unknown key `model.dimension`: did you mean `model.dimensions`?", model={"dimension": 8}),
    Case("model.precision: expected 'auto', 'float32', 'float16', 'bfloat16', 'int8' or 'fp8', got 'float8'", model={"precision": "float8"}),
    Case("model.prompt: excludes model.prompt_name", model={"prompt": "a", "prompt_name": "b"}),
    Case("engine: expected `native` or python:module:Class, got 'python:mine'", model={"engine": "python:mine"}),
    Case("source: expected a folder, a hub id, an object-store URL", model={"engine": "native"}),
    Case("workers.device: expected 'auto', 'cpu' or 'gpu', got 'tpu'", workers={"device": "tpu"}),
    Case("workers.count: expected 'auto' or a number > 0, got 0", workers={"count": 0}),
    Case("ray.address: 'foo': expected auto (the cluster that this machine is in) or HOST:PORT", ray={"address": "foo"}),
    Case("ray:// (Ray Client) is refused", ray={"address": "ray://head:10001"}),
    Case("output.shard_bytes: expected a number <= 256000000", output={"shard_bytes": 1 << 30}),
    Case("credentials do not belong in a URL", output={"uri": "s3://key:secret@bucket/out"}),
    Case("max_quarantined: expected a share below 1 or a whole number", corpus={"max_quarantined": 2.5}),
    Case("text_columns: named twice: text", corpus={"text_columns": ["text", "text"]}),
]

ENGINES = [
    python("no_such_module:Engine", "model.engine: no module no_such_module: it is neither installed nor in"),
    python("tests.jobs.word_engines:Nothing", "has no Nothing"),
    python("sys:Nothing", "model.engine: python:sys:Nothing: the module sys (part of Python) has no Nothing"),
    python("os:path", f"model.engine: python:os:path: {EXPECTED_CLASS} a module"),
    python("pathlib:Path", f"model.engine: python:pathlib:Path: {EXPECTED_CLASS} one without fingerprint, outputs, embed"),
    python("embermill.jobs.engine:Engine", f"{EXPECTED_CLASS} one without fingerprint, outputs, embed"),
    python("..:Engine", "model.engine: the module .. cannot be imported: TypeError"),
    python("broken:Engine", "model.engine: the module broken cannot be imported: SyntaxError", files={"broken.py": "1 +"}),
    python("leaving:Engine", "model.engine: the module leaving cannot be imported: SystemExit: 0", files={"leaving.py": "raise SystemExit(0)"}),
    python("needing:Engine", "model.engine: the module needing needs no_such_thing, which is not", files={"needing.py": "import no_such_thing"}),
    python("deaf:Engine", "called with (model, device=…, threads=…)", files={"deaf.py": ENGINE + "    def __init__(self, model): ..."}),
    python(
        "refusing:Engine",
        "model.engine: python:refusing:Engine: preview failed: KeyError: 'weights'",
        files={"refusing.py": ENGINE + "    @classmethod\n    def preview(cls, model, device): raise KeyError('weights')"},
    ),
    python(
        "answering:Engine",
        "model.engine: python:answering:Engine: preview: expected an embermill.jobs.engine.Preview of embermill.jobs.engine.Output, got 8",
        files={"answering.py": ENGINE + "    @classmethod\n    def preview(cls, model, device): return 8"},
    ),
]

SOURCES = [
    native("model source {here}/nothing: no such folder", source="{here}/nothing"),
    native("model source {here}/nothing: no such folder", source="./nothing"),
    native("this is a file; expected the model's folder", source="{here}/model/config.json"),
    native("no package no_such_package is installed here", source="package:no_such_package/model"),
    native("package jobs has no folder 'no/model'", source="package:jobs/no/model"),
    native("expected package:NAME/SUBDIR", source="package:/model"),
    native("revision='main' has no meaning for a folder", revision="main"),
    native("config.json: not there; a model folder holds config.json", files={"model/config.json": None}),
    native("config.json: not valid JSON", files={"model/config.json": "{"}),
    native("config.json: expected a JSON object, got list", files={"model/config.json": "[]"}),
]

ARCHITECTURES = [
    native("config.json: model_type 't5' is not supported: its attention", config={"model_type": "t5", "hidden_size": None, "d_model": 30}),
    native("config.json: model_type 'layoutlm' is not supported; supported are bert", config={"model_type": "layoutlm"}),
    native("config.json: model_type 'llama' is not supported: it is a decoder", config={"model_type": "llama", "hidden_act": "silu"}),
    native("config.json: expected a model_type, got None with architectures ['GPT2Model']", config={"model_type": None, "architectures": ["GPT2Model"]}),
    native("config.json: is_decoder True is not supported", config={"is_decoder": True}),
    native("config.json: position_embedding_type 'relative_key' is not supported", config={"position_embedding_type": "relative_key"}),
    native("config.json: quantization_config {'bits': 4} is not supported", config={"quantization_config": {"bits": 4}}),
    native("auto_map asks for Python code of the model's own", config={"auto_map": {"AutoModel": "mine.Model"}}),
    native("hidden_act 'silu' is not supported", config={"hidden_act": "silu"}),
    native("hidden_size 30 is not a multiple of num_attention_heads 7", config={"num_attention_heads": 7}),
    native("vocab_size: expected a positive whole number, got 'many'", config={"vocab_size": "many"}),
    native("expected a JSON list of modules, got dict", files={"model/modules.json": {}}),
    native("is code of the model's own, which is never run", files={"model/modules.json": [{"type": "mine.Module", "path": ""}]}),
    native("a CrossEncoder does not make one dense vector", files={"model/config_sentence_transformers.json": {"model_type": "CrossEncoder"}}),
]

OPTIONS = [
    native("model.prompt_name: query: the prompts of this model are: none", prompt_name="query"),
    native("max_tokens=9999: this model has positions for 40 tokens", max_tokens=9999),
    native("special tokens take 2, but max_tokens is 2: nothing of a text would be left", max_tokens=2),
    native("the prompt takes 90 tokens and special tokens take 2, but max_tokens is 40", prompt="zip " * 90),
    native("dimensions=31: this model makes 30", dimensions=31),
    native("model.dimensions: 8: this model makes 30, and its files do not say that it was trained for fewer", dimensions=8),
    native("model.dimensions: 8: this model's config.json lists matryoshka_dimensions 16: ", dimensions=8, config={"matryoshka_dimensions": [16]}),
    native("other.mpk: no such file; the folder holds model.safetensors", weights="other.mpk"),
    native("several weight files: model.safetensors, other.safetensors", files={"model/other.safetensors": b""}),
    native("no weight file; expected one ending in .safetensors", files={"model/model.safetensors": None}),
    native("pytorch_model.bin cannot be used", files={"model/model.safetensors": None, "model/pytorch_model.bin": b""}),
    native("no tokenizer.json and no vocab.txt", files={"model/tokenizer.json": None, "model/vocab.txt": None}),
    native("tokenizer.json: not a tokenizer that this version", files={"model/tokenizer.json": "{}"}),
    native("truncation_side: expected left or right, got 'top'", files={"model/tokenizer_config.json": {"truncation_side": "top"}}),
    native("the tokenizer makes ids up to 47", files={"model/tokenizer.json": None, "model/vocab.txt": "\n".join([*MODEL.vocab, "more"])}),
]

WEIGHTS = [
    native("model.safetensors: does not hold this model's parameters: missing (16): encoder.layer.2.", config={"num_hidden_layers": 3}),
    native("of another shape (1): embeddings.position_embeddings.weight [40, 30] instead of [41, 30]", config={"max_position_embeddings": 41}),
    native("model.safetensors, byte 8: not a valid safetensors file", files={"model/model.safetensors": b"\0" * 16}),
    native("this is a pickle", files={"model/model.safetensors": b"PK\3\4" + bytes(60)}),
    native("model.mpk: expected a BERT as bert-burn", files={"model/model.safetensors": None, "model/model.mpk": b"\x82\xa4item\xc0\xa4more\xc0" + bytes(60)}),
    native("expected a weight_map of tensors", files={"model/model.safetensors": None, "model/model.safetensors.index.json": {"weight_map": {}}}),
    native("model/2: no weight file", files=DENSE),
    native("linear.weight [2, 2] instead of [8, 30]", files=DENSE | {"model/2/model.safetensors": OF_ANOTHER_DENSE}),
]

DEVICES = [
    Case("workers.device: gpu: Ray finds no GPU here", workers={"device": "gpu"}),
    Case("workers.count: 3 asked for, each on a GPU of its own; there is room for 2", workers={"device": "gpu", "count": 3}, gpus=2),
    native("workers.device: gpu: CuPy is not installed here: install the extra for your GPU", workers={"device": "gpu", "count": 1}, gpus=1),
    native("precision='float16' does not exist on a CPU", precision="float16", gpus=1),
    native("precision='int8' does not exist on a GPU", precision="int8", gpus=1, cupy=True),
    native("does not exist on a CPU in this version; available are auto, float32, bfloat16, int8", precision="float16", workers={"device": "cpu"}),
    native("precision='float16' does not exist on a CPU", precision="float16", workers={"device": "cpu"}, gpus=1),
    native("precision='fp8' does not exist on a CPU", precision="fp8"),
    native("on 1 text of this corpus; model.min_cosine asks for 1: choose another precision", precision="int8", min_cosine=1.0),
    native("precision='int8' does not exist on a GPU in this version; available are", precision="int8", workers={"device": "gpu"}, gpus=1),
    native("precision='float16' does not exist on a CPU", precision="float16", workers={"device": "cpu"}, ray={"address": "127.0.0.1:1"}),
    native("precision='fp8' does not exist on a GPU", precision="fp8", ray={"address": "127.0.0.1:1"}),
]

CORPUS = [
    Case("corpus.files: {here}/nothing matches no file", corpus={"files": ["{here}/nothing"]}),
    Case("corpus.files: {here}/corpus/*.csv matches no file", corpus={"files": ["{here}/corpus/*.csv"]}),
    Case("ftp://host/a.parquet: expected a local path, or s3://bucket/path", corpus={"files": ["ftp://host/a.parquet"]}),
    Case("is a Delta table (it holds _delta_log)", corpus={"files": ["{here}/corpus"]}, files={"corpus/_delta_log/": None}),
    Case("is a Hudi table (it holds .hoodie)", corpus={"files": ["{here}/corpus"]}, files={"corpus/.hoodie/": None}),
    Case("is an Iceberg table", corpus={"files": ["{here}/corpus"]}, files={"corpus/metadata/v1.metadata.json": "{}"}),
    Case(
        "corpus/old is a dataset that this program made",
        corpus={"files": ["{here}/corpus"]},
        files={"corpus/old/_embermill/format.json": "{}", "corpus/old/data/a.parquet": b""},
    ),
    Case("its name does not tell its format: expected", corpus={"files": ["{here}/corpus"]}, files={"corpus/b.doc": "x"}),
    Case("a compressed Parquet file cannot be read by ranges", corpus={"files": ["{here}/corpus"]}, files={"corpus/b.parquet.gz": b""}),
    Case("1 of 2 corpus files cannot be read: {here}/corpus/b.parquet: not a readable Parquet file", 3, files={"corpus/b.parquet": b"PAR1"}),
    Case("two columns of one name: id", 3, corpus={"files": ["{here}/a.csv"]}, files={"a.csv": "id,text,id\n1,x,2\n"}),
    Case("a.parquet: column 'score' has type double; this job reads it as string", 3, corpus={"text_columns": ["score"]}),
    Case("b.parquet: column 'id' has type", 3, files={"corpus/b.parquet": pa.table({"id": [1], "text": ["x"]})}),
    Case("would give rows the same ids (a.txt:POSITION)", corpus={"files": ["{here}/1/a.txt", "{here}/2/a.txt"]}, files={"1/a.txt": "x\n", "2/a.txt": "y\n"}),
    column("corpus.text_columns: no file has a column 'body'; the columns there are: id, text, num_tokens, score, tags", text_columns=["body"]),
    column("corpus.id_column: no file has a column 'key'", id_column="key"),
    column("corpus.id_column: 'tags' has type list<", id_column="tags"),
    column("corpus.id_column: 'num_tokens' is the name of a column that the dataset makes itself", id_column="num_tokens"),
    column("corpus.keep_columns: no file has a column 'lang'", keep_columns=["lang"]),
    column("corpus.keep_columns: 'id' is taken in the dataset", keep_columns=["id"]),
    column("corpus.keep_columns: 'score' is taken", keep_columns=["score", {"text": "score"}]),
    native("corpus.keep_columns: 'embedding' is taken", corpus={"keep_columns": [{"text": "embedding"}]}),
]

PLACES = [
    Case("{here}/file: cannot be read: Not a directory", output={"uri": "{here}/file"}, files={"file": "mine"}),
    Case("{here}/file/below: cannot be read: Not a directory", output={"uri": "{here}/file/below"}, files={"file": "mine"}),
    Case("/proc/embermill: cannot hold a dataset", output={"uri": "/proc/embermill"}),
    Case("holds a folder data/ that no dataset of ours made", files={"out/data/theirs.parquet": "theirs"}),
    Case("out lies where corpus.files: {here} looks", corpus={"files": ["{here}"]}),
    Case("ftp://host/out: expected a local path, or s3://bucket/path", output={"uri": "ftp://host/out"}),
    Case("expected format_version 1 or 2, got 99: use the version of embermill that made it", files={"out/_embermill/format.json": {"format_version": 99}}),
    Case("out/_embermill/format.json: is damaged", 3, files={"out/_embermill/format.json": "{"}),
    Case("out/_embermill/plan/000001/root.json: is damaged", 3, files={"out/_embermill/plan/000001/root.json": "{"}),
    Case("made by another version: expected plan_format", files={"out/_embermill/plan/000001/root.json": {"plan_format": 99}}),
]

CASES = [*CONFIGURATION, *ENGINES, *SOURCES, *ARCHITECTURES, *OPTIONS, *WEIGHTS, *DEVICES, *CORPUS, *PLACES]


SEEN_BY_RUN_ALONE = [
    python("tests.jobs.engines:BrokenEngine", "could not be made: ValueError: broken", because="an engine is made, weights and all, by a worker"),
    native(
        "model.mpk.gz, byte 0: not a Burn record",
        files={"model/model.safetensors": None, "model/model.mpk.gz": gzip.compress(b"no record")},
        because="unpacking a gzipped record is most of the work of loading it",
    ),
    Case("ray.address: 127.0.0.1:1: nothing is listening there", ray={"address": "127.0.0.1:1"}, because="a plan joins no cluster, and says so"),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus and a model, with nothing wrong about them, in the working directory; Ray is never started."""
    (tmp_path / "corpus").mkdir()
    columns = {"id": ["a"], "text": ["x"], "num_tokens": ["n"], "score": [1.5], "tags": [["t"]]}
    pq.write_table(pa.table(columns), tmp_path / "corpus/a.parquet")
    MODEL.write(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("no Ray is needed to see that"))
    return tmp_path


def prepare(case: Case, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine, the model and the files of a case."""
    monkeypatch.setattr("embermill.jobs.pool.ray_session.count_gpus", lambda: case.gpus)
    monkeypatch.setattr("embermill.jobs.pool.ray_session.gpu_library_here", lambda: case.cupy)
    if case.config:
        write_json(here / "model/config.json", MODEL.config() | case.config)
    for name, content in case.files.items():
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        elif content is None:
            path.unlink()
        elif isinstance(content, pa.Table):
            pq.write_table(content, path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else (content if isinstance(content, str) else json.dumps(content)).encode())


def error_of(answer: Answer) -> str:
    return str(json.loads(answer.stdout)["error"]["message"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.words[:60])
def test_refused_at_the_door(case: Case, here: Path, embed: Embed, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(case, here, monkeypatch)
    before = sorted(here.rglob("*"))
    planned = embed(name="plan", **case.sections(here))
    assert planned.code == case.code, planned.errors
    assert case.words.replace("{here}", str(here)) in error_of(planned)
    left = [path for path in sorted(here.rglob("*")) if path not in before and "__pycache__" not in path.parts]
    assert left == [here / "out.yaml"]


@pytest.mark.parametrize("name", ["plan", "run", "sync"])
def test_there_is_one_door(name: str, here: Path, embed: Embed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command goes through `prepare` before it looks at anything itself: whatever is refused there is refused by all, in the same words."""

    def closed(*_: object, **__: object) -> NoReturn:
        raise UsageError("the door is closed")

    monkeypatch.setattr("embermill.jobs.prepare.open_folder", closed)
    monkeypatch.setattr("embermill.jobs.plan.listing.list_inputs", lambda *_: pytest.fail("nothing is looked at but by prepare"))
    answer = embed(name=name)
    assert (answer.code, error_of(answer)) == (2, "the door is closed")


@pytest.mark.parametrize("case", SEEN_BY_RUN_ALONE, ids=lambda case: case.because)
def test_what_only_a_run_can_see(case: Case, here: Path, embed: Embed, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(case, here, monkeypatch)
    planned = embed(name="plan", **case.sections(here))
    assert planned.code == 0, planned.errors
    if case.ray:
        monkeypatch.setattr("embermill.jobs.run.open_pool", open_pool)  # no pool of this process stands for a cluster
    ran = embed(**case.sections(here))
    assert ran.code == case.code and case.words in error_of(ran)


def test_a_plan_takes_a_cluster_for_one_with_gpus_and_says_that_it_has_not_looked(here: Path, embed: Embed, capsys: pytest.CaptureFixture[str]) -> None:
    planned = embed(name="plan", ray={"address": "auto"}, model={"engine": "native", "source": str(here / "model"), "precision": "float16"})
    assert (planned.code, planned["device"], planned["ray_address"]) == (0, "gpu", "auto"), planned.errors
    assert cli.main(["plan", str(here / "out.yaml")]) == 0
    assert "cluster     ray.address: auto is joined by a run alone: whether it is there, with which GPUs and CPUs, is seen then" in capsys.readouterr().out


def test_a_link_to_nothing_is_no_place(here: Path, embed: Embed) -> None:
    (here / "to-nothing").symlink_to(here / "no/where")
    planned = embed(name="plan", output_section={"uri": str(here / "to-nothing")})
    assert planned.code == 2 and "another place" in error_of(planned)


def test_events_that_cannot_be_written(here: Path, embed: Embed, command: Callable[..., Answer]) -> None:
    assert embed(name="plan").code == 0
    answer = command("run", str(here / "out.yaml"), "--events", str(here / "nowhere/events.jsonl"))
    assert answer.code == 2 and "nowhere/events.jsonl: cannot be written" in answer.errors and not (here / "out").exists()


def test_plan_opens_the_tokenizer_once(here: Path, embed: Embed, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[ModelDescription] = []
    open_tokenizer = ModelDescription.open_tokenizer
    monkeypatch.setattr(ModelDescription, "open_tokenizer", lambda described: opened.append(described) or open_tokenizer(described))
    answer = embed(name="plan", model={"engine": "native", "source": str(here / "model")})
    assert answer.code == 0 and answer["lengths"] and answer["dimensions"] == MODEL.hidden and len(opened) == 1
