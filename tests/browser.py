"""A real browser without a window (Debian's chromium-headless-shell), driven over the pipe that Chromium opens for it: no package, no port.

    with open_page(path) as page:
        page.evaluate("document.title")
        page.screenshot(Path("seen.png"))
        page.messages, page.requests        what the console said, and every address that was asked for
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.services import libraries, program

WAIT_S, ENDING_S = 60.0, 5.0


class Page:
    """One tab. messages: everything that was logged or thrown, as text. requests: addresses, the page's own left out."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._rest = write, read, b""
        self._number, self._session = 0, ""
        self.messages: list[str] = []
        self.requests: list[str] = []

    def attach(self) -> None:
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, path: Path, width: int = 1150, height: int = 2600) -> None:
        """Until it has drawn its charts."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self._address = path.absolute().as_uri()
        self._call("Page.navigate", url=self._address)
        self.wait_for("document.body !== null && document.body.dataset.drawn !== undefined")

    def wait_for(self, condition: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not self.evaluate(condition):
            assert time.monotonic() < deadline, f"{condition}: not within {WAIT_S:.0f} s; {self.messages}"
            time.sleep(0.05)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, a promise's too. AssertionError for one that throws."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def point_at(self, x: float, y: float) -> None:
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        asked = {"id": self._number, "method": method, "params": parameters} | ({"sessionId": self._session} if self._session else {})
        os.write(self._write, json.dumps(asked).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                assert "error" not in told, (method, told["error"])
                found: dict[str, Any] = told["result"]
                return found
            self._hear(told.get("method", ""), told.get("params", {}))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._read, 1 << 20)
            assert more, "the browser has ended"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\0")
        told: dict[str, Any] = json.loads(line)
        return told

    def _hear(self, method: str, about: dict[str, Any]) -> None:
        if method == "Runtime.consoleAPICalled":
            self.messages.append(f"{about['type']}: {' '.join(str(each.get('value', each)) for each in about['args'])}")
        elif method == "Runtime.exceptionThrown":
            self.messages.append(f"thrown: {about['exceptionDetails']}")
        elif method == "Log.entryAdded":
            self.messages.append(f"log: {about['entry']['text']}")
        elif method == "Network.requestWillBeSent" and about["request"]["url"] not in (self._address, "data:,"):
            self.requests.append(about["request"]["url"])


@contextlib.contextmanager
def open_page(path: Path) -> Iterator[Page]:
    ours_read, theirs_write = os.pipe()
    theirs_read, ours_write = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--disable-background-networking"]
        browser = program("chromium-headless-shell")

        def take_pipes() -> None:  # Chromium reads from 3 and writes to 4
            read, write = os.dup(theirs_read), os.dup(theirs_write)
            os.dup2(read, 3)
            os.dup2(write, 4)

        environment = os.environ | {"LD_LIBRARY_PATH": libraries("chromium"), "HOME": profile}
        running = subprocess.Popen(
            [browser, *options], preexec_fn=take_pipes, close_fds=False, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs_read)
        os.close(theirs_write)
        try:
            page = Page(ours_write, ours_read)
            page.attach()
            page.open(path)
            yield page
        finally:
            _end(running)
            os.close(ours_read)
            os.close(ours_write)


def _end(browser: subprocess.Popen[bytes]) -> None:
    """It and its children, which write into the profile: the folder would not be empty when it is removed."""
    os.killpg(browser.pid, signal.SIGKILL)
    browser.wait()
    deadline = time.monotonic() + ENDING_S
    with contextlib.suppress(ProcessLookupError):  # none is left
        while time.monotonic() < deadline:
            os.killpg(browser.pid, 0)
            time.sleep(0.02)
