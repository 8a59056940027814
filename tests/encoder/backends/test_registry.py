"""A further backend is one folder and one line: shown with one that runs the reference on a device of its own."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from embermill.encoder import DeviceError, Encoder, backends
from embermill.encoder.backends import backend_of, device_kinds, get_ops
from embermill.encoder.device import Device, choose_device, resolve_precision
from tests.encoder.tiny_bert import TinyBert

FOLDER = """
    from embermill.encoder.backends.backend import Backend, Tuning
    from embermill.encoder.device import Device
    from embermill.encoder.ops.reference import ReferenceOps

    BACKEND = Backend(
        kind="abacus",
        precisions=("float64", "float32"),
        tuning=Tuning(batches_per_window=2, tokenize_threads=1, short_switch_interval=False),
        find_device=lambda: Device("abacus", "wood", "ten wires", "base_10", 1, 100),
        runs=lambda device: device.architecture == "base_10",
        make_ops=lambda device, precision, threads: ReferenceOps(),
    )
"""


@pytest.fixture
def abacus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "abacus").mkdir()
    (tmp_path / "abacus" / "__init__.py").write_text(dedent(FOLDER))
    monkeypatch.setattr(backends, "__path__", [*backends.__path__, str(tmp_path)])
    monkeypatch.setattr(backends, "BACKENDS", (*backends.BACKENDS, "abacus"))


@pytest.mark.usefixtures("abacus")
def test_a_further_backend_is_one_folder_and_one_line(tmp_path: Path) -> None:
    assert device_kinds() == ("gpu", "cpu", "abacus")
    device = choose_device("abacus")
    assert (device.name, resolve_precision("auto", "abacus"), backend_of(device).tuning.batches_per_window) == ("ten wires", "float64", 2)
    folder, ids = str(TinyBert().write(tmp_path / "model", tokenizer=False)), [[2, 7, 8, 3], [2, 3]]
    with Encoder.from_pretrained(folder, device="abacus") as slow, Encoder.from_pretrained(folder, device="cpu", threads=1) as fast:
        np.testing.assert_allclose(slow.encode_token_ids(ids), fast.encode_token_ids(ids), atol=2e-5, rtol=0)
        assert slow.kernel_set == "reference" and slow.device.kind == "abacus"


def gpu(vendor: str, architecture: str) -> Device:
    return Device("gpu", vendor, "a GPU", architecture, 132, 1 << 36)


@pytest.mark.parametrize(
    ("device", "folder"),
    [
        (gpu("nvidia", "sm_90"), "cuda"),
        (gpu("nvidia", "sm_100"), "cuda"),
        *((gpu("nvidia", f"sm_{capability}"), "cuda") for capability in (80, 86, 87, 89, 103, 120)),
        (gpu("nvidia", "sm_75"), "cupy"),
        (gpu("amd", "gfx942"), "cupy"),
        (Device("cpu", "", "a CPU", "x86_64", 2, 1 << 30), "cpu"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.architecture,
)
def test_which_backend_runs_a_device(device: Device, folder: str) -> None:
    assert backend_of(device).make_ops.__module__ == f"embermill.encoder.backends.{folder}"


def test_a_device_that_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="device kind: expected one of gpu, cpu, got 'tpu'"):
        get_ops(Device("tpu", "", "", "", 1, 1))
    with pytest.raises(DeviceError, match="device='tpu': expected one of auto, cpu, gpu"):
        choose_device("tpu")
    with pytest.raises(DeviceError, match="precision='float16' does not exist on a CPU"):
        get_ops(choose_device("cpu"), "float16")


def test_the_door_of_a_backend_loads_nothing_of_it() -> None:
    import subprocess
    import sys

    code = "import sys; from embermill.encoder.backends import device_kinds; device_kinds(); print(*(name for name in sys.modules if 'backends' in name))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {name.removeprefix("embermill.encoder.backends") for name in loaded} == {"", ".backend", ".cpu", ".cuda", ".cupy"}
