"""Relative paths of a configuration: made absolute under the working directory once, told, and refused where they would not last."""

from __future__ import annotations

import re
from pathlib import Path

from embermill.jobs.errors import UsageError
from embermill.jobs.storage.local_path import is_there, local_path

_VARIABLE = re.compile(r"(?<![^/])\$(?:[A-Za-z_]\w*|\{[A-Za-z_]\w*\})(?=/|$)")  # a whole part of a path
RAY_RESOURCES = "runtime_resources"  # the folder of a Ray session that holds its copies of submitted folders


def require_lasting(uri: str, folder: Path) -> None:
    """UsageError for a relative output.uri in a job that Ray runs in its own copy of the submitted folder."""
    if "://" not in uri and not local_path(uri).is_absolute() and RAY_RESOURCES in folder.parts:
        raise UsageError(
            f"output.uri: {uri} is relative to {folder}, Ray's copy of the folder that was submitted: every node has its own, and Ray deletes it. "
            "Expected an absolute path that all nodes share, or a URL"
        )


def require_replaced(uri: str, folder: Path) -> None:
    """UsageError for an output.uri with `$HOME` or `${HOME}` in it, which only a shell replaces: a new folder would be called that."""
    if "://" not in uri and (found := _VARIABLE.search(uri)) and not is_there(Path(absolute(uri, folder))):
        raise UsageError(
            f"output.uri: {uri}: {found[0]} is not replaced here, and would be a folder of that name: write the path itself (`~/` begins the home folder), or "
            f'let the shell replace it, in double quotes: --set "output.uri={uri}"'
        )


def absolute(address: str, folder: Path) -> str:
    return address if "://" in address else str(folder / local_path(address))


def anchored_source(source: str | None, folder: Path) -> str | None:
    """A hub id looks like a relative path: it is a folder only where one is there, or where it is written as a path."""
    if source is None or "://" in source or source.startswith("package:"):
        return source
    try:
        path = folder / Path(source).expanduser()
        return str(path) if source.startswith((".", "/", "~")) or path.exists() else source
    except (OSError, RuntimeError, ValueError):  # a name that no file has: too long, a user that is not there, a zero byte
        return source
