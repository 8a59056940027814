"""Milvus and Chroma behind a port: the server of Milvus Lite, Chroma's own. Two loaders, one that was killed, and a feed."""

from __future__ import annotations

import contextlib
import gc
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from embermill.jobs.errors import AnotherRun
from embermill.jobs.index import lease
from embermill.jobs.index.opening import parse_address, target_class
from embermill.jobs.index.running import Options, load, open_targets
from tests.jobs.histories.world import World
from tests.jobs.index.loads import save
from tests.jobs.index.targets.test_kills import layout_of, load_killed

pytestmark = [pytest.mark.index, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]  # chromadb's HTTP client never closes its connections


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What chromadb leaves open is collected here, where its warnings are ignored, and not in the next file of tests."""
    monkeypatch.setattr(lease, "SETTLE_S", 0.5)
    yield
    gc.collect()


@contextlib.contextmanager
def serving(name: str, folder: Path) -> Iterator[str]:
    """Its address."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    tools = Path(sys.executable).parent
    commands: dict[str, list[str | Path]] = {
        "chroma": [tools / "chroma", "run", "--path", folder / "server", "--host", "127.0.0.1", "--port", str(port)],
        "milvus": [tools / "milvus-lite", "server", "--data-dir", folder / "server", "--host", "127.0.0.1", "--port", str(port)],
    }
    with (folder / "server.log").open("wb") as said:
        server = subprocess.Popen(commands[name], stdout=said, stderr=said)
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            assert server.poll() is None, (folder / "server.log").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield f"{name}://127.0.0.1:{port}?collection=docs"
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("name", ["chroma", "milvus"])
def test_a_server_has_one_loader_at_a_time(name: str, tmp_path: Path) -> None:
    world = World(4)
    first = save(world, tmp_path / "first")
    world.sync()
    later = save(world, tmp_path / "later")
    with serving(name, tmp_path) as address:
        parsed = parse_address(address)
        with open_targets(parsed, target_class(parsed), 1) as targets:
            targets[0].prepare(layout_of(first, parsed))  # creates it, and holds it
            with pytest.raises(AnotherRun, match="another `embermill load` is at work on it"):
                load(str(first), address, Options())
            assert targets[0].count() == 0
        assert load_killed(first, address, 4)  # leaves its lease there
        done = load(str(first), address, Options(probe=True))
        assert done.checked is not None and done.checked.recall == 1.0 and done.checked.rows == done.rows
        feed = load(str(later), address, Options())
        assert (feed.before, feed.version) == (1, 2) and feed.checked is not None and feed.checked.sampled == feed.rows
