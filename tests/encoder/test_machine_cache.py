"""Findings outlive the process; whatever is wrong with the file costs a measurement and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from embermill.encoder import machine_cache as module
from embermill.encoder.backends.cpu import row_block
from embermill.encoder.backends.cpu.row_block import WORTH_KEEPING, invariant_block
from embermill.encoder.machine_cache import ProbeCache, machine_cache


def test_findings_are_kept_and_merged(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "probe.json"
    one, other = ProbeCache(path), ProbeCache(path)
    assert one.get("a") is None
    one.put("a", True)
    other.put("b", False)
    again = ProbeCache(path)
    assert (again.get("a"), again.get("b"), again.get("c")) == (True, False, None)
    assert [file.name for file in path.parent.iterdir()] == ["probe.json"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b'{"machine": "", "found": {"a": "yes"}}', b'{"machine": "another", "found": {"a": false}}', b'{"found": [1]}', b"\xff\xfe"]
)
def test_a_damaged_file_is_no_finding(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "probe.json"
    path.write_bytes(content)
    found = ProbeCache(path)
    assert found.get("a") is None
    found.put("a", True)
    assert ProbeCache(path).get("a") is True


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    found = ProbeCache(tmp_path / "file" / "probe.json")
    found.put("a", True)
    assert found.get("a") is True


def test_large_weights_are_measured_once_per_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    measured: list[object] = []
    monkeypatch.setattr(row_block, "_keeps_bits", lambda shape, block, most_rows: bool(measured.append((shape, block))) or block == 4)
    large = (WORTH_KEEPING // 64, 64)
    try:
        for _ in range(2):
            machine_cache.cache_clear()  # as a new process
            assert invariant_block([large, (*large, "F")], 96) == 4
        assert measured == [(large, 1), (large, 2), (large, 4), ((*large, "F"), 4)]
        assert invariant_block([(8, 8)], 96) == invariant_block([(8, 8)], 96) == 4
        assert len(measured) == 4 + 2 * 3
    finally:
        machine_cache.cache_clear()


def test_knowing_the_machine_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """platform.processor() would: 7 ms of every start."""

    def refuse(*arguments: object, **options: object) -> NoReturn:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert "NumPy" in module._machine("NumPy 2")
