"""`embermill repair`: whatever `verify` finds damaged or missing is whole again, and the dataset is what it was."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embermill.jobs.dataset.metadata.card import CARD
from embermill.jobs.engine import Embedded
from tests.jobs.command_line import Answer, run
from tests.jobs.poison import dataset_rows
from tests.jobs.word_engines import WordEngine

Embed = Callable[..., Answer]
Command = Callable[..., Answer]
FLIPS = int(os.environ.get("EMBERMILL_TEST_FLIPS", "2"))  # of each file
WITHOUT_AUTHORITY = ("_embermill/heartbeat.json", "_embermill/lease/", "_embermill/runs/", "_embermill/tmp/", "_embermill/set_aside/")


class OtherEngine(WordEngine):
    """As WordEngine, on another kind of device: the same vectors up to the last bit."""

    shift = 0.0

    def fingerprint(self) -> dict[str, str]:
        return super().fingerprint() | {"model.engine": "WordEngine"}

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        for answer in super().embed(texts):
            columns = {name: np.nextafter(vectors, np.float32(2)) if self.shift else vectors for name, vectors in answer.columns.items()}
            yield Embedded(columns, answer.num_tokens, answer.num_tokens_dropped)


def files(output: Path) -> list[str]:
    """Those that have a say."""
    names = sorted(path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file())
    return [name for name in names if not name.startswith(WITHOUT_AUTHORITY)]


def contents(output: Path) -> dict[str, bytes]:
    return {name: (output / name).read_bytes() for name in files(output)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a corpus and a finished dataset, of several shards, refused rows and commits."""
    folder = tmp_path_factory.mktemp("repair")
    (folder / "corpus").mkdir()
    lines = [json.dumps({"id": str(row), "text": f"text {row}"}) for row in range(60)]
    (folder / "corpus/a.jsonl").write_text("\n".join([*lines[:20], "{", *lines[20:]]) + "\n")
    with pytest.MonkeyPatch.context() as patched:
        from tests.jobs.command_line import open_inline_pool

        patched.setattr("embermill.jobs.run.open_pool", open_inline_pool)
        answer = run(folder, engine=None, **settings(folder))
    assert answer.code == 0, answer.errors
    yield folder


def settings(folder: Path) -> dict[str, Any]:
    return {
        "model": {"engine": "python:tests.jobs.maintenance.test_repair:OtherEngine"},
        "corpus": {"files": [str(folder / "corpus/a.jsonl")], "partition_text_bytes": 600},
    }


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Path:
    """A copy of it, whose plan still points to the one corpus."""
    return Path(shutil.copytree(made / "out", tmp_path / "out"))


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.mark.long
def test_one_bit_anywhere_is_found_and_made_good(made: Path, tmp_path: Path, command: Command) -> None:
    """In every file, at random places (seeded): verify names it and exits with 3; repair makes it whole."""
    draw = random.Random(16)
    before = {name: data for name, data in contents(made / "out").items() if name != CARD}  # derived, and of no authority
    assert {"_embermill/format.json", "_embermill/plan/000001/root.json", "_embermill/manifests/000001.json"} <= set(before)
    for number, name in enumerate(name for name in before for _ in range(FLIPS)):
        dataset = Path(shutil.copytree(made / "out", tmp_path / str(number)))
        flip(dataset / name, draw.randrange(8 * len(before[name])))
        verified = command("verify", str(dataset))
        assert verified.code == 3 and name in verified.errors, (name, verified.errors)
        repaired = command("repair", str(dataset))
        assert repaired.code == 0 and name in repaired["repaired"], (name, repaired.errors)
        assert command("verify", str(dataset)).code == 0, name
        if name.startswith(("data/", "quarantine/", "_embermill/plan/")):
            assert (dataset / name).read_bytes() == before[name]
        assert dataset_rows(dataset) == dataset_rows(made / "out")
        shutil.rmtree(dataset)


@pytest.mark.parametrize("kind", ["data", "quarantine", "_embermill/plan", "_embermill/commits", "_embermill/manifests", "_embermill/format.json"])
def test_what_is_gone_comes_back(made: Path, dataset: Path, command: Command, kind: str) -> None:
    for name in [name for name in files(dataset) if name.startswith(kind)]:
        copy = dataset / name
        if kind == "_embermill/plan" and "/copies/" in name:
            continue
        kept = copy.read_bytes()
        copy.unlink()
        assert command("verify", str(dataset)).code in ((3,) if name != "_embermill/manifests/000001.json" else (3, 33)), name
        answer = command("repair", str(dataset))
        assert answer.code == 0, (name, answer.errors)
        assert command("verify", str(dataset)).code == 0, name
        if kind in ("data", "quarantine", "_embermill/plan"):
            assert copy.read_bytes() == kept
    assert command("status", str(dataset))["state"] == "finished"


def test_nothing_is_done_where_nothing_is_wrong(dataset: Path, command: Command) -> None:
    before = contents(dataset)
    answer = command("repair", str(dataset))
    assert (answer.code, answer["repaired"], answer["manifest"]) == (0, [], None)
    assert contents(dataset) == before


def test_an_unfinished_dataset_is_repaired_and_resumed(made: Path, dataset: Path, command: Command) -> None:
    shutil.rmtree(dataset / "_embermill/manifests")
    (shard, *_) = sorted((dataset / "data").iterdir())
    flip(shard, 1000)
    assert command("verify", str(dataset)).code == 3
    answer = command("repair", str(dataset))
    assert answer.code == 0 and answer["repaired"] == [f"data/{shard.name}"], answer.errors
    sound = command("verify", str(dataset))
    assert sound.code == 33 and sound["damaged"] == 0 and "What is committed so far is sound: 6 shards" in sound.errors


def test_where_the_bits_differ_there_is_a_new_receipt_and_a_new_manifest(
    dataset: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, second, *_) = sorted((dataset / "data").iterdir())
    flip(first, 1000)
    monkeypatch.setattr(OtherEngine, "shift", 1.0)
    answer = command("repair", str(dataset))
    assert answer.code == 0 and answer["repaired"] == answer["replaced"] == [f"data/{first.name}"], answer.errors
    assert answer["manifest"] == "_embermill/manifests/000002.json"
    assert command("verify", str(dataset)).code == 0
    flip(second, 1000)
    monkeypatch.setattr(OtherEngine, "shift", 0.0)
    answer = command("repair", str(dataset))
    assert (answer["replaced"], answer["manifest"]) == ([], None) and command("verify", str(dataset)).code == 0
    flip(first, 1000)
    answer = command("repair", str(dataset))
    assert answer["replaced"] == [f"data/{first.name}"] and answer["manifest"] == "_embermill/manifests/000003.json"
    assert command("verify", str(dataset)).code == 0


def test_killed_between_the_receipt_and_the_file_it_is_repaired_again(dataset: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    (first, *_) = sorted((dataset / "data").iterdir())
    flip(first, 1000)
    monkeypatch.setattr(OtherEngine, "shift", 1.0)
    with monkeypatch.context() as killed:
        killed.setattr("embermill.jobs.storage.local.LocalFolder.restore", _raise_keyboard_interrupt)
        assert command("repair", str(dataset)).code == 33
    assert command("verify", str(dataset)).code == 3
    answer = command("repair", str(dataset))
    assert answer.code == 0 and command("verify", str(dataset)).code == 0, answer.errors


def _raise_keyboard_interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_a_corpus_that_is_another_one_is_refused(made: Path, tmp_path: Path, command: Command, embed: Embed) -> None:
    (tmp_path / "corpus").mkdir()
    path = Path(shutil.copy(made / "corpus/a.jsonl", tmp_path / "corpus/a.jsonl"))
    answer = embed(engine=None, **settings(tmp_path))
    (first, *_) = sorted((answer.output / "data").iterdir())
    flip(first, 1000)
    path.write_text(path.read_text().replace("text 3", "text three"))
    answer = command("repair", str(answer.output))
    assert answer.code == 3 and "the corpus is not what it was" in answer.errors
    shutil.copy(made / "corpus/a.jsonl", path)  # put back as it was, with another time and inode
    answer = command("repair", str(tmp_path / "out"))
    assert answer.code == 0 and command("verify", str(tmp_path / "out")).code == 0, answer.errors


def test_no_dataset(tmp_path: Path, command: Command) -> None:
    answer = command("repair", str(tmp_path / "nothing"))
    assert answer.code == 2 and "there is no dataset here" in answer.errors and not (tmp_path / "nothing").exists()
