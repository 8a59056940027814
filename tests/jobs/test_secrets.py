"""Secrets stand in no file of a dataset, in no output of a command and in no error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from embermill.jobs.storage import open_folder
from tests.jobs import command_line
from tests.jobs.command_line import Answer

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
