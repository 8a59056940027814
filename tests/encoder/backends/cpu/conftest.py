from __future__ import annotations

from collections.abc import Iterator

import pytest

from embermill.encoder.backends.cpu.threads import single_threaded_blas


@pytest.fixture
def one_blas_thread() -> Iterator[None]:
    give_back = single_threaded_blas.hold()
    yield
    give_back()
