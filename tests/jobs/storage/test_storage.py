"""Publishing, listing and conditional reading, the same on a local disk and on every object store."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.errors import InputChanged, Interrupted, UsageError
from embermill.jobs.storage import AlreadyExists, Folder, list_inputs, local, object_client, object_store, open_folder, open_input, would_list


@pytest.fixture(params=["local", "s3", "az", "gs"])
def root(request: pytest.FixtureRequest, tmp_path: Path, store_url: Callable[[str], str]) -> str:
    """Where things lie: a folder or a prefix, with a blank and a percent sign in its name."""
    return str(tmp_path / "a b%20c") if request.param == "local" else store_url(request.param) + "/a b%20c"


@pytest.fixture
def folder(root: str) -> Folder:
    return open_folder(root)


@pytest.fixture
def place(root: str, request: pytest.FixtureRequest) -> Callable[[str, bytes], str]:
    """Put a corpus file there as another program would; its path or URL."""

    def put(name: str, data: bytes) -> str:
        if "://" in root:
            request.getfixturevalue("put_object")(f"{root}/{name}", data)
        else:
            Path(root, name).parent.mkdir(parents=True, exist_ok=True)
            Path(root, name).write_bytes(data)
        return f"{root}/{name}"

    return put


def attempt(folder: Folder, name: str, data: bytes) -> Path:
    path = folder.temporary(name)
    path.write_bytes(data)
    return path


class TestFolder:
    def test_publish_creates_once_and_never_overwrites(self, folder: Folder) -> None:
        first = attempt(folder, "data/part 1%.parquet", b"first")
        folder.publish(first, "data/part 1%.parquet")
        assert not first.exists()
        second = attempt(folder, "data/part 1%.parquet", b"second")
        with pytest.raises(AlreadyExists):
            folder.publish(second, "data/part 1%.parquet")
        assert second.read_bytes() == b"second"
        assert folder.read("data/part 1%.parquet") == b"first"

    def test_create_replace_remove(self, folder: Folder) -> None:
        assert not folder.exists("_embermill/format.json")
        folder.create("_embermill/format.json", b"{}")
        assert folder.exists("_embermill/format.json")
        with pytest.raises(AlreadyExists):
            folder.create("_embermill/format.json", b"{}")
        folder.replace("heartbeat.json", b"1")
        folder.replace("heartbeat.json", b"2")
        assert folder.read("heartbeat.json") == b"2"
        folder.remove("heartbeat.json")
        folder.remove("heartbeat.json")
        with pytest.raises(FileNotFoundError):
            folder.read("heartbeat.json")
        with pytest.raises(FileNotFoundError):
            folder.open("heartbeat.json")

    def test_list_is_sorted_by_name_and_by_folder(self, folder: Folder) -> None:
        assert list(folder.list()) == [] and list(folder.list("data")) == []
        for name in ("data/b", "data/a", "data2/c", "data/sub/x"):
            folder.create(name, name.encode())
        assert [name for name, _ in folder.list("data")] == ["data/a", "data/b", "data/sub/x"]
        assert [name for name, _ in folder.list("data/")] == ["data/a", "data/b", "data/sub/x"]
        assert [name for name, _ in folder.list()] == ["data/a", "data/b", "data/sub/x", "data2/c"]
        assert {name: info.size for name, info in folder.list("data2")} == {"data2/c": 7}

    def test_open_seeks(self, folder: Folder) -> None:
        folder.create("x", bytes(range(256)) * 10)
        with folder.open("x") as file:
            file.seek(-6, os.SEEK_END)
            assert file.read() == bytes(range(250, 256))
            file.seek(300)
            assert file.read(4) == bytes(range(44, 48)) and file.tell() == 304


class TestLocalFolder:
    def test_leaves_no_temporary(self, tmp_path: Path) -> None:
        folder = open_folder(str(tmp_path))
        folder.create("a", b"1")
        with pytest.raises(AlreadyExists):
            folder.create("a", b"2")
        assert [name for name, _ in folder.list()] == ["a"]

    def test_a_place_that_cannot_hold_a_dataset(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"1")
        for uri in (tmp_path / "file", tmp_path / "file/below"):
            assert list(open_folder(str(uri)).list()) == []
            with pytest.raises(UsageError, match="cannot hold a dataset"):
                open_folder(str(uri)).require_writable()
            with pytest.raises(UsageError, match=r"cannot be written: .* choose another place"):
                open_folder(str(uri)).create("a", b"1")

    @pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV])
    def test_renames_without_replacing_where_there_are_no_hard_links(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        def refuse(*_: object) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "link", refuse)
        folder = open_folder(str(tmp_path))
        folder.create("a", b"1")
        with pytest.raises(AlreadyExists):
            folder.create("a", b"2")
        assert folder.read("a") == b"1"

    def test_every_file_and_new_folder_is_synced(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        synced: list[str] = []
        monkeypatch.setattr(local, "_sync", lambda path: synced.append(path.name))
        folder = open_folder(str(tmp_path / "new"))
        temporary = attempt(folder, "data/deep/a", b"1")
        folder.publish(temporary, "data/deep/a")
        assert synced == [tmp_path.name, "new", "_embermill", "new", "data", temporary.name, "deep"]


class TestObjectFolder:
    def test_a_lost_answer_to_our_own_put_is_a_success(self, s3_folder_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        put = object_store.obstore.put  # type: ignore[attr-defined]

        def put_and_lose_the_answer(*arguments: Any, **options: Any) -> None:
            put(*arguments, **options)
            raise object_store.exceptions.AlreadyExistsError("412")  # type: ignore[attr-defined]

        monkeypatch.setattr(object_store.obstore, "put", put_and_lose_the_answer)  # type: ignore[attr-defined]
        folder = open_folder(s3_folder_url)
        folder.create("a", b"1")
        assert folder.read("a") == b"1"

    def test_a_conflict_while_nothing_stands_there_is_tried_again(self, s3_folder_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        put, answers = object_store.obstore.put, [True, True]  # type: ignore[attr-defined]
        monkeypatch.setattr(object_store.time, "sleep", lambda _: None)  # type: ignore[attr-defined]

        def conflict_twice(*arguments: Any, **options: Any) -> Any:
            if answers:
                answers.pop()
                raise object_store.exceptions.AlreadyExistsError("409")  # type: ignore[attr-defined]
            return put(*arguments, **options)

        monkeypatch.setattr(object_store.obstore, "put", conflict_twice)  # type: ignore[attr-defined]
        folder = open_folder(s3_folder_url)
        folder.create("a", b"1")
        assert folder.read("a") == b"1"
        answers.extend([True] * 100)
        with pytest.raises(Interrupted, match="while nothing is there"):
            folder.create("b", b"1")

    def test_time_out_grows_with_the_size(self) -> None:
        stores = [object_client.store_for("s3", "bucket", size) for size in (0, 10_000_000, 256_000_000)]
        timeouts = [store.client_options["timeout"] for store in stores]  # type: ignore[index, union-attr]
        assert timeouts == ["60s", "60s", "1920s"]

    def test_messages_hold_no_endpoint_and_no_secret(self, s3_server: str) -> None:
        with pytest.raises(UsageError) as caught:
            open_folder("s3://no-such-bucket/x").create("a", b"1")
        assert "no such bucket" in str(caught.value) and "127.0.0.1" not in str(caught.value)
        with pytest.raises(UsageError) as caught:
            list(open_folder("s3://no-such-bucket/x").list())
        assert "no such bucket" in str(caught.value) and "127.0.0.1" not in str(caught.value)

    def test_unknown_scheme(self) -> None:
        with pytest.raises(UsageError, match="expected a local path, or s3://"):
            open_folder("ftp://host/x")


class TestOpenInput:
    def test_reads_the_planned_version_only(self, root: str, place: Callable[[str, bytes], str]) -> None:
        data = os.urandom(3_000_000)
        place("x.bin", data)
        [(_, info)] = list_inputs(root)
        source = open_input(info.path, info.size, info.version)
        try:
            parts = [source.read(70_000) for _ in range(len(data) // 70_000 + 1)]
            assert b"".join(parts) == data and source.read(1) == b""
            source.seek(1_000_000)
            assert source.read(10) == data[1_000_000:1_000_010]
            source.check()
            place("x.bin", data[:-1])
            with pytest.raises(InputChanged, match="changed after planning"):
                source.seek(2_500_000)
                source.read(100)
                source.check()
        finally:
            source.close()
        with pytest.raises(InputChanged, match=r"x\.bin"):
            again = open_input(info.path, info.size, info.version)
            again.read(1)

    def test_a_file_that_is_touched_while_it_is_read_is_read_again(self, tmp_path: Path) -> None:
        path = tmp_path / "a"
        path.write_bytes(b"one")
        [(_, info)] = list_inputs(str(path))
        with closing(open_input(info.path, info.size, info.version)) as source:
            source.check()
            path.write_bytes(b"two")
            os.utime(path, ns=(int(info.version), int(info.version)))
            with pytest.raises(Interrupted, match="was touched while it was read"):
                source.check()

    def test_vanished(self, root: str, place: Callable[[str, bytes], str]) -> None:
        place("kept", b"1")
        with pytest.raises(InputChanged, match="vanished"):
            open_input(f"{root}/gone", 1, '"etag"').read(1)


class TestListInputs:
    ENTRIES = (
        ("", ["[1].txt", "a.txt", "sub/b.txt", "sub/deep/c.txt", "x%20y z.txt"]),
        ("/", ["[1].txt", "a.txt", "sub/b.txt", "sub/deep/c.txt", "x%20y z.txt"]),
        ("/a.txt", ["a.txt"]),
        ("/[1].txt", ["[1].txt"]),
        ("/_skipped.txt", ["_skipped.txt"]),
        ("/*.txt", ["[1].txt", "a.txt", "x%20y z.txt"]),
        ("/x%20y z.txt", ["x%20y z.txt"]),
        ("/sub", ["b.txt", "deep/c.txt"]),
        ("/sub/*", ["b.txt"]),
        ("/**/*.txt", ["[1].txt", "a.txt", "sub/b.txt", "sub/deep/c.txt", "x%20y z.txt"]),
        ("/*/?.txt", ["sub/b.txt"]),
        ("/s*/**/c.txt", ["sub/deep/c.txt"]),
    )
    NAMES = ("a.txt", "sub/b.txt", "sub/deep/c.txt", "_skipped.txt", ".hidden/d.txt", "sub/_temporary/e.txt", "x%20y z.txt", "[1].txt")

    @pytest.fixture
    def corpus(self, root: str, place: Callable[[str, bytes], str]) -> str:
        for name in self.NAMES:
            place(name, name.encode())
        return root

    def test_entries(self, corpus: str) -> None:
        for entry, names in self.ENTRIES:
            listed = list_inputs(corpus + entry)
            assert [name for name, _ in listed] == names, entry
            assert all(info.path.endswith(name) and info.path.startswith(corpus) and info.version for name, info in listed), entry
            for _, info in listed:
                with closing(open_input(info.path, info.size, info.version)) as source:
                    assert len(source.read()) == info.size

    def test_what_an_entry_would_list(self, corpus: str) -> None:
        foreign = {f"{corpus}-other/a.txt", f"{corpus.rpartition('/')[0]}/a.txt", corpus}
        for entry in ("", "/", "/sub", "/sub/*", "/*.txt", "/**/*.txt", "/*/?.txt", "/s*/**/c.txt", "/nowhere", "/sub/b.txt", "/[1].txt"):
            try:
                listed = {info.path for _, info in list_inputs(corpus + entry)}
            except UsageError:
                listed = set()
            assert not any(would_list(corpus + entry, path) for path in foreign), entry
            if not entry.endswith(("b.txt", "/[1].txt")):  # a file takes in itself alone, and that is no place for a dataset
                assert {path for name in self.NAMES if would_list(corpus + entry, path := f"{corpus}/{name}")} == listed, entry

    def test_a_local_entry_would_list_no_object(self, tmp_path: Path) -> None:
        assert not would_list(str(tmp_path), "s3://bucket/a.txt") and not would_list("s3://bucket", str(tmp_path / "a.txt"))

    def test_what_a_local_entry_would_list_by_other_ways(self, tmp_path: Path) -> None:
        for folder in ("corpus/2026", "disk/corpus", "elsewhere"):
            (tmp_path / folder).mkdir(parents=True)
        (tmp_path / "mounted").symlink_to(tmp_path / "disk/corpus")
        (tmp_path / "corpus/link").symlink_to(tmp_path / "elsewhere")
        for entry, path in [
            ("corpus/2026/..", "corpus/out/a.txt"),
            ("corpus", "elsewhere/../corpus/out/a.txt"),
            ("mounted", "disk/corpus/out/a.txt"),
            ("disk/corpus/**/*.txt", "mounted/out/a.txt"),
            ("corpus", "corpus/link/out/a.txt"),
        ]:
            assert would_list(str(tmp_path / entry), str(tmp_path / path)), (entry, path)
        assert not would_list(str(tmp_path / "corpus"), str(tmp_path / "corpus/../out/a.txt"))

    def test_no_match_is_an_error_that_names_it(self, corpus: str) -> None:
        for entry in ("/nothing.txt", "/*.csv", "/sub/deep/deeper", "/nowhere/*"):
            with pytest.raises(UsageError, match="matches no file") as caught:
                list_inputs(corpus + entry)
            assert entry in str(caught.value)

    @pytest.mark.parametrize(("inside", "table"), [("_delta_log/0.json", "Delta"), (".hoodie/x", "Hudi"), ("metadata/v1.metadata.json", "Iceberg")])
    def test_table_folders_are_refused(self, root: str, place: Callable[[str, bytes], str], inside: str, table: str) -> None:
        for name in ("lake/t/x.parquet", "lake/t/data/y.parquet", f"lake/t/{inside}"):
            place(name, b"1")
        for entry in ("", "/lake", "/lake/t", "/lake/t/*.parquet", "/lake/t/data", "/lake/t/data/*.parquet", "/lake/t/data/y.parquet"):
            with pytest.raises(UsageError, match=f"{table} table"):
                list_inputs(root + entry)

    @pytest.mark.parametrize("entry", ["", "/**/*.parquet", "/out", "/*/data/*.parquet"])
    def test_a_dataset_of_ours_is_not_taken_for_corpus(self, root: str, place: Callable[[str, bytes], str], entry: str) -> None:
        for name in ("a.parquet", "out/data/part-1.parquet", "out/_embermill/format.json"):
            place(name, b"1")
        with pytest.raises(UsageError, match=r"out/? is a dataset that this program made, and .*out/data/part-1.parquet in it would be taken for corpus"):
            list_inputs(root + entry)
        assert [name for name, _ in list_inputs(root + "/*.parquet")] == ["a.parquet"]
        assert [name for name, _ in list_inputs(root + "/out/data/*.parquet")] == ["part-1.parquet"]

    def test_a_name_that_is_no_utf8(self, tmp_path: Path) -> None:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt")).write_bytes(b"1")
        with pytest.raises(UsageError, match="this name is no UTF-8"):
            list_inputs(str(tmp_path))

    def test_a_folder_called_metadata_is_no_table(self, root: str, place: Callable[[str, bytes], str]) -> None:
        place("metadata/a.txt", b"1")
        assert [name for name, _ in list_inputs(root)] == ["metadata/a.txt"]

    def test_links_are_followed_and_loops_end(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "real/a.txt").write_bytes(b"1")
        (tmp_path / "corpus").mkdir()
        (tmp_path / "corpus/linked").symlink_to(tmp_path / "real")
        (tmp_path / "corpus/file.txt").symlink_to(tmp_path / "real/a.txt")
        (tmp_path / "real/loop").symlink_to(tmp_path / "corpus")
        (tmp_path / "corpus/broken.txt").symlink_to(tmp_path / "nothing")
        listed = dict(list_inputs(str(tmp_path / "corpus")))
        assert sorted(listed) == ["broken.txt", "file.txt", "linked/a.txt"]
        assert listed["broken.txt"].version == ""
        with pytest.raises(UsageError, match="a link to nothing"):
            list_inputs(str(tmp_path / "corpus/broken.txt"))

    def test_pipes_are_no_corpus(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "a.txt").write_bytes(b"1")
        assert [name for name, _ in list_inputs(str(tmp_path))] == ["a.txt"]
        with pytest.raises(UsageError, match="expected a file or a folder"):
            list_inputs(str(tmp_path / "pipe"))
