"""Names that no file can have: for each command that takes one, an outcome in words, never a defect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.jobs.command_line import Answer, make_dataset

Embed = Callable[..., Answer]
Command = Callable[..., Answer]
NAMES = {
    "no such user": "~no-such-user/x", "a component too long": f"/tmp/{'x' * 300}", "a path too long": f"/tmp/{('d' * 200 + '/') * 30}",
    "a zero byte": "/tmp/a\0b", "a lone surrogate": "/tmp/\ud800x", "below a file": "/etc/passwd/x", "a device": "/dev/null", "blank": " ",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_command_refuses_it(command: Command, embed: Embed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    commands = (("status",), ("verify",), ("repair",), ("gc",), ("redrive",), ("search", "text"), ("encode", "--text", "x"), ("inspect",))
    for words in commands if name not in ("a zero byte", "a lone surrogate") else ():  # which no command line can hold, but a configuration
        answer = command(words[0], NAMES[name], *words[1:])
        assert answer.code in (2, 3) and "Traceback" not in answer.errors, (words, answer.errors)
    for sections in ({"corpus": {"files": [NAMES[name]]}}, {"output_section": {"uri": NAMES[name]}}):
        answer = embed(name="plan", **sections)
        assert answer.code in (2, 3) and "Traceback" not in answer.errors, (sections, answer.errors)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_dataset(tmp_path_factory.mktemp("names") / "made"))


@pytest.mark.parametrize("name", ["no such user", "a component too long", "a path too long", "below a file", "links in a circle"])
def test_nothing_is_loaded_or_exported_there(command: Command, dataset: str, tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    place = NAMES.get(name, str(tmp_path / "loop"))
    out = ("--out", place)
    writing = (("load", dataset, f"duckdb:{place}?table=docs"), ("export", dataset, "--format", "npy", *out), ("changes", dataset, "--since", "0", *out))
    for words in (*writing, ("erase", dataset, "--ids", place)):
        answer = command(*words)
        assert answer.code == 2 and "Traceback" not in answer.errors, (words, answer.errors)
    assert command("load", dataset, f"duckdb:{tmp_path}/another/place.db?table=docs").code == 0
    assert command("export", dataset, "--format", "npy", "--out", str(tmp_path / "another/folder")).code == 0


def test_links_in_a_circle(embed: Embed, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    answer = embed(name="plan", corpus={"files": [str(tmp_path / "loop")]})
    assert answer.code == 2 and "Traceback" not in answer.errors, answer.errors
