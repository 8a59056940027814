"""What is sent to the cluster: one archive with the configuration, the script that starts it, and the code of an engine; and the command for the head.

Credentials are in none of them: a configuration cannot hold any, and nothing of this machine's environment is passed on.
"""

from __future__ import annotations

import shlex
import zipfile
from pathlib import Path
from typing import Any

import yaml

from embermill.jobs.config import JobConfig
from embermill.jobs.errors import UsageError
from embermill.jobs.submit.start import ONE_NODE

CONFIG, SCRIPT = "embermill-job.yaml", "embermill-start.py"
GRACE_S = 60  # between SIGTERM and SIGKILL, when a job is stopped; Ray's own 3 s are too short to commit what is ready
SAME_TIME = (1980, 1, 1, 0, 0, 0)  # in the archive, so that an unchanged job is the same archive and is not sent again


def runtime_env(archive: Path) -> dict[str, Any]:
    return {"working_dir": str(archive), "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(GRACE_S)}}


def entrypoint(*, one_node: bool) -> str:
    """`exec`, so that a signal reaches the driver and not a shell before it."""
    return "exec " + shlex.join(["python3", SCRIPT, *([ONE_NODE] if one_node else []), *command()])


def command() -> list[str]:
    """Arguments of `embermill` on the head."""
    return ["run", CONFIG, "--json", "--progress", "record"]


def config_text(config: JobConfig) -> str:
    """The configuration as YAML, complete: what is a default here is written down, as the cluster's version may have another one."""
    document = config.model_dump(mode="json") | {"ray": {"address": "auto"}}
    document["corpus"]["keep_columns"] = [{source: name} for source, name in config.corpus.keep_columns]
    document["corpus"]["types"] = dict(config.corpus.types)
    document["workers"] |= {"resources": dict(config.workers.resources), "labels": dict(config.workers.labels)}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def complete_archive(archive: Path, config: JobConfig) -> None:
    """Add to an archive, which may hold the code of an engine already or not exist yet, what every job needs."""
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as made:
        if taken := {CONFIG, SCRIPT} & {*made.namelist()}:
            raise UsageError(f"--working-dir: holds a file {taken.pop()}, a name that embermill's own files have: rename it")
        _add(made, CONFIG, config_text(config).encode())
        _add(made, SCRIPT, (Path(__file__).parent / "start.py").read_bytes())


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, SAME_TIME)
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)
