"""What a start-up probe found on this machine, kept between processes: a measurement of seconds becomes one file to read.

The file lies in $XDG_CACHE_HOME/embermill/probes, else ~/.cache/embermill/probes. It says what its findings depend on (the libraries asked and the
processor), and its name has a checksum of that, so that another machine never takes them for its own.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from functools import cache
from pathlib import Path

log = logging.getLogger(__name__)


class ProbeCache:
    """Findings by name, read once. A file that is damaged or cannot be written costs a measurement next time and nothing else."""

    def __init__(self, path: Path, machine: str = "") -> None:
        self.path, self.machine = path, machine
        self.found = self._read()

    def get(self, name: str) -> bool | None:
        return self.found.get(name)

    def put(self, name: str, finding: bool) -> None:
        """Adds a finding to what this and other processes have kept; the file is replaced in one rename."""
        import tempfile

        self.found = {**self._read(), **self.found, name: finding}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self.path.parent, suffix=".tmp", delete=False) as file:
                json.dump({"machine": self.machine, "found": self.found}, file)
            Path(file.name).replace(self.path)
        except OSError as error:
            log.info("probe cache %s cannot be written (%s): every process measures again", self.path, error)

    def _read(self) -> dict[str, bool]:
        try:
            kept = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            return {}
        found = kept.get("found") if isinstance(kept, dict) and kept.get("machine") == self.machine else None
        return {name: value for name, value in found.items() if isinstance(value, bool)} if isinstance(found, dict) else {}


@cache
def machine_cache(probe: str, libraries: str) -> ProbeCache:
    """The findings of `probe` (its name and version) on this machine. libraries: those that were asked, with their versions and the kernels they chose."""
    machine = _machine(libraries)
    return ProbeCache(_folder() / f"{probe}-{zlib.crc32(machine.encode()):08x}.json", machine)


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "embermill" / "probes"


def _machine(libraries: str) -> str:
    """Processor, sizes of its caches (OpenBLAS cuts its blocks by them), and the libraries."""
    parts = [os.uname().machine, libraries]
    for source in ("/proc/cpuinfo", *(f"/sys/devices/system/cpu/cpu0/cache/index{level}/size" for level in range(4))):
        try:
            with Path(source).open() as stream:
                head = stream.read(4096).partition("\n\n")[0]  # the first processor
        except OSError:
            continue
        parts += [
            line for line in head.splitlines() if ":" not in line or line.startswith(("vendor_id", "cpu family", "model", "stepping", "cache size", "CPU "))
        ]
    return "\n".join(parts)
