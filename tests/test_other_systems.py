"""What only Linux has is asked for, never taken for granted: every module can be imported where those names of `os` are absent, as on macOS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

from tests.test_walls import MODULES, ROOT, imports

ONLY_ON_LINUX = (
    "sched_getaffinity", "sched_setaffinity", "sched_getscheduler", "sched_setscheduler", "sched_getparam", "sched_rr_get_interval",
    "eventfd", "eventfd_read", "eventfd_write", "memfd_create", "pidfd_open", "setns", "unshare", "splice", "copy_file_range", "getrandom",
    "posix_fadvise", "posix_fallocate", "fdatasync", "pipe2", "getxattr", "setxattr", "listxattr", "removexattr", "getresuid", "setresuid",
    "O_DIRECT", "O_TMPFILE", "O_PATH", "O_NOATIME", "O_LARGEFILE", "RTLD_DEEPBIND", "POSIX_FADV_DONTNEED", "MFD_CLOEXEC", "EFD_CLOEXEC",
)  # fmt: skip
OTHERS = {"numpy", "pyarrow", "ray", "yaml", "rich", "pydantic", "threadpoolctl", "psutil", "obstore", "tokenizers", "cupy", "cupy_backends"}
INDEXES = {"chromadb", "duckdb", "faiss", "lancedb", "milvus_lite", "pymilvus", "pgvector", "psycopg", "qdrant_client", "qdrant_edge", "usearch"}  # of extras
IMPORT_ALL = """
import importlib, json, os, sys
others, ours, absent = json.loads(sys.stdin.read())
for name in others:
    importlib.import_module(name)
for name in absent:
    os.__dict__.pop(name, None)
for name in ours:
    importlib.import_module(name)
print(len(ours))
"""


def test_every_module_imports_without_the_linux_only_names_of_os() -> None:
    here = sorted(name for name in OTHERS | INDEXES if find_spec(name) is not None)  # imported first: theirs is their affair
    needs_a_gpu = set() if "cupy" in here else needing("cupy", "cupy_backends")
    needs_an_index = needing(*(name for name in INDEXES if find_spec(name) is None))
    ours = sorted(set(MODULES) - needs_a_gpu - needs_an_index)
    assert len(needs_a_gpu) < 20 and len(needs_an_index) < 20 and len(ours) > 150
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], input=json.dumps([here, ours, ONLY_ON_LINUX]), cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(len(ours))


def needing(*packages: str) -> set[str]:
    """Modules that import one of these when they are imported, directly or through another of ours."""
    found = {module for module in MODULES if any(at_once and name.partition(".")[0] in packages for name, at_once in imports(module))}
    while more := {module for module in MODULES if any(at_once and name in found for name, at_once in imports(module))} - found:
        found |= more
    return found


def test_the_names_are_those_that_linux_has() -> None:
    """Or a misspelt one would guard nothing."""
    assert sys.platform != "linux" or sum(hasattr(os, name) for name in ONLY_ON_LINUX) > len(ONLY_ON_LINUX) - 4


def test_cores_where_there_is_no_affinity(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from embermill.encoder.device import usable_threads
    from embermill.jobs.process.cores import usable_cores

    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert usable_cores() == 3 and 1 <= usable_threads() <= 3
