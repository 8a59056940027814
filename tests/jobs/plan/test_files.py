"""A plan is written once and read back equal."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.bookkeeping.seal import read_json, sealed_json
from embermill.jobs.errors import DataError, UsageError
from embermill.jobs.plan.files import Plan, read_plan, require_place, write_plan
from embermill.jobs.storage import AlreadyExists, Folder, open_folder
from tests.jobs.plan.plans import job, lines, planned, table


def plan_files(folder: Folder, kind: str) -> list[str]:
    found = [name.removeprefix("_embermill/") for name, _ in folder.list("_embermill/plan/000001") if re.search(rf"/{kind}-[0-9a-f]{{32}}\.pq$", name)]
    (copy, found_at) = found
    assert copy == found_at.replace("plan/000001/", "plan/000001/copies/"), "the copy from which the table can be repaired"
    return found


class TestWritten:
    @pytest.fixture(params=["local", "s3"])
    def uri(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        return str(tmp_path / "data set") if request.param == "local" else request.getfixturevalue("s3_folder_url")

    @pytest.fixture
    def plan(self, tmp_path: Path) -> Plan:
        table(tmp_path / "corpus/a.parquet", id=[1, 2], text=["x", "y"], tags=[["a"], None])
        lines(tmp_path / "corpus/b.jsonl", {"id": 3, "text": "z", "tags": ["q"]})
        return planned(job(tmp_path, corpus={"keep_columns": (("tags", "labels"),), "partition_text_bytes": 1}))

    def test_reads_back_equal(self, plan: Plan, uri: str) -> None:
        folder = open_folder(uri)
        assert read_plan(folder) is None
        write_plan(folder, plan)
        assert read_plan(folder) == plan and len(plan.partitions) > 1
        write_plan(folder, plan)
        names = [name.removeprefix("_embermill/") for name, _ in folder.list()]
        roots = ["plan/000001/copies/root.json", "plan/000001/root.json"]
        assert names == sorted(["format.json", *roots, *plan_files(folder, "inputs"), *plan_files(folder, "segments")])
        assert json.loads(folder.read("_embermill/format.json"))["format_version"] == "2 (embermill 0.2.0 or newer)"

    def test_another_plan_does_not_replace_it(self, plan: Plan, uri: str, tmp_path: Path) -> None:
        folder = open_folder(uri)
        write_plan(folder, plan)
        other = planned(job(tmp_path, corpus={"on_schema_drift": "cast"}))
        with pytest.raises(AlreadyExists):
            write_plan(folder, other)
        assert read_plan(folder) == plan

    def test_what_a_killed_planning_left_behind_is_no_plan(self, plan: Plan, uri: str, tmp_path: Path) -> None:
        folder = open_folder(uri)
        folder.create(f"_embermill/plan/000001/segments-{'0' * 32}.pq", b"of another corpus")
        assert read_plan(folder) is None
        write_plan(folder, plan)
        assert read_plan(folder) == plan

    @pytest.mark.parametrize("name", ["root.json", "segments", "inputs"])
    def test_damage_is_found(self, plan: Plan, tmp_path: Path, name: str) -> None:
        folder = open_folder(str(tmp_path / "out"))
        write_plan(folder, plan)
        (path,) = (tmp_path / "out/_embermill/plan/000001").glob(f"{name}*")
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(DataError, match=name):
            read_plan(folder)
        path.unlink()
        if name != "root.json":
            with pytest.raises(DataError, match=name):
                read_plan(folder)

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"rows": {"id_name": "another"}}, "expected one column 'another', got 0"),
            ({"rows": {"kept": [["tags", "another"]]}}, "expected one column 'another', got 0"),
            ({"outputs": [{"column": "embedding", "kind": "dense", "dtype": "float32", "dim": 5}]}, "column embedding: expected vectors of 5 numbers"),
            ({"outputs": [{"column": "text_hash", "kind": "dense", "dtype": "float32", "dim": 5}]}, "column text_hash: expected vectors of 5 numbers"),
        ],
    )
    def test_a_schema_that_lacks_what_the_root_speaks_of_is_damage(self, plan: Plan, tmp_path: Path, change: dict[str, Any], expected: str) -> None:
        """Whoever reads shards goes by the plan's names, so they must agree before any is opened."""
        folder = open_folder(str(tmp_path / "out"))
        write_plan(folder, plan)
        path = tmp_path / "out/_embermill/plan/000001/root.json"
        root = read_json(path.read_bytes(), frozenset())
        changed = {key: root[key] | value if isinstance(value, dict) else value for key, value in change.items()}
        path.write_bytes(sealed_json(root | changed))
        with pytest.raises(DataError, match=re.escape(expected)):
            read_plan(folder)

    def test_a_folder_of_something_else_is_refused(self, plan: Plan, tmp_path: Path) -> None:
        table(tmp_path / "out/data/part-1.parquet", x=[1])
        with pytest.raises(UsageError, match="holds a folder data/ that no dataset of ours made"):
            write_plan(open_folder(str(tmp_path / "out")), plan)

    @pytest.mark.parametrize(
        ("name", "key", "expected"),
        [("_embermill/format.json", "format_version", "1 or 2"), ("_embermill/plan/000001/root.json", "plan_format", "1")],
    )
    def test_another_version_is_refused(self, plan: Plan, tmp_path: Path, name: str, key: str, expected: str) -> None:
        folder = open_folder(str(tmp_path / "out"))
        write_plan(folder, plan)
        path = tmp_path / "out" / name
        path.write_bytes(sealed_json(json.loads(path.read_text()) | {key: 99}))
        with pytest.raises(UsageError, match=f"{key} {expected}, got 99"):
            read_plan(folder)

    @pytest.mark.parametrize("content", [b"junk", b"[1]", b"\xff\xfe"])
    def test_a_damaged_format_is_damage_to_whoever_opens_the_dataset(self, plan: Plan, tmp_path: Path, content: bytes) -> None:
        folder = open_folder(str(tmp_path / "out"))
        write_plan(folder, plan)
        (tmp_path / "out/_embermill/format.json").write_bytes(content)
        for open_it in (read_plan, require_place):
            with pytest.raises(DataError, match="is damaged: "):
                open_it(folder)

    def test_no_credentials_and_no_endpoint(self, plan: Plan, s3_folder_url: str, s3_server: str) -> None:
        folder = open_folder(s3_folder_url)
        write_plan(folder, plan)
        everything = b"".join(folder.read(name) for name, _ in folder.list())
        assert b"secret-of-the-test" not in everything and s3_server.encode() not in everything and b"127.0.0.1" not in everything
