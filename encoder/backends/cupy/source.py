"""Kernel sources: files of this package, their `#include "…"` lines written out, so that one text is compiled, hashed and cached."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
"""The backends' folders: kernel `cupy/layer_norm.cu` lies in cupy/kernels/."""
INCLUDE = re.compile(r'^#include "([^"]+)"\s*$', re.MULTILINE)


def kernel_text(name: str) -> str:
    """The translation unit of `name` ("cupy/layer_norm.cu"): every included file once, where it is first named."""
    return _expand(kernel_file(name), set())


def kernel_file(name: str) -> Path:
    backend, _, file = name.partition("/")
    return ROOT / backend / "kernels" / file


def _expand(file: Path, seen: set[Path]) -> str:
    def include(match: re.Match[str]) -> str:
        wanted = (file.parent / match[1]).resolve()
        if wanted in seen:
            return ""
        seen.add(wanted)
        return _expand(wanted, seen)

    return INCLUDE.sub(include, file.read_text(encoding="utf-8").replace("#pragma once\n", ""))
