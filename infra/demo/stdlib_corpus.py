"""The documentation of the Python standard library as a corpus: one row per docstring of its public modules, classes and functions.

    python infra/demo/stdlib_corpus.py demo/corpus

writes demo/corpus/stdlib.parquet with the columns id (`zipfile.ZipFile.open`), title (`zipfile.ZipFile.open(name, mode='r', ...)`), body
(the docstring) and module (`zipfile`). The source files of the running interpreter are parsed and nothing is imported, in the order of
their names: one interpreter always gives the same rows in the same order.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

# Programs, tests and third-party code that live beside the library.
LEFT_OUT = {"__pycache__", "idlelib", "lib2to3", "site-packages", "test", "tests", "turtledemo"}
ROW_GROUP_ROWS = 256


class Row(NamedTuple):
    """One docstring."""

    id: str
    title: str
    body: str
    module: str


def public_modules(library: Path) -> list[tuple[str, Path]]:
    """(dotted name, file) of every public module under `library`, sorted by name."""
    found = []
    for path in library.rglob("*.py"):
        parts = path.relative_to(library).with_suffix("").parts
        if LEFT_OUT.isdisjoint(parts) and not any(part.startswith("_") and part != "__init__" for part in parts):
            found.append((".".join(parts).removesuffix(".__init__"), path))
    return sorted(found)


def definitions(node: ast.AST, name: str) -> Iterator[tuple[str, str, str]]:
    """(dotted name, title, docstring) of every public class and function below `node`, in source order; what is local to a function is not public."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef() if not child.name.startswith("_"):
                inner = f"{name}.{child.name}"
                if body := ast.get_docstring(child):
                    yield inner, title(child, inner), body
                if isinstance(child, ast.ClassDef):
                    yield from definitions(child, inner)
            case ast.If() | ast.Try() | ast.With() | ast.ExceptHandler():
                yield from definitions(child, name)


def title(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> str:
    """A class's name, or a function's with the arguments that a caller gives."""
    if isinstance(node, ast.ClassDef):
        return f"class {name}"
    arguments = node.args
    for positional in (arguments.posonlyargs, arguments.args):
        if positional and positional[0].arg in ("self", "cls"):
            del positional[0]
            break
    return f"{name}({ast.unparse(arguments)})"


def rows(library: Path) -> Iterator[Row]:
    """Every row of the corpus; of several definitions under one name the second is called NAME#2, and so on."""
    for module, path in public_modules(library):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # old escapes in a file of the library are none of the reader's business
            tree = ast.parse(path.read_bytes(), filename=str(path))
        if body := ast.get_docstring(tree):
            yield Row(module, f"module {module}", body, module)
        times: Counter[str] = Counter([module])
        for name, heading, text in definitions(tree, module):
            times[name] += 1
            yield Row(name if times[name] == 1 else f"{name}#{times[name]}", heading, text, module)


def write_corpus(folder: Path, library: Path | None = None) -> tuple[int, int]:
    """Write folder/stdlib.parquet; (docstrings, bytes of text). The library is this interpreter's unless another is named."""
    library = library or Path(sysconfig.get_path("stdlib"))
    found = [*rows(library)]
    if not found:
        raise SystemExit(f"{library}: expected the source of the standard library, found no docstring; name a Python that has it: make demo PYTHON=...")
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table({column: [getattr(row, column) for row in found] for column in Row._fields})
    unfinished = folder / ".stdlib.parquet"
    pq.write_table(table, unfinished, row_group_size=ROW_GROUP_ROWS, compression="zstd")
    unfinished.replace(folder / "stdlib.parquet")
    return len(found), sum(len(row.title.encode()) + len(row.body.encode()) for row in found)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    count, size = write_corpus(Path(sys.argv[1]))
    print(f"{count:,} docstrings of Python {sys.version.split()[0]}, {size / 1e6:.1f} MB of text -> {sys.argv[1]}/stdlib.parquet")


if __name__ == "__main__":
    main()
