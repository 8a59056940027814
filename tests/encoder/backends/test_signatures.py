"""Every backend offers the vocabulary as ops/base.py words it: the same names, the same arguments in the same order, the same defaults.

Read from the source, since a GPU's backend cannot be imported where there is none.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ENCODER = Path(__file__).parents[3] / "encoder"
BASE = ENCODER / "ops" / "base.py"
OFFERED = [ENCODER / "ops" / "reference.py", *sorted((ENCODER / "backends").glob("*/ops.py")), ENCODER / "backends" / "cupy" / "pooled.py"]
BUILDS_UPON = {"cuda": ["cupy/ops.py", "cupy/pooled.py"], "cupy": ["cupy/pooled.py"]}
SAME = {"DeviceArray": "Activations", "Array": "np.ndarray"}


def methods(file: Path, suffix: str) -> dict[str, ast.FunctionDef]:
    """Of the one class of `file` whose name ends so."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    (found,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.endswith(suffix) and node.bases]
    return {node.name: node for node in found.body if isinstance(node, ast.FunctionDef)}


def signature(method: ast.FunctionDef) -> str:
    """Arguments with annotations, kinds and defaults; names for the same array count as one."""
    text = ast.unparse(method.args)
    for ours, theirs in SAME.items():
        text = text.replace(f": {ours}", f": {theirs}")
    return text


VOCABULARY = {name: method for name, method in methods(BASE, "Ops").items() if not name.startswith("_")}
OPAQUE = {"l2_normalize", "to_device", "to_host", "program", "recognize"}  # what flows has a type of the backend's own here; the names count


@pytest.mark.parametrize("file", OFFERED, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_signatures_are_those_of_the_vocabulary(file: Path) -> None:
    for name, method in methods(file, "Ops").items():
        if name in VOCABULARY and name not in OPAQUE:
            assert signature(method) == signature(VOCABULARY[name]), f"{file}: {name}"
        elif name in OPAQUE:
            assert [argument.arg for argument in method.args.args] == [argument.arg for argument in VOCABULARY[name].args.args], f"{file}: {name}"


def test_every_backend_has_every_operation() -> None:
    """Of its own or from the backend that it builds upon."""
    abstract = {name for name, method in VOCABULARY.items() if any(ast.unparse(line) == "abstractmethod" for line in method.decorator_list)}
    for file in OFFERED:
        if file.stem == "pooled":
            continue
        files = [file, *(file.parents[1] / other for other in BUILDS_UPON.get(file.parent.name, []))]
        offered = {name for one in files for name in methods(one, "Ops")}
        assert abstract <= offered, f"{file}: {sorted(abstract - offered)} missing"
    assert len(abstract) >= 14
