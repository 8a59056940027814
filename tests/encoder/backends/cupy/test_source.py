"""Kernel sources as one text: every include written out once, nothing left for a compiler to look for."""

from __future__ import annotations

from pathlib import Path

import pytest

from embermill.encoder.backends.cupy.source import ROOT, kernel_text

SOURCES = sorted(f"{path.parts[-3]}/{path.name}" for path in ROOT.glob("*/kernels/*.cu"))


@pytest.mark.parametrize("name", SOURCES)
def test_includes_are_written_out_once(name: str) -> None:
    text = kernel_text(name)
    assert "#include" not in text and "#pragma once" not in text
    assert text.count("typedef unsigned short bits16;") == 1
    assert 'extern "C" __global__' in text


def test_every_source_is_compiled_by_make_kernels_and_has_a_row_in_the_readme() -> None:
    compiled = (Path(__file__).parents[4] / "infra/kernels/compile_all.py").read_text(encoding="utf-8")
    readme = (ROOT / "KERNELS.md").read_text(encoding="utf-8")
    assert SOURCES
    for name in SOURCES:
        assert f'"{name}"' in compiled, name
        assert f"| {name} |" in readme, name
