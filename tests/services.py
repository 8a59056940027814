"""Programs that tests call: in .services (infra/install_services.sh), where EMBERMILL_SERVICES says, or on the PATH. Missing ones fail under CI=true."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLACES = {"prometheus": "prometheus/usr/bin", "promtool": "prometheus/usr/bin", "chromium-headless-shell": "chromium/usr/lib/chromium"}
SERVICES = Path(os.environ.get("EMBERMILL_SERVICES", ROOT / ".services"))


def program(name: str) -> str:
    """Its path."""
    found = shutil.which(name, path=str(SERVICES / PLACES.get(name, "tools/bin"))) or shutil.which(name)
    if found is None:
        missing = f"{name} is not installed: run infra/install_services.sh"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    assert found is not None
    return found


def libraries(name: str) -> str:
    """What LD_LIBRARY_PATH is to be for a program that was unpacked and not installed: folders of shared libraries beside it."""
    return ":".join(str(folder) for folder in sorted({path.parent for path in (SERVICES / name / "usr/lib").rglob("*.so*")}))
