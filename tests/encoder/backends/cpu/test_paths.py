"""Which functions a processor is given, with its features masked by hand."""

from __future__ import annotations

import logging

import pytest

from embermill.encoder.backends import get_ops
from embermill.encoder.backends.cpu.compiled import library
from embermill.encoder.backends.cpu.compiled.library import FEATURES, WITHOUT, load_library, processor_features
from embermill.encoder.backends.cpu.compiled.paths import choose_path
from embermill.encoder.backends.cpu.opening import make_ops
from embermill.encoder.backends.cpu.ops import NumpyOps
from embermill.encoder.backends.cpu.path_ops import PathOps, open_path
from embermill.encoder.device import choose_device
from embermill.encoder.errors import DeviceError
from tests.encoder.backends.each_backend import ALL_CPU_PATHS, open_cpu

EVERYTHING = frozenset(FEATURES)
AMX = {"amx_int8", "amx_bf16"}


@pytest.mark.parametrize(
    ("precision", "without", "path"),
    [
        ("float32", set(), ""),
        ("float32", {"avx512"}, "avx2_f32"),
        ("float32", EVERYTHING, ""),
        ("int8", set(), "amx_int8"),
        ("int8", AMX, "vnni_int8"),
        ("int8", AMX | {"avx512_vnni"}, "avx2_int8"),
        ("int8", {"avx512"}, "avx2_int8"),
        ("int8", EVERYTHING, ""),
        ("bfloat16", set(), "amx_bf16"),
        ("bfloat16", AMX, "avx512_bf16"),
        ("bfloat16", AMX | {"avx512_bf16"}, ""),
        ("bfloat16", {"avx512"}, ""),
        ("bfloat16", EVERYTHING, ""),
    ],
)
def test_the_first_path_whose_features_are_all_there(precision: str, without: set[str], path: str) -> None:
    chosen = choose_path(precision, EVERYTHING - without, built=True)
    assert (chosen.name, chosen.precision) == (path, precision)
    assert chosen.why.startswith("this CPU has none of" if not path and without else "this CPU has ")


def test_float32_is_left_to_numpy_where_its_products_are_as_fast() -> None:
    assert choose_path("float32", EVERYTHING, built=True).why == "this CPU has avx512, where its products are at their limit already"


def test_float32_by_numpy_has_the_kernel_set_that_it_always_had(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A receipt of before and one of today say the same of the same code; compiled functions are named."""
    asked, without = make_ops("float32-numpy", 1), open_path("float32", features=frozenset())
    assert asked.kernel_set == without.kernel_set == NumpyOps().kernel_set and asked.kernel_set.startswith("numpy ")
    assert asked.precision == without.precision == "float32" and not caplog.records
    assert without.chosen == "float32 by NumPy on the CPU: this CPU has none of avx2 that it needs"
    monkeypatch.setattr(library, "load_library", lambda: None)
    monkeypatch.setattr("embermill.encoder.backends.cpu.path_ops.load_library", lambda: None)
    assert make_ops("float32", 1).chosen.startswith("float32 by NumPy on the CPU: its compiled functions are not installed")


def test_without_the_compiled_functions_numpy_computes_and_says_why(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(library, "load_library", lambda: None)
    monkeypatch.setattr("embermill.encoder.backends.cpu.path_ops.load_library", lambda: None)
    for precision in ("int8", "bfloat16"):
        ops = make_ops(precision, 1)
        assert isinstance(ops, PathOps) and ops.path.name == "" and ops.kernel_set.startswith(f"{precision} by NumPy, numpy")
    assert "int8 by NumPy on the CPU: its compiled functions are not installed (they are made for x86-64 when embermill is installed" in caplog.text


def test_one_line_says_which_path_was_taken_and_why(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="embermill.encoder"):  # a command that ran before in this process may have set another
        ops = get_ops(choose_device("cpu"), "int8", 1)
    assert [record.message for record in caplog.records if record.levelname == "INFO"] == [ops.chosen]
    assert ops.chosen.startswith("int8 by ") and " on the CPU: " in ops.chosen and ops.kernel_set.startswith(ops.chosen.partition(" on the CPU")[0])


def test_numpy_in_their_place_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    PathOps("int8", features=frozenset())
    (record,) = caplog.records
    assert record.levelname == "WARNING" and record.message.startswith("int8 by NumPy on the CPU: ") and "no faster than float32" in record.message


@pytest.mark.parametrize("path", ALL_CPU_PATHS, ids="-".join)
def test_each_path_opens(path: tuple[str, str]) -> None:
    """Skips for each that this processor cannot run; the tests of all paths leave those out."""
    assert open_cpu(*path).kernel_set


def test_features_can_be_kept_from_use(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = processor_features()
    assert everything <= EVERYTHING and (load_library() is not None or not everything)
    monkeypatch.setenv(WITHOUT, "amx_int8, avx2")
    assert processor_features() == everything - {"amx_int8", "avx2"}


def test_a_precision_that_no_cpu_has() -> None:
    with pytest.raises(DeviceError, match='precision on the CPU: expected "auto", "float32", "bfloat16" or "int8", got "float16"'):
        make_ops("float16", 1)
    with pytest.raises(DeviceError, match="threads: expected at least 1, got 0"):
        make_ops("int8", 0)
