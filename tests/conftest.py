"""What every test may count on: tests that need a card or torch are skipped where there is none, saying so; nothing is judged by its time."""

from __future__ import annotations

import contextlib
import importlib.util

import pytest

with contextlib.suppress(ImportError):  # a GPU machine may lack it
    from hypothesis import settings

    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")


def card() -> str | None:
    """Why no GPU test can run here, or None."""
    if importlib.util.find_spec("cupy") is None:
        return "cupy is not installed"
    import cupy

    try:
        return None if cupy.cuda.runtime.getDeviceCount() else "no GPU"
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"no GPU: {error}"


def torch() -> str | None:
    """Why no comparison with the reference can run here, or None."""
    missing = [name for name in ("torch", "transformers", "sentence_transformers") if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} not installed: run `make test-reference`" if missing else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for marker, missing in (("gpu", card), ("reference", torch)):
        marked = [item for item in items if item.get_closest_marker(marker)]
        if marked and (reason := missing()):
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))
