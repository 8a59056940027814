"""What is shipped and what is locked: every package and kernel source is in the wheel, and the lock is exact, hashed and without addresses."""

from __future__ import annotations

import ast
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest

from infra.demo import stdlib_corpus

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ("lock.txt", "lock-test.txt", "lock-reference.txt", "model.txt")
REQUIREMENT = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?: \\\n    --hash=sha256:[0-9a-f]{64})+")


def locked(*files: str) -> dict[str, str]:
    """name -> version of every requirement in these locks. Fails on a line that is anything but a comment or an exact requirement with hashes."""
    found: dict[str, str] = {}
    for file in files:
        text = (ROOT / "infra" / file).read_text()
        stripped = REQUIREMENT.sub("", re.sub(r"^#.*$", "", text, flags=re.MULTILINE))
        assert not stripped.strip(), f"infra/{file}: {stripped.strip().splitlines()[0]}"
        found |= {match["name"]: match["version"] for match in REQUIREMENT.finditer(text)}
    return found


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9_.-]", requirement)[0].lower().replace("_", "-") for requirement in requirements}


@pytest.mark.parametrize("file", LOCKS)
def test_locks_are_exact_hashed_and_hold_no_address(file: str) -> None:
    assert locked(file)
    assert "://" not in (ROOT / "infra" / file).read_text()


def test_locks_hold_what_the_project_asks_for() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert names([*PROJECT["project"]["dependencies"], *extras["build"]]) <= set(locked("lock.txt"))
    assert names(extras["test"]) <= {*locked("lock.txt"), *locked("lock-test.txt")}  # ray has another extra there
    assert names(extras["reference"]) - {"torch"} <= set(locked("lock-reference.txt"))


def test_torch_and_cuda_are_in_no_lock() -> None:
    assert not [name for name in locked(*LOCKS) if name == "torch" or name.startswith(("nvidia-", "cuda-", "cupy", "triton"))]


def test_what_is_installed_is_what_is_locked() -> None:
    from importlib.metadata import PackageNotFoundError, version

    for name, wanted in locked("lock.txt").items():
        try:
            found = version(name)
        except PackageNotFoundError:
            continue
        if found != wanted:
            pytest.skip(f"this environment was not made by `make`: it has {name} {found}, locked is {wanted}")


def test_every_package_is_shipped() -> None:
    from setuptools import find_packages

    modules = [path for package in ("encoder", "jobs") for path in (ROOT / package).rglob("*.py")]
    folders = {"embermill." + path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in modules}
    found = set(find_packages(str(ROOT), include=PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]))
    assert found == {"embermill", *folders}


def test_every_kernel_source_is_shipped() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["embermill.encoder"]
    shipped = {path for pattern in patterns for path in (ROOT / "encoder").glob(pattern)}
    sources = {path for path in (ROOT / "encoder").rglob("*") if path.suffix in {".cu", ".cuh", ".c", ".h", ".hip"}}
    assert sources <= shipped


def test_every_compiled_source_is_built_and_waited_for() -> None:
    """A wheel is made of the sources, and rebuilt where a header changes."""
    (module,) = PROJECT["tool"]["setuptools"]["ext-modules"]
    folder = Path(*module["name"].split(".")[:-1], "kernels")
    for key, pattern in (("sources", "*.c"), ("depends", "*.h")):
        assert sorted(module[key]) == sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / folder).glob(pattern))
    assert module["optional"]


def test_the_demo_corpus_is_every_public_docstring_once(tmp_path: Path) -> None:
    library = tmp_path / "lib"
    (library / "pack").mkdir(parents=True)
    (library / "test").mkdir()
    (library / "_private.py").write_text('"""no"""')
    (library / "test/hidden.py").write_text('"""no"""')
    (library / "pack/__init__.py").write_text('"""The package."""\n')
    (library / "plain.py").write_text(
        '"""The module."""\n'
        "def f(a, *, b=1):\n    'Does f.'\n    def g():\n        'local'\n"
        "class C:\n    '''About C.\n\n    More.'''\n    def m(self, x): 'Does m.'\n    def _p(self): 'no'\n"
        "if True:\n    def f(a): 'Another f.'\n"
    )
    rows = [tuple(row) for row in stdlib_corpus.rows(library)]
    assert rows == [
        ("pack", "module pack", "The package.", "pack"),
        ("plain", "module plain", "The module.", "plain"),
        ("plain.f", "plain.f(a, *, b=1)", "Does f.", "plain"),
        ("plain.C", "class plain.C", "About C.\n\nMore.", "plain"),
        ("plain.C.m", "plain.C.m(x)", "Does m.", "plain"),
        ("plain.f#2", "plain.f(a)", "Another f.", "plain"),
    ]


@pytest.mark.long
def test_the_demo_corpus_of_this_interpreter(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    before = set(sys.modules)
    count, size = stdlib_corpus.write_corpus(tmp_path)
    assert not {"antigravity", "this"} & (set(sys.modules) - before), "modules are parsed, never imported"
    ids = pq.read_table(tmp_path / "stdlib.parquet")["id"].to_pylist()
    assert len(set(ids)) == len(ids) == count > 4000 and size > 1_000_000
    assert "zipfile.ZipFile.open" in ids
    package = Path(os.__file__).parent / "email"  # of the whole it would take twice as long
    first, second = ((stdlib_corpus.write_corpus(tmp_path / name, package), (tmp_path / name / "stdlib.parquet").read_bytes()) for name in ("one", "two"))
    assert first == second


def test_every_module_says_what_it_is() -> None:
    modules = [path for package in ("encoder", "jobs") for path in (ROOT / package).rglob("*.py") if path.read_text(encoding="utf-8").strip()]
    assert not [path for path in modules if ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) is None]
