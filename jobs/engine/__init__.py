"""The Engine protocol: how the job sees a model. The job does not know BERT.

`native` is ours (jobs.engine.native); `python:module:Class` loads any other: `Class(model: ModelConfig, *, device: str, threads: int)`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from jobs.errors import JobError, UsageError

if TYPE_CHECKING:
    from jobs.config import ModelConfig


@dataclass(frozen=True)
class Output:
    """One column that an engine makes. kind: "dense". dtype: "float32". dim: columns of the vector."""

    column: str
    kind: str
    dtype: str
    dim: int


@dataclass(frozen=True)
class Embedded:
    """What an engine made of one batch of texts, in the same order.

    columns: output column -> [B, dim]. num_tokens, num_tokens_dropped: [B] int32 (ids fed to the model; text tokens cut off).
    """

    columns: dict[str, np.ndarray]
    num_tokens: np.ndarray
    num_tokens_dropped: np.ndarray


class Engine(Protocol):
    """What a worker drives, from one thread. An engine may have more, and the job uses it where it is there:

    stage_seconds: {"tokenize": …, "encode": …}, busy seconds since it was made; may overlap.
    answers_promptly: true where no answer is held back for texts that are still to come, nor an exception or close() until they have come; its stream
    then stays open while there is nothing to do.
    precision, device_name, device_uuid, kernel_set: strings, for the record (and precision for the plan).
    describe(model) -> fingerprint, a class method that loads no weights: a finished dataset is then checked before anything else.
    promise(model) -> outputs, another: what cannot be stored beside the kept columns is then refused before a worker starts.
    """

    def fingerprint(self) -> dict[str, str]:
        """What changes the vectors: configuration key ("model.max_tokens") or digest ("model.weights") -> value."""
        ...

    def outputs(self) -> tuple[Output, ...]: ...

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        """Same batches, same order. A stream goes in and comes out, so that an engine overlaps its stages across batches as it likes.

        After an exception it may be called again.
        """
        ...


def load_engine(model: ModelConfig, *, device: str, threads: int, search_path: Sequence[str] = ()) -> Engine:
    """Make the engine that `model.engine` names, weights and all. device: "cpu" or "gpu". Raises UsageError where it cannot be had."""
    make = _engine_class(model.engine, search_path)
    try:
        engine: Engine = make(model, device=device, threads=threads)
    except JobError:
        raise
    except Exception as error:
        if model.engine == "native":
            raise
        raise UsageError(f"model.engine: {model.engine} could not be made: {type(error).__name__}: {error}") from error
    return engine


def describe_engine(model: ModelConfig, *, search_path: Sequence[str] = ()) -> dict[str, str] | None:
    """The fingerprint that the engine would have, with no device and no weights loaded; None where it cannot say. model.precision is resolved already."""
    describe = getattr(_engine_class(model.engine, search_path), "describe", None)
    return None if describe is None else dict(describe(model))


def promised_outputs(model: ModelConfig, *, search_path: Sequence[str] = ()) -> tuple[Output, ...]:
    """What the engine will make, with no weights loaded; empty where it cannot say. UsageError where there is no such engine or model."""
    promise = getattr(_engine_class(model.engine, search_path), "promise", None)
    return () if promise is None else tuple(promise(model))


def _engine_class(name: str, search_path: Sequence[str]) -> Any:
    if name == "native":
        from jobs.engine.native import NativeEngine

        return NativeEngine
    _, module_name, class_name = name.split(":")
    module = _import_module(module_name, search_path)
    try:
        return getattr(module, class_name)
    except AttributeError:
        raise UsageError(f"model.engine: {name}: the module {module_name} ({module.__file__}) has no {class_name}") from None


def _import_module(name: str, search_path: Sequence[str]) -> Any:
    """Import what is installed, else what lies in the search path, which comes last: it may hold folders that are called like ours."""
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
            raise UsageError(f"model.engine: the module {name} needs {error.name}, which is not installed here") from error
        searched = ", ".join(search_path) or str(Path.cwd())
        raise UsageError(f"model.engine: no module {name}: it is neither installed nor in {searched}") from error


def _is_part_of(missing: str | None, name: str) -> bool:
    """What is missing is the module itself or a package around it, not something that it imports."""
    return missing is not None and (name == missing or name.startswith(missing + "."))
