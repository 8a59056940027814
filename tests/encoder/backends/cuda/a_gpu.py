"""A GPU for the tests of kernels and GPU backends, or a skip."""

from __future__ import annotations

import secrets
from importlib.util import find_spec

import numpy as np
import pytest

from embermill.encoder.device import Device, choose_device
from embermill.encoder.errors import DeviceError

LIMITS = {"float16": 2e-3, "bfloat16": 1.2e-2}  # of ||got - expected|| / ||expected|| for one product whose result is stored in 16 bits


def a_gpu(architecture: str = "") -> Device:
    """The current GPU; skips where there is none, or none of this architecture."""
    if find_spec("cupy") is None:
        pytest.skip("cupy is not here")
    try:
        device = choose_device("gpu")
    except DeviceError as refusal:
        pytest.skip(str(refusal))
    if architecture and device.architecture != architecture:
        pytest.skip(f"needs {architecture}, this is {device.architecture}")
    return device


def fresh_random() -> np.random.Generator:
    seed = secrets.randbits(64)
    print(f"seed {seed}")
    return np.random.default_rng(seed)


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    """||got - expected|| / ||expected||; NaN and infinity never pass."""
    assert np.isfinite(got).all()
    return float(np.linalg.norm(got.astype(np.float64) - expected) / np.linalg.norm(expected))
