"""What cannot become a version of the same dataset (another model, other kept columns, another id) becomes a dataset beside it, by the advice that is given."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml

from embermill import open_dataset
from embermill.encoder import Encoder
from embermill.jobs.commands.answers import show_status
from embermill.jobs.commands.export import show_export
from embermill.jobs.commands.index import show_load
from embermill.jobs.config import ModelConfig
from tests.encoder.tiny_bert import TinyBert, write_sentence_transformers
from tests.jobs.command_line import Answer, command
from tests.jobs.sync.corpus import Corpus, TellingEngine, live_rows, row, settings_of

GUIDE = Path(__file__).parents[3] / "infra/guides/living-corpus.md"


def write_job(root: Path, output: str = "out", **sections: dict[str, object]) -> Path:
    path = root / "job.yaml"
    path.write_text(yaml.safe_dump(settings_of(root, output, **sections)))
    return path


class TestOtherColumns:
    @pytest.mark.parametrize("changed", [["keep_columns=[lang, {id: source_id}]"], ["id_column=lang", "keep_columns=[]"]], ids=["kept", "id"])
    def test_are_refused_with_what_it_would_cost_and_the_advice_helps(self, tmp_path: Path, embedded: Corpus, changed: list[str]) -> None:
        for name in embedded.files:
            embedded.write(name, [each | {"lang": f"{each['id']}-{each['lang']}"} for each in embedded.files[name]])
        job, keys = write_job(tmp_path), [word for each in changed for word in ("--set", f"corpus.{each}")]
        assert command("sync", str(job)).code == 0
        size = sum(path.stat().st_size for top in ("data", "changes") for path in (tmp_path / "out" / top).rglob("*.parquet"))
        for name in ("run", "plan", "sync"):
            refused = command(name, str(job), *keys)
            assert refused.code == 2 and all(f"corpus.{each.partition('=')[0]}: " in refused.errors for each in changed)
            assert f"makes another dataset: all 40 rows would be written anew ({size:,} bytes), and no text embedded again" in refused.errors
        reused = re.search(r"`embermill sync` with another output\.uri and --reuse (\S+),", refused.errors)
        assert reused is not None
        TellingEngine.taken()
        other = str(tmp_path / "other")
        answer = command("sync", str(job), *keys, "--set", f"output.uri={other}", "--reuse", reused[1])
        assert (answer.code, answer["version"], answer["vectors_copied"], answer["texts_embedded"]) == (0, 2, 40, 0), answer.errors
        assert TellingEngine.taken() == []
        before, after = (live_rows(uri) for uri in (str(tmp_path / "out"), other))
        assert {each["text_hash"]: each["embedding"] for each in after.values()} == {each["text_hash"]: each["embedding"] for each in before.values()}
        assert command("verify", other).code == 0 and command("sync", str(job), *keys, "--set", f"output.uri={other}")["action"] == "nothing"

    def test_together_with_another_model_they_are_a_change_of_the_model(self, tmp_path: Path, embedded: Corpus) -> None:
        job = write_job(tmp_path)
        refused = command("sync", str(job), "--set", "corpus.keep_columns=[]", "--set", "model.max_tokens=3")
        assert refused.code == 2 and "--reuse" not in refused.errors and "model.max_tokens" in refused.errors


class TestBegunWithReuse:
    def test_only_what_the_other_lacks_is_embedded(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.write("c.jsonl", [row("c0", "known nowhere")])
        job = write_job(tmp_path, "other")
        answer = command("sync", str(job), "--reuse", str(tmp_path / "out"))
        assert (answer["rows"], answer["vectors_copied"], answer["texts_embedded"]) == (41, 40, 1) and TellingEngine.taken() == ["known nowhere"]

    def test_a_corpus_without_a_good_row(self, tmp_path: Path, embedded: Corpus) -> None:
        for name in [*embedded.files]:
            embedded.write(name, [], raw=json.dumps({"id": None, "text": "of nobody", "lang": "en"}) + "\n")
        job = write_job(tmp_path, "other", corpus={"max_quarantined": 5})
        for _ in range(2):
            refused = command("sync", str(job), "--reuse", str(tmp_path / "out"))
            assert refused.code == 3 and "no row of the corpus can be embedded: all 2 rows were quarantined, see quarantine/" in refused.errors, refused.errors
        other = str(tmp_path / "other")
        assert command("status", other)["versions"] == 1
        said = "no row of the corpus was embedded: all 2 rows were quarantined, see quarantine/000002/ for the reasons (the first: "
        for looked in (["verify", other], ["search", other, "x"]):
            found = command(*looked)
            assert found.code == found["error"]["exit_code"] == 3 and said in found.errors and "run `embermill sync` again" in found.errors, found.errors
            assert found["finished"] and said in found["empty"]
        for show, told in (
            (show_status, command("status", other)),
            (show_load, command("load", other, f"duckdb:{tmp_path}/x.db")), (show_export, command("export", other, "--format", "npy", "--out", f"{other}-npy")),
        ):  # fmt: skip
            assert told.code == 0 and said in show(json.loads(told.stdout)) and "run `embermill sync` again" in told.stdout, told.errors
        embedded.write("a.jsonl", [row("a0", "text a 0")])
        helped = command("sync", str(job), "--reuse", str(tmp_path / "out"))
        assert (helped.code, helped["rows"], helped["rows_quarantined"]) == (0, 1, 1), helped.errors
        assert command("status", other)["empty"] is None

    def test_an_engine_that_refuses_every_row(self, tmp_path: Path, corpus: Corpus) -> None:
        """None by the corpus: nothing is published, and the same sync asks the engine again, of the same corpus and of one that was fixed."""
        corpus.write("a.jsonl", [row("a0", "good")])
        engine: dict[str, object] = {"engine": "python:tests.jobs.sync.corpus:PoisonedEngine"}
        assert command("run", str(write_job(tmp_path, model=engine))).code == 0
        corpus.write("a.jsonl", [row("a0", "poison a"), row("a1", "poison b")], raw='{"id": null, "text": "of nobody"}\n')
        job, other = write_job(tmp_path, "other", model=engine, corpus={"max_quarantined": 5}), str(tmp_path / "other")
        for number in (2, 3):
            TellingEngine.taken()
            refused = command("sync", str(job), "--reuse", str(tmp_path / "out"))
            assert refused.code == 3 and "no row of the corpus was embedded: all 3 rows were quarantined" in refused.errors, refused.errors
            example = rf"see quarantine/{number:06d}/ for the reasons \(the first: {corpus.root}/a\.jsonl, .*RuntimeError: poison\)\. No version was made"
            assert re.search(example, refused.errors), refused.errors
            assert [*(tmp_path / f"other/quarantine/{number:06d}").iterdir()]
        assert (command("status", other)["version"], command("status", other)["rows"]) == (1, 0)
        assert [entry["state"] for entry in command("history", other)["versions"]] == ["readable", "abandoned", "abandoned"]
        corpus.write("a.jsonl", [row("a0", "poison a"), row("a1", "cured")])
        helped = command("sync", str(job), "--reuse", str(tmp_path / "out"))
        assert (helped.code, helped["version"], helped["rows"], helped["rows_quarantined"]) == (0, 4, 1, 1), helped.errors
        assert command("verify", other).code == 0

    def test_what_is_no_dataset_or_another_model_begins_nothing(self, tmp_path: Path, embedded: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
        def describe(model: ModelConfig) -> dict[str, str]:
            return {"model.engine": "TellingEngine", "model.max_tokens": str(model.max_tokens)}

        monkeypatch.setattr(TellingEngine, "describe", describe, raising=False)
        job = write_job(tmp_path, "other", model={"max_tokens": 2})
        for uri, words in ((tmp_path / "corpus", "there is no dataset here"), (tmp_path / "out", "name one made with the same settings")):
            refused = command("sync", str(job), "--reuse", str(uri))
            assert refused.code == 2 and words in refused.errors and not (tmp_path / "other").exists()


def recipe() -> list[list[str]]:
    """The commands of the guide's first block, each as words."""
    block = re.search(r"## Another model\n.*?```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert block is not None
    return [shlex.split(line, comments=True) for line in block[1].splitlines()]


def test_the_recipe_for_another_model_with_two_models(tmp_path: Path, corpus: Corpus) -> None:
    texts = ["open a zip file", "read it", "of the file", "how it is", "a zip"]
    corpus.write("a.jsonl", [row(f"a{n}", text) for n, text in enumerate(texts)])
    old, new = (TinyBert(heads=heads, seed=heads) for heads in (3, 4))
    for model, name in ((old, "old"), (new, "new")):
        write_sentence_transformers(model.write(tmp_path / name), model.hidden)
    job = write_job(tmp_path, model={"source": str(tmp_path / "old")}, workers={"device": "cpu"})
    settings = yaml.safe_load(job.read_text())
    del settings["model"]["engine"]
    job.write_text(yaml.safe_dump(settings))
    assert command("run", str(job)).code == 0
    refused = command("sync", str(job), "--set", f"model.source={tmp_path / 'new'}")
    assert refused.code == 2 and "choose another output.uri" in refused.errors

    second = tmp_path / "out-2"
    placed = {"job.yaml": str(job), "model.source=NEW": f"model.source={tmp_path / 'new'}", "output.uri=s3://datasets/articles-2": f"output.uri={second}"}
    placed |= {"s3://datasets/articles-2-first-10000": f"{second}-first-10000"}
    answers = list[Answer]()
    for name, *words in (line[1:] for line in recipe()):
        answers.append(command(name, *(placed.get(word, word) for word in words)))
        assert answers[-1].code == 0, answers[-1].errors
    assert [line[1] for line in recipe()] == ["plan", "run", "search", "run"] and answers[0]["rows"] == 5 and answers[2].stdout
    assert command("verify", str(second)).code == 0

    corpus.write("a.jsonl", [*corpus.files["a.jsonl"][1:], row("a5", "how to open it")])
    keys = ["--set", f"model.source={tmp_path / 'new'}", "--set", f"output.uri={second}"]
    first, other = command("sync", str(job)), command("sync", str(job), *keys)
    assert (first.code, first["texts_embedded"], other.code, other["texts_embedded"]) == (0, 1, 0, 1), first.errors + other.errors
    for uri, name in ((tmp_path / "out", "old"), (second, "new")):
        rows = {each["id"]: each for each in open_dataset(str(uri)).read_all().to_pylist()}
        with Encoder.from_pretrained(tmp_path / name, device="cpu", threads=1) as encoder:
            expected = np.asarray(encoder.encode(["open a zip file", "how to open it"]))
        np.testing.assert_array_equal(np.array([rows["a0"]["embedding"], rows["a5"]["embedding"]], np.float32), expected)
    assert command("status", str(second))["version"] == 2
