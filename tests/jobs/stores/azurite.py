"""Azurite, Microsoft's own emulator of Azure Blob Storage, for the tests: infra/install_services.sh installs it, with Node.js, where there is none.

Its address, account and key are the published ones of the emulator. What the tests put there themselves is put by plain signed requests, not by our client.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import quote

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
ROOT = Path(__file__).parent.parent.parent.parent
SCRIPT = Path("node_modules/azurite/dist/src/blob/main.js")
PATIENCE_S = 60


def find_azurite() -> Path | None:
    """Its script, where it is installed: EMBERMILL_SERVICES names the folder, else .services of this clone."""
    script = Path(os.environ.get("EMBERMILL_SERVICES", ROOT / ".services")) / SCRIPT
    return script if script.exists() and shutil.which("node") else None


class Azurite:
    """A running one. environment: what a client needs to reach it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.environment = {
            "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{port}/{ACCOUNT}",
            "AZURE_ALLOW_HTTP": "true",
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
        }

    def create_container(self, name: str) -> None:
        self._send("PUT", f"/{name}", {"restype": "container"}, {}, b"")

    def put(self, container: str, key: str, data: bytes) -> None:
        self._send("PUT", f"/{container}/{quote(key)}", {}, {"x-ms-blob-type": "BlockBlob"}, data)

    def _send(self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> None:
        path = f"/{ACCOUNT}{path}"
        now = format_datetime(datetime.now(UTC), usegmt=True)
        known = {**headers, "x-ms-date": now, "x-ms-version": "2021-08-06"}
        named = "".join(f"{name}:{value}\n" for name, value in sorted(known.items()))
        asked = "".join(f"\n{name}:{value}" for name, value in sorted(query.items()))
        length = str(len(body)) if body else ""
        signed = "\n".join([method, "", "", length, "", "", "", "", "", "", "", "", f"{named}/{ACCOUNT}{path}{asked}"])
        signature = base64.b64encode(hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()).decode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            target = path + ("?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else "")
            sent = {**known, "Authorization": f"SharedKey {ACCOUNT}:{signature}", "Content-Length": str(len(body))}
            connection.request(method, target, body, sent)
            answer = connection.getresponse()
            assert answer.status in (200, 201), answer.read()


@contextlib.contextmanager
def run_azurite(script: Path) -> Iterator[Azurite]:
    with tempfile.TemporaryDirectory(prefix="azurite-") as folder:
        port = _free_port()
        command = ["node", str(script), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", folder, "--silent", "--disableTelemetry"]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(port, process)
            yield Azurite(port)
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert process.poll() is None and time.monotonic() < deadline, "Azurite did not start"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
