"""Habits of object stores and of the programs that fill them: folder markers, keys with dots, stores that ignore conditions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from embermill.jobs.errors import UsageError
from embermill.jobs.preflight import require_exclusive
from embermill.jobs.storage import AlreadyExists, list_inputs, open_folder
from tests.jobs.command_line import Answer
from tests.jobs.stores.proxy import Faults, run_proxy

Put = Callable[[str, bytes], None]
SPARK = ("out/_SUCCESS", "out/.part-0.crc", "out/year=2025/part-0.jsonl", "out/year=2026/part-1.jsonl", "out/_temporary/0/part-2.jsonl")
MARKERS = ("out/", "out/year=2025/", "out/empty/", "out_$folder$", "out/year=2025_$folder$", "out/year=2026/_$folder$", "out/x_$folder$")
FILES = {"out/year=2025/part-0.jsonl", "out/year=2026/part-1.jsonl"}


@pytest.fixture(params=["s3", "az", "gs"])
def prefix(request: pytest.FixtureRequest, store_url: Callable[[str], str]) -> str:
    return store_url(request.param)


class TestFolderMarkers:
    @pytest.mark.parametrize("entry", ["", "/", "/out", "/out/", "/out/*/*", "/out/**", "/**/*.jsonl", "/*/*/*", "/out/year=2025"])
    def test_a_whole_output_of_spark(self, prefix: str, put_object: Put, entry: str) -> None:
        for name in (*SPARK, *MARKERS):
            if not (prefix.startswith("az") and name.endswith("/")):  # no client of Azure's puts those: its folders are marked by metadata
                put_object(f"{prefix}/{name}", b"" if name in MARKERS else b'{"id": 1}\n')
        found = {info.path.removeprefix(f"{prefix}/") for _, info in list_inputs(prefix + entry)}
        assert found == {name for name in FILES if not entry.endswith("2025") or "2025" in name}

    def test_an_empty_file_is_one(self, prefix: str, put_object: Put) -> None:
        for name in ("a/b.txt", "a/c/", "a/c/d.txt"):
            put_object(f"{prefix}/{name}", b"")
        assert [name for name, _ in list_inputs(prefix)] == ["a/b.txt", "a/c/d.txt"]
        assert [name for name, _ in list_inputs(f"{prefix}/a/b.txt")] == ["b.txt"]

    def test_a_marker_alone_is_no_corpus(self, prefix: str, put_object: Put) -> None:
        put_object(f"{prefix}/a_$folder$", b"")
        put_object(f"{prefix}/a/", b"")
        for entry in ("", "/a", "/a/*", "/a_$folder$"):
            with pytest.raises(UsageError, match="matches no file"):
                list_inputs(prefix + entry)

    def test_a_marker_in_a_dataset_is_no_file_of_it(self, prefix: str, put_object: Put) -> None:
        folder = open_folder(prefix)
        folder.create("data/a", b"1")
        for marker in ("data/", "data_$folder$"):
            put_object(f"{prefix}/{marker}", b"")
        assert [name for name, _ in folder.list()] == ["data/a"]


@pytest.mark.parametrize("key", ["a/../b", "../b", "a/./b", ".", "a//b", "/b", "b//"])
@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_keys_that_no_client_can_address_are_refused(scheme: str, key: str) -> None:
    for use in (open_folder, list_inputs):
        with pytest.raises(UsageError, match=r"its key has .* write the path that is meant"):
            use(f"{scheme}://bucket/{key}")


def test_a_key_with_dots_is_refused_by_every_command(embed: Callable[..., Answer], command: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.txt").write_text("a text\n")
    url = "s3://bucket/a/../out"
    answers = [embed(name=name, output_section={"uri": url}, corpus={"files": [str(tmp_path / "corpus")]}) for name in ("run", "plan")]
    answers += [command(name, url) for name in ("status", "verify")]
    assert [answer.code for answer in answers] == [2] * 4
    assert all("its key has a part '..'" in answer.errors and "format_version" not in answer.errors for answer in answers)


class TestAStoreThatIgnoresConditions:
    @pytest.fixture
    def unconditional(self, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> object:
        with run_proxy(s3_server, Faults(without=frozenset({"if-none-match"}))) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
            yield proxy

    def test_it_is_found_out_and_nothing_is_left_there(self, s3_folder_url: str, unconditional: object) -> None:
        folder = open_folder(s3_folder_url)
        with pytest.raises(UsageError, match=r"the store at http://127\.0\.0\.1:\d+ overwrites .*output\.on_unconditional_puts: accept"):
            require_exclusive(folder)
        assert list(folder.list()) == []

    def test_where_that_is_accepted_names_are_looked_up_first(self, s3_folder_url: str, unconditional: object) -> None:
        folder = open_folder(s3_folder_url, looks_first=True)
        require_exclusive(folder, accepted=True)
        folder.create("a", b"1")
        with pytest.raises(AlreadyExists):
            folder.create("a", b"2")
        assert folder.read("a") == b"1"

    def test_the_real_command(
        self, s3_folder_url: str, unconditional: object, embed: Callable[..., Answer], tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "corpus").mkdir()
        (tmp_path / "corpus/a.txt").write_text("a text\n")
        corpus = {"files": [str(tmp_path / "corpus")]}
        refused = embed(output_section={"uri": s3_folder_url}, corpus=corpus)
        assert refused.code == 2 and "overwrites an object although" in refused.errors and "127.0.0.1" in refused.errors
        accepted = embed(output_section={"uri": s3_folder_url, "on_unconditional_puts": "accept"}, corpus=corpus)
        assert (accepted.code, accepted["rows_out"]) == (0, 1) and "never have more than one run at work" in caplog.text


def test_a_store_that_keeps_its_word(prefix: str) -> None:
    folder = open_folder(prefix)
    require_exclusive(folder)
    assert list(folder.list()) == []
