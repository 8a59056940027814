"""What a configuration must not hold where another machine runs it. Nothing is opened: corpus, dataset and model may be out of reach from here."""

from __future__ import annotations

import logging
from pathlib import Path

from embermill.counts import several
from embermill.jobs.config import JobConfig, made_absolute
from embermill.jobs.errors import UsageError
from embermill.jobs.shard.names import require_apart

log = logging.getLogger(__name__)


def require_portable(config: JobConfig, here: Path, working_dir: Path | None) -> None:
    """config: as it was read, its paths as they were written. here: the folder they would be relative to. UsageError."""
    if relative := [*made_absolute(config, config.anchored(here))]:
        key, given, _ = relative[0]
        more = f" (and {several(len(relative) - 1, 'more path')})" if len(relative) > 1 else ""
        raise UsageError(
            f"{key}: {given}{more}: is relative to a folder of this machine, and the job runs on the cluster: give a URL, "
            "or the absolute path of a folder that every node of the cluster sees"
        )
    require_apart(config, config.output.uri)
    if config.model.engine != "native":
        _require_code(config.model.engine, here, working_dir)


def _require_code(engine: str, here: Path, working_dir: Path | None) -> None:
    """The engine's module is in the folder that is sent, or installed on the cluster, which its workers will tell."""
    module = engine.split(":")[1]
    if working_dir is None:
        if _holds(here, module):
            raise UsageError(f"model.engine: {engine}: the module {module} lies in {here}, which the cluster does not see: add --working-dir {here}")
    elif not _holds(working_dir, module):
        log.warning("model.engine: %s: %s holds no module %s, so it must be installed on every node of the cluster", engine, working_dir, module)


def _holds(folder: Path, module: str) -> bool:
    first = module.partition(".")[0]
    return (folder / f"{first}.py").is_file() or (folder / first).is_dir()


def require_folder(working_dir: Path) -> Path:
    """--working-dir, absolute. UsageError where it is no folder."""
    if not working_dir.is_dir():
        raise UsageError(f"--working-dir {working_dir}: expected a folder with the code of an engine")
    return working_dir.absolute()
