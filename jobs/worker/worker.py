"""Worker: one engine on its one device, in a process of its own. It reports itself, then embeds what it is given."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.metadata import version

import pyarrow as pa

from embermill.jobs.config import JobConfig
from embermill.jobs.corpus.reading import read_rows
from embermill.jobs.corpus.rows import RowBatch
from embermill.jobs.difference.making import TextsFolder, VersionFolder
from embermill.jobs.engine import Engine
from embermill.jobs.engine.late import engine_of_chunks
from embermill.jobs.engine.loading import load_engine
from embermill.jobs.errors import UsageError
from embermill.jobs.partition import Partition
from embermill.jobs.plan.files import Plan, read_plan, require_plan
from embermill.jobs.process.device_tuning import cutting_processes, tokenizing_processes
from embermill.jobs.receipt import MEASURE, Event, Ready, Task
from embermill.jobs.shard.writer import ShardWriter
from embermill.jobs.storage import Folder, open_folder
from embermill.jobs.worker.chunk_rows import reader_of_chunks
from embermill.jobs.worker.cut_processes import CutProcesses, open_processes
from embermill.jobs.worker.cutting import LIMITS
from embermill.jobs.worker.failures import failure
from embermill.jobs.worker.measuring import measure
from embermill.jobs.worker.pipeline import Pipeline
from embermill.jobs.worker.reuse import KnownVectors, ReusingEngine
from embermill.jobs.worker.selected import selected
from embermill.jobs.worker.steps import Steps
from embermill.jobs.worker.task_queue import TaskQueue
from embermill.jobs.worker.token_check import TokenCheck
from embermill.jobs.worker.writing import Work
from embermill.jobs.worker.writing_helpers import helpers_for

log = logging.getLogger(__name__)

VISIBLE_DEVICES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")  # of ROCm the second alone: ROCR_VISIBLE_DEVICES below it hides devices twice

SHARED = "expected storage that all nodes share: an object store, or a file system mounted at the same path everywhere"


@dataclass(frozen=True)
class Making:
    """The version that a sync makes. with_engine: False for a worker that scans, compares and copies, and needs no model. texts: of a dataset of chunks,
    for one that embeds texts which documents of the version take their vectors from."""

    version: int
    with_engine: bool
    texts: bool = False

    def folder(self, dataset: Folder) -> VersionFolder:
        return TextsFolder(dataset, self.version) if self.texts else VersionFolder(dataset, self.version)


@dataclass(frozen=True)
class WorkerJob:
    """What a worker is made from; crosses to its process.

    device: "cpu" or "gpu". threads: what it may use of the CPU. mark: (name, content) of a file that the driver has put into the dataset's folder.
    search_path: folders in which the driver would find the module of a python: engine. making: None for a run, which makes version 1.
    """

    config: JobConfig
    device: str
    threads: int
    mark: tuple[str, bytes] | None = None
    search_path: tuple[str, ...] = ()
    making: Making | None = None


class Worker:
    """start, then any number of run. Raises UsageError where it must not work."""

    def __init__(self, job: WorkerJob) -> None:
        self._job = job
        self._dataset = open_folder(job.config.output.uri, looks_first=job.config.output.on_unconditional_puts == "accept")
        self._folder: Folder = self._dataset if job.making is None else job.making.folder(self._dataset)

    def start(self) -> Ready:
        """See the one device and the driver's storage, load the engine, report."""
        begin = time.monotonic()
        job = self._job
        pa.set_cpu_count(max(1, job.threads))
        if job.device == "gpu":
            require_one_device(os.environ)
        self._see_mark()
        if self._steps is not None:
            return self._steps.ready(job.device, job.threads)
        engine, _ = self._engine, self._cutters  # which find the model where the engine has put it, and open its tokenizer while the driver plans
        return Ready(
            device_kind=job.device,
            device_name=getattr(engine, "device_name", "") or platform.processor() or platform.machine(),
            device_uuid=getattr(engine, "device_uuid", ""),
            precision=getattr(engine, "precision", "float32"),
            fingerprint=engine.fingerprint(),
            outputs=tuple(engine.outputs()),
            host=socket.gethostname(),
            pid=os.getpid(),
            threads=job.threads,
            kernel_set=getattr(engine, "kernel_set", ""),
            seconds_to_load=time.monotonic() - begin,
            shortening=getattr(engine, "shortening", None),
        )

    def run(self, tasks: TaskQueue[Task], emit: Callable[[Event], None]) -> None:
        """Do what is queued, until the queue is finished."""
        if self._steps is not None:
            self._steps.run(tasks, emit)
            return
        self._warm_up()
        while tasks.wait() and self._measure_next(tasks, emit):
            pass
        if tasks.wait():
            Pipeline(self._working_engine, self._work, emit).run(tasks)

    def _warm_up(self) -> None:
        """While the driver writes the plan: what the first batch would have to wait for. Whatever fails here fails there again, where it is judged."""
        warm_up, tokenize_beside = (getattr(self._engine, name, None) for name in ("warm_up", "tokenize_beside"))
        if tokenize_beside is not None and (count := tokenizing_processes(self._job.device, self._job.threads)):
            with contextlib.suppress(OSError):  # it tokenizes itself
                tokenize_beside(count)
        if warm_up is not None:
            with contextlib.suppress(Exception):
                warm_up()

    def run_queued(self, tasks: TaskQueue[Task], emit: Callable[[Event], None]) -> None:
        """Do what is queued, until nothing is."""
        if self._steps is not None:
            self._steps.run_queued(tasks, emit)
            return
        while self._measure_next(tasks, emit):
            pass
        if not tasks.empty:
            Pipeline(self._working_engine, self._work, emit).run_queued(tasks)

    def _measure_next(self, tasks: TaskQueue[Task], emit: Callable[[Event], None]) -> bool:
        """Answer the next task, if it is to measure a sample; there is no plan by then."""
        task = tasks.take(0)
        if task is None or task.kind != MEASURE:
            tasks.put_back([] if task is None else [task])
            return False
        try:
            emit(measure(self._engine, task, emit))
        except Exception as error:
            emit(failure(task, error))
        return True

    @cached_property
    def _steps(self) -> Steps | None:
        """Of a worker that needs no engine."""
        making = self._job.making
        return None if making is None or making.with_engine else self._steps_of(making.version)

    def _steps_of(self, version: int) -> Steps:
        return Steps(self._job.config, self._dataset, version, self._provenance_of("", ""), self._job.search_path)

    @cached_property
    def _engine(self) -> Engine:
        job = self._job
        return load_engine(job.config.model, device=job.device, threads=job.threads, search_path=job.search_path)

    @cached_property
    def _cutters(self) -> CutProcesses | None:
        """Processes that cut documents, of a worker that makes version 1 with several cores; else the thread that reads cuts."""
        job = self._job
        count = cutting_processes(job.device, job.threads) if job.config.model.on_long_text == "split" and job.making is None else 0
        return open_processes(job.config, job.device, job.search_path, count)

    @cached_property
    def _plan(self) -> Plan:
        """Known once there is something to do: by then it stands in the dataset's folder."""
        plan = read_plan(self._folder)
        if plan is None:
            raise UsageError(f"{self._folder.root}: the driver has written a plan there and the worker on {socket.gethostname()} sees none: {SHARED}")
        return plan

    @cached_property
    def _engine_of_rows(self) -> Engine:
        """What a row's text goes to."""
        return engine_of_chunks(self._job.config, self._engine)

    @cached_property
    def _working_engine(self) -> Engine:
        """The engine, asked only for what shards that are stood in for do not hold already."""
        engine = self._engine_of_rows
        return ReusingEngine(engine, KnownVectors(self._folder, self._plan)) if self._plan.superseded else engine

    @cached_property
    def _work(self) -> Work:
        plan = self._plan
        unreadable = {str(entry["path"]): str(entry["error"]) for entry in plan.listing if entry["error"]}
        read: Callable[[Partition], Iterator[RowBatch]] = partial(read_rows, schema=plan.rows.of_documents, unreadable=unreadable)
        making = self._job.making
        if making is None:
            read = reader_of_chunks(self._job.config, self._job.device, plan.rows, read, self._job.search_path, self._cutters)
        else:
            read = selected(self._dataset, making.version, require_plan(self._dataset).rows).read
        plan = self._plan = replace(plan, partitions=(), listing=())  # they come with the tasks, one by one; here they would only take memory
        return Work(
            read=read,
            open_shard=partial(ShardWriter, self._folder, plan, **helpers_for(self._job.threads)),
            rows_per_shard=plan.rows_per_shard,
            limits=LIMITS[self._job.device],
            refuse_long_texts=self._job.config.model.on_long_text == "error" or (making is not None and making.texts),
            tokens=TokenCheck(self._engine_of_rows, self._dataset, may_be_fast=making is None),  # what a sync embeds is tokenized exactly
            provenance=self._provenance(),
        )

    def _provenance(self) -> dict[str, str]:
        engine = self._engine
        return self._provenance_of(getattr(engine, "device_uuid", "") or getattr(engine, "device_name", ""), getattr(engine, "kernel_set", ""))

    @staticmethod
    def _provenance_of(device: str, kernel_set: str) -> dict[str, str]:
        worker = f"{socket.gethostname()}:{os.getpid()}"
        return {"worker": worker, "device": device or platform.machine(), "kernel_set": kernel_set, "version": version("embermill")}

    def _see_mark(self) -> None:
        """A relative path on sixteen machines is sixteen disks: read back what the driver has written."""
        if self._job.mark is None:
            return
        name, content = self._job.mark
        try:
            seen = self._folder.read(name)
        except FileNotFoundError:
            seen = b""
        if seen != content:
            raise UsageError(
                f"output.uri: {self._folder.root}: the worker on {socket.gethostname()} does not see what the driver wrote there: {SHARED}"
            )


def require_one_device(environment: Mapping[str, str]) -> str:
    """The one device that Ray has given to this worker. UsageError where it is none or several: two workers would share a GPU, or one would see all."""
    for name in VISIBLE_DEVICES:
        if name in environment:
            devices = [device for device in environment[name].split(",") if device.strip()]
            if len(devices) != 1:
                raise UsageError(f"a GPU worker must see exactly one device; {name}={environment[name]!r} shows {len(devices)} on {socket.gethostname()}")
            return devices[0]
    raise UsageError(f"a GPU worker must see exactly one device; neither {' nor '.join(VISIBLE_DEVICES)} is set on {socket.gethostname()}")
