"""The demo into each of eight real indexes, then a feed of it, then the same again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embermill.jobs.index.running import Options, load
from embermill.jobs.storage.local import LocalFolder
from tests.jobs.index.targets.conftest import CHANGED
from tests.jobs.index.targets.reading import FLAT, NORMALIZING, TARGETS, Rows, address_of, read, require_equal

pytestmark = [pytest.mark.index, pytest.mark.timeout(900)]


@pytest.fixture
def bytes_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Of all files of the dataset, one number a read."""
    sizes: list[int] = []
    open_file, read_file = LocalFolder.open, LocalFolder.read

    class Counting:
        def __init__(self, file: object) -> None:
            self._file = file

        def read(self, *arguments: int) -> bytes:
            data: bytes = self._file.read(*arguments)  # type: ignore[attr-defined]
            sizes.append(len(data))
            return data

        def __getattr__(self, name: str) -> object:
            return getattr(self._file, name)

        def __enter__(self) -> Counting:
            return self

        def __exit__(self, *error: object) -> None:
            self._file.close()  # type: ignore[attr-defined]

    def counted(folder: LocalFolder, name: str) -> bytes:
        data = read_file(folder, name)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(LocalFolder, "open", lambda folder, name: Counting(open_file(folder, name)))
    monkeypatch.setattr(LocalFolder, "read", counted)
    yield sizes


@pytest.mark.parametrize("name", TARGETS)
def test_load_then_a_feed_then_the_same_again(
    name: str, demo: Path, rows_of: Callable[[int], Rows], tmp_path: Path, request: pytest.FixtureRequest, bytes_read: list[int]
) -> None:
    postgres = request.getfixturevalue("postgres") if name == "postgresql" else ""
    address = address_of(name, tmp_path, postgres)

    first = load(str(demo), address, Options(to=1, probe=True))
    expected = rows_of(1)
    assert first.created and (first.before, first.version, first.upserted, first.deleted) == (0, 1, len(expected), 0)
    assert first.checked is not None and first.checked.sampled == 100 and first.checked.recall is not None
    assert first.checked.recall >= (1.0 if name in FLAT else 0.95)
    require_equal(read(name, tmp_path, postgres), expected, name in NORMALIZING)
    bytes_read.clear()
    load(str(demo), address_of(name, tmp_path / "again", postgres), Options(to=1))
    whole = sum(bytes_read)

    bytes_read.clear()
    second = load(str(demo), address, Options())
    feed = sum(bytes_read)
    assert (second.before, second.version, second.upserted, second.deleted) == (1, 2, 2 * CHANGED, CHANGED)
    assert second.upserted + second.deleted <= 0.05 * first.upserted and feed <= 0.05 * whole, (feed, whole)
    require_equal(read(name, tmp_path, postgres), rows_of(2), name in NORMALIZING)

    again = load(str(demo), address, Options(probe=True))
    assert (again.upserted, again.deleted) == (0, 0) and again.checked is not None and again.checked.recall is not None
    assert again.checked.recall >= (1.0 if name in FLAT else 0.95)
