"""What is put before documents and queries: what sentence-transformers' encode_document and encode_query would, unless the configuration says otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.encoder import Encoder
from embermill.jobs.commands.answers import show_plan
from embermill.jobs.commands.answers_run import show_run
from embermill.jobs.config import ModelConfig
from embermill.jobs.engine.native import NativeEngine
from tests.encoder.tiny_bert import TinyBert, write_json, write_sentence_transformers
from tests.jobs.command_line import Answer

Embed = Callable[..., Answer]
BERT = TinyBert()
TEXTS = ["open a zip file", "read it", ""]
MODELS: list[tuple[dict[str, Any], str | None]] = [  # (prompts, default_prompt_name)
    ({}, None),
    ({"document": "the ", "query": "how "}, None),
    ({"document": "the ", "query": "how "}, "query"),
    ({"passage": "the ", "query": "how "}, None),
    ({"passage": "the ", "corpus": "a "}, "passage"),
    ({"query": "how "}, None),
    ({"document": None, "query": ""}, None),
    ({}, "query"),
    ({"passage": "the "}, "document"),
]


def write_model(folder: Path, prompts: dict[str, Any], default: str | None) -> Path:
    write_sentence_transformers(BERT.write(folder), BERT.hidden)
    write_json(folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": default})
    return folder


def corpus(folder: Path) -> None:
    (folder / "corpus").mkdir(exist_ok=True)
    pq.write_table(pa.table({"id": [str(row) for row in range(len(TEXTS))], "text": TEXTS}), folder / "corpus/a.parquet")


def vectors(output: Path) -> np.ndarray:
    (file,) = (output / "data").glob("*.parquet")
    return np.array(pq.read_table(file)["embedding"].to_pylist(), np.float32)


def encoded(model: Path, prompt: str) -> np.ndarray:
    with Encoder.from_pretrained(model, device="cpu", threads=1, prompt=prompt) as encoder:
        return np.asarray(encoder.encode(TEXTS))


def test_the_models_document_prompt_is_applied_and_both_are_shown(embed: Embed, command: Callable[..., Answer], tmp_path: Path) -> None:
    corpus(tmp_path)
    model = write_model(tmp_path / "model", {"document": "the ", "query": "how "}, None)
    native = {"engine": "native", "source": str(model)}
    plan, run = embed(engine=None, model=native, name="plan"), embed(engine=None, model=native)
    np.testing.assert_array_equal(vectors(run.output), encoded(model, "the "))
    assert plan["prompts"] == run["prompts"] == {"document": "the ", "query": "how ", "others": []}
    for words in (show_plan(json.loads(plan.stdout)), show_run(json.loads(run.stdout))):
        assert 'documents: "the ", queries: "how "' in words
    assert command("search", str(run.output), "a file", "--device", "cpu")["prompt"] == "how "


@pytest.mark.parametrize(
    ("keys", "prompt"),
    [({"prompt": ""}, ""), ({"prompt": "zip "}, "zip "), ({"prompt_name": "passage"}, "a "), ({}, "the ")],
    ids=["none", "text", "name", "unset"],
)
def test_the_configuration_has_the_last_word(embed: Embed, tmp_path: Path, keys: dict[str, str], prompt: str) -> None:
    corpus(tmp_path)
    model = write_model(tmp_path / "model", {"document": "the ", "passage": "a "}, None)
    answer = embed(engine=None, model={"engine": "native", "source": str(model)} | keys)
    np.testing.assert_array_equal(vectors(answer.output), encoded(model, prompt))
    assert answer["prompts"]["document"] == prompt and answer["prompts"]["others"] == (["passage"] if prompt == "the " else [*answer["prompts"]["others"]])


def test_a_model_with_a_prompt_of_another_name_says_so(embed: Embed, tmp_path: Path) -> None:
    corpus(tmp_path)
    model = write_model(tmp_path / "model", {"passage": "the "}, None)
    answer = embed(engine=None, model={"engine": "native", "source": str(model)}, name="plan")
    assert "documents: none, queries: none; the model also has passage (model.prompt_name)" in show_plan(json.loads(answer.stdout))
    assert embed(engine=None, model={"engine": "native", "source": str(model), "prompt_name": "passage"})["prompts"]["document"] == "the "


def test_a_dataset_begun_before_keeps_its_prompt(
    embed: Embed, command: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was begun without one: with the same configuration it is resumed, planned, searched and left alone without one."""
    corpus(tmp_path)
    model = write_model(tmp_path / "model", {"document": "the "}, None)
    native = {"engine": "native", "source": str(model)}
    with monkeypatch.context() as then:
        then.setattr("embermill.jobs.engine.native._document_prompt", lambda model: None)  # as it was: the model's default prompt, and it has none
        before = embed(engine=None, model=native)
    assert before.code == 0
    np.testing.assert_array_equal(vectors(before.output), encoded(model, ""))
    for name in ("commits", "manifests"):
        for file in (before.output / "_embermill" / name).iterdir():
            file.unlink()
    for file in (before.output / "data").iterdir():
        file.unlink()
    assert embed(engine=None, model=native, name="plan")["prompts"]["document"] == ""
    again = embed(engine=None, model=native)
    assert (again.code, again["rows_embedded"], again["prompts"]["document"]) == (0, len(TEXTS), "")
    np.testing.assert_array_equal(vectors(again.output), encoded(model, ""))
    assert command("search", str(again.output), "zip", "--device", "cpu").code == 0
    other = embed(engine=None, model=native | {"prompt": "the "})
    assert other.code == 2 and "model.prompt" in other.errors


@pytest.mark.parametrize("prompts", [{}, {"passage": "the "}], ids=str)
def test_encode_refuses_a_word_that_names_no_prompt_and_its_advice_works(command: Callable[..., Answer], tmp_path: Path, prompts: dict[str, str]) -> None:
    model = write_model(tmp_path / "model", prompts, None)
    call = ("encode", str(model), "--device", "cpu", "--text", "zip")
    refused = command(*call, "--prompt", "query")
    assert refused.code == 2 and f"this model has no prompt of that name (its prompts: {'passage' if prompts else 'none'})" in refused.errors
    assert "for a text, end it with a blank or a colon: --prompt 'query: '" in refused.errors
    assert command(*call, "--prompt", "query: ")["embeddings"] == command(*call[:-1], "query: zip")["embeddings"]
    assert command(*call, "--prompt-name", "query")["embeddings"] == command(*call)["embeddings"]
    other = command(*call, "--prompt-name", "title")
    assert other.code == 2 and "prompt_name='title': this model's prompts are" in other.errors
    assert command(*call, "--prompt-name", "query", "--prompt", "a ").code == 2
    if prompts:
        by_name = [command(*call, option, "passage")["embeddings"] for option in ("--prompt", "--prompt-name")]
        assert by_name == [command(*call, "--prompt", "the ")["embeddings"]] * 2


def test_a_job_whose_prompt_looks_like_a_name_is_warned_once(embed: Embed, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It goes on, since datasets that were made so are continued."""
    corpus(tmp_path)
    answer = embed(engine=None, model={"engine": "native", "source": str(write_model(tmp_path / "model", {"title": "a "}, None)), "prompt": "passage"})
    assert answer.code == 0 and answer["prompts"]["document"] == "passage"
    assert [record.getMessage()[:71] for record in caplog.records if record.name == "embermill.encoder.prompts"] == [
        "prompt 'passage': this model has no prompt of that name (its prompts: t"
    ]


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("prompts", "default"), MODELS)
def test_prompts_are_those_of_sentence_transformers(tmp_path: Path, prompts: dict[str, Any], default: str | None) -> None:
    from sentence_transformers import SentenceTransformer

    folder = write_model(tmp_path / "model", prompts, default)
    theirs = SentenceTransformer(str(folder), device="cpu")
    ours = NativeEngine.prompts(ModelConfig(source=str(folder)))
    np.testing.assert_allclose(encoded(folder, ours.document), theirs.encode_document(TEXTS), atol=1e-5)
    np.testing.assert_allclose(encoded(folder, ours.query), theirs.encode_query(TEXTS), atol=1e-5)
