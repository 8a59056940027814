"""What tests/bench/gpu_memory_job.py takes for a right end of a job without enough GPU memory: the message of the backend, and no other exit 2."""

from __future__ import annotations

import pytest

from embermill.encoder.backends.cupy.memory import does_not_fit
from tests.bench.gpu_memory_job import GB, bytes_told, is_right

LEFT = int(1.2 * GB)


@pytest.mark.parametrize("needed", [None, 3 * GB])
def test_bytes_are_read_from_the_message(needed: int | None) -> None:
    words = f"13:00:00 worker 0 failed\nembermill: model: {does_not_fit('a model of 3 weights', needed, LEFT)}\n"
    assert bytes_told(words) == (needed, LEFT)
    assert is_right({"free_gb": 1.2, "free_bytes": LEFT, "exit": 2, "stderr": words})


@pytest.mark.parametrize(
    "words",
    [
        "embermill: unknown key workers.coutn",
        str(does_not_fit("a model", LEFT // 2, LEFT)),  # it would have fitted
        str(does_not_fit("a model", 80 * GB, 70 * GB)),  # so much was never free
    ],
)
def test_another_exit_2_is_no_right_end(words: str) -> None:
    assert not is_right({"free_gb": 1.2, "free_bytes": LEFT, "exit": 2, "stderr": words})


@pytest.mark.parametrize(
    ("row", "right"),
    [
        ({"free_gb": None, "exit": 0}, True), ({"free_gb": None, "exit": 2}, False), ({"free_gb": 4.0, "exit": 0, "differences": []}, True),
        ({"free_gb": 4.0, "exit": 0, "differences": ["partition 1"]}, False), ({"free_gb": 4.0, "exit": 33, "stderr": "", "free_bytes": 1}, False),
    ],
)  # fmt: skip
def test_other_ends(row: dict[str, object], right: bool) -> None:
    assert is_right(row) is right
