"""`module:Class` -> the class, for what a user may bring along: an engine, a target of `embermill load`. Every error begins with what asked for it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embermill.jobs.errors import UsageError


def find_class(name: str, asked: str, methods: Sequence[str], expected: str, search_path: Sequence[str] = ()) -> type:
    """name: `module:Class`. asked: "model.engine: python:…". UsageError where it is not there, or lacks one of the methods; expected: what to say then."""
    module_name, _, class_name = name.partition(":")
    module = import_module(module_name, asked, search_path)
    if not hasattr(module, class_name):
        raise UsageError(f"{asked}: the module {module_name} ({_file_of(module)}) has no {class_name}")
    found: Any = getattr(module, class_name)
    if not isinstance(found, type):
        raise UsageError(f"{asked}: {expected}, got a {type(found).__name__}")
    if missing := [method for method in methods if not callable(getattr(found, method, None)) or method in getattr(found, "__abstractmethods__", ())]:
        raise UsageError(f"{asked}: {expected}, got one without {', '.join(missing)}")
    return found


def import_module(name: str, asked: str, search_path: Sequence[str]) -> Any:
    """Import what is installed, else what lies in the search path, which comes last: it may hold folders that are called like ours."""
    option = asked.partition(":")[0]
    added = [folder for folder in search_path if folder not in sys.path]
    try:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not (added and _is_part_of(error.name, name)):
                raise
        sys.path += added
        importlib.invalidate_caches()
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not _is_part_of(error.name, name):
            raise UsageError(f"{option}: the module {name} needs {error.name}, which is not installed here{_new_name(error.name)}") from error
        searched = ", ".join(search_path) or str(Path.cwd())
        raise UsageError(f"{option}: no module {name}: it is neither installed nor in {searched}") from error
    except (Exception, SystemExit) as error:  # it is run, and may do anything; a script may end the process
        renamed = _new_name(getattr(error, "name", None))
        raise UsageError(f"{option}: the module {name} cannot be imported: {type(error).__name__}: {error}{renamed}") from error


def _file_of(module: Any) -> str:
    return getattr(module, "__file__", None) or "part of Python"


def _new_name(missing: str | None) -> str:
    """What to write in place of an import of `encoder` or `jobs`, which is what our packages were called once."""
    old = (missing or "").partition(".")[0]
    if old not in ("encoder", "jobs"):
        return ""
    example = "from embermill.jobs.engine import Embedded, Output" if old == "jobs" else "from embermill import Encoder"
    return f". If it means embermill's own, that is embermill.{missing} now: write `{example}`"


def _is_part_of(missing: str | None, name: str) -> bool:
    """What is missing is the module itself or a package around it, not something that it imports."""
    return missing is not None and (name == missing or name.startswith(missing + "."))
