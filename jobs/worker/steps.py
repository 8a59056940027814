"""What a worker does for a sync without an engine: keys, scan, difference, copy; one task after another, each of which publishes its files once."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial

import numpy as np

from embermill.jobs.chunking.cutter import Cut, Cutter, Document
from embermill.jobs.chunking.late import LateCutter
from embermill.jobs.config import JobConfig
from embermill.jobs.corpus.to_cut import documents_to_cut, markdown_test
from embermill.jobs.dataset.metadata.versions import Version, read_version
from embermill.jobs.difference.base_keys import collect_keys, split_keys, with_keys
from embermill.jobs.difference.claim import Claim, inputs_of, read_claim
from embermill.jobs.difference.copying import CopyingEngine
from embermill.jobs.difference.differing import differ
from embermill.jobs.difference.document_cuts import publish_cuts, read_documents
from embermill.jobs.difference.importing import import_vectors
from embermill.jobs.difference.making import VersionFolder, sync_folder, texts_of, upserts_of
from embermill.jobs.difference.scan import scan
from embermill.jobs.difference.selecting import read_selected
from embermill.jobs.difference.writing import Writes
from embermill.jobs.engine.cutter import make_cutter
from embermill.jobs.engine.loading import preview_engine
from embermill.jobs.errors import UsageError
from embermill.jobs.partition import Partition
from embermill.jobs.plan.files import Plan, read_plan
from embermill.jobs.receipt import COLLECT_KEYS, COPY, CUT, DIFFERENCE, IMPORT, SCAN, SPLIT_KEYS, Done, Event, Ready, Task
from embermill.jobs.shard.writer import ShardWriter
from embermill.jobs.storage import Folder, open_folder
from embermill.jobs.worker.cutting import LIMITS
from embermill.jobs.worker.failures import failure
from embermill.jobs.worker.isolation import SOUND
from embermill.jobs.worker.pipeline import Pipeline
from embermill.jobs.worker.refused_texts import partition_of, refused_texts
from embermill.jobs.worker.selected import SelectedRows, selected
from embermill.jobs.worker.task_queue import TaskQueue
from embermill.jobs.worker.writing import Work


class Steps:
    """dataset: the whole one. version: that is being made, or whose keys are. search_path: as of a WorkerJob."""

    def __init__(self, config: JobConfig, dataset: Folder, version: int, provenance: dict[str, str], search_path: Sequence[str] = ()) -> None:
        self._config, self._search_path = config, search_path
        self._dataset, self._version, self._provenance = dataset, version, provenance

    def start(self) -> Ready:
        return self.ready("cpu", 1)

    def ready(self, device: str, threads: int) -> Ready:
        """The report of a worker that is ready as soon as it runs; what an engine would be is what the plan says."""
        plan = self._plan
        return Ready(
            device_kind=device, device_name=platform.processor() or platform.machine(), device_uuid="", precision=plan.precision,
            fingerprint=plan.fingerprint, outputs=plan.outputs, host=socket.gethostname(), pid=os.getpid(), threads=threads,
        )  # fmt: skip

    def run(self, tasks: TaskQueue[Task], emit: Callable[[Event], None]) -> None:
        """Until the queue is finished."""
        while tasks.wait():
            self.run_queued(tasks, emit)

    def run_queued(self, tasks: TaskQueue[Task], emit: Callable[[Event], None]) -> None:
        while (task := tasks.take(0)) is not None:
            if task.kind == COPY:
                self._copy(task, emit)
                continue
            try:
                receipt = self._publish(task)
            except Exception as error:
                emit(failure(task, error))
                continue
            emit(receipt)
            emit(Done(task.partition.number, task.attempt))

    def _publish(self, task: Task) -> Event:
        """Tasks that publish one file."""
        if task.kind in (SPLIT_KEYS, COLLECT_KEYS):
            make = split_keys if task.kind == SPLIT_KEYS else collect_keys
            return make(self._dataset, self._plan, self._keyless, self._numbers, task.partition)
        if task.kind == SCAN:
            return self._scan(task)
        if task.kind == DIFFERENCE:
            return self._differ(task)
        if task.kind == CUT:
            return self._cut(task.partition)
        if task.kind == IMPORT:
            return import_vectors(self._dataset, self._version, task.partition, self._plan)
        raise ValueError(f"a worker without an engine was given a task of kind {task.kind!r}")

    def _scan(self, task: Task) -> Event:
        rows = replace(self._plan.rows, on_bad_file=self._claim.options.get("on_bad_file", self._plan.rows.on_bad_file))
        return scan(self._dataset, self._version, task.partition, rows, self._claim.numbers, self._claim.buckets, self._unreadable)

    def _differ(self, task: Task) -> Event:
        scans = [name for name, _ in self._dataset.list(f"{sync_folder(self._version)}/scan")]
        return differ(self._dataset, self._claim, self._parent, scans, task.partition, self._plan.rows.key_type)

    def _cut(self, partition: Partition) -> Event:
        """The documents of a scanned partition that are to be written."""
        rows = read_documents(self._dataset, self._version, partition.number)
        return publish_cuts(self._dataset, self._version, partition, self._cut_batches(partition, rows), rows)

    def _cut_batches(self, partition: Partition, rows: np.ndarray) -> Iterator[tuple[Sequence[Document], Sequence[Cut]]]:
        schema, of_markdown = self._plan.rows, markdown_test(self._config.chunk.rules)
        for batch in read_selected(partition, schema.of_documents, rows):
            documents = documents_to_cut(batch, schema, of_markdown)
            yield documents, self._cutter.cut(documents)

    @cached_property
    def _cutter(self) -> Cutter | LateCutter:
        preview = preview_engine(self._config.model, self._plan.device_kind, search_path=self._search_path)
        return make_cutter(self._config, preview, search_path=self._search_path)

    def _copy(self, task: Task, emit: Callable[[Event], None]) -> None:
        """Through the pipeline that embeds, with an engine that copies."""
        plan, rows = self._version_plan, self._selected
        made = embedded_shards(self._dataset, self._version, rows.writes, plan)
        engine = CopyingEngine(plan, rows.of(task.partition), rows.writes.sources, open_dataset=self._open, made=made, refused=self._refused, sound=SOUND)
        folder = VersionFolder(self._dataset, self._version)
        work = Work(rows.read, partial(ShardWriter, folder, plan), plan.rows_per_shard, LIMITS["cpu"], provenance=self._provenance)
        alone = TaskQueue[Task]()
        alone.put(task)
        alone.finish()
        Pipeline(engine, work, emit).run(alone)

    def _refused(self) -> dict[bytes, str]:
        return self._refused_texts

    @cached_property
    def _refused_texts(self) -> dict[bytes, str]:
        """Looked at where a text has no vector, once all are embedded."""
        chunked = self._plan.rows.is_chunked
        return refused_texts(self._dataset, self._version, self._selected, self._version_plan.partitions, chunked=chunked)

    def _open(self, address: str) -> Folder:
        return open_folder(address) if address else self._dataset

    @cached_property
    def _plan(self) -> Plan:
        return _required(read_plan(self._dataset), self._dataset)

    @cached_property
    def _version_plan(self) -> Plan:
        return _required(read_plan(VersionFolder(self._dataset, self._version)), self._dataset)

    @cached_property
    def _claim(self) -> Claim:
        return read_claim(self._dataset, self._version)

    @cached_property
    def _parent(self) -> Version:
        return with_keys(self._dataset, read_version(self._dataset, self._claim.parent))

    @cached_property
    def _keyless(self) -> Version:
        """The version whose keys are made."""
        return read_version(self._dataset, self._version)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """Path -> number, of the corpus files that it was made from."""
        return {file.path: file.number for file in inputs_of(self._dataset, self._plan, self._keyless).files}

    @cached_property
    def _selected(self) -> SelectedRows:
        return selected(self._dataset, self._version, self._plan.rows)

    @cached_property
    def _unreadable(self) -> dict[str, str]:
        return {}


def embedded_shards(dataset: Folder, version: int, writes: Writes, plan: Plan) -> list[str]:
    """Names of the shards in which this version's own texts have their vectors."""
    if plan.rows.is_chunked:
        return [name for name, _ in dataset.list(f"{texts_of(version)}/data")]
    return [name for name, _ in dataset.list(upserts_of(version)) if is_before(name, writes.embedded)]


def is_before(name: str, partition: int) -> bool:
    """Whether a shard is of a partition with a lower number."""
    number = partition_of(name)
    return number is not None and number < partition


def _required(plan: Plan | None, folder: Folder) -> Plan:
    if plan is None:
        raise UsageError(f"{folder.root}: the driver has written a plan there and the worker on {socket.gethostname()} sees none")
    return plan
