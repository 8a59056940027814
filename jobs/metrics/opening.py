"""A ledger for one command: with the ways out that were asked for, and what the newest version of the dataset is, before it and at its end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from embermill.jobs.config import JobConfig
from embermill.jobs.dataset.metadata.versions import read_version
from embermill.jobs.metrics.ledger import Ledger, Sink
from embermill.jobs.metrics.text_file import TextFile
from embermill.jobs.storage import open_folder

log = logging.getLogger(__name__)


@contextlib.contextmanager
def open_ledger(config: JobConfig, file: str | None) -> Iterator[Ledger]:
    """file: `--metrics FILE`, None without one. On a cluster that is joined Ray's exporter is told, too."""
    sinks: list[Sink] = [] if file is None else [TextFile(Path(file))]
    if config.ray.address is not None:
        from embermill.jobs.metrics.ray_metrics import RayMetrics

        sinks.append(RayMetrics(config))
    ledger = Ledger(open_folder(config.output.uri).root, *sinks)
    if sinks:
        _note_version(ledger, config)
    try:
        yield ledger
    finally:
        if sinks:
            _note_version(ledger, config)
            ledger.ended()


def _note_version(ledger: Ledger, config: JobConfig) -> None:
    try:
        newest = read_version(open_folder(config.output.uri))
        ledger.version(newest.number, datetime.fromisoformat(newest.created).timestamp())
    except Exception as error:  # none yet, or a dataset that cannot be read, which the command itself has told
        log.debug("no version to tell of: %s", error)
