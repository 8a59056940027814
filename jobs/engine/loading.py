"""`model.engine` -> its class, held against the protocol before anything is made of it; then the engine, or what it says of itself unmade."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from embermill.jobs.engine import Closeness, Engine, Output, Preview, Prompts
from embermill.jobs.errors import JobError, UsageError
from embermill.jobs.named_class import find_class

if TYPE_CHECKING:
    from embermill.jobs.config import ModelConfig

METHODS = ("fingerprint", "outputs", "embed")
EXPECTED = f"expected a class with the methods {', '.join(METHODS)} (the protocol: embermill.jobs.engine.Engine)"


def load_engine(model: ModelConfig, *, device: str, threads: int, search_path: Sequence[str] = ()) -> Engine:
    """Make the engine that `model.engine` names, weights and all. device: "cpu" or "gpu". Raises UsageError where it cannot be had."""
    make = _engine_class(model.engine, search_path)
    with _engine_errors(model.engine, " could not be made"):
        engine: Engine = make(model, device=device, threads=threads)
    if model.engine != "native":
        _require_usable(model.engine, engine)
    return engine


def import_engine(name: str, device: str) -> None:
    """What making that engine on "cpu" or "gpu" would begin with, whatever the model; nothing for an engine of somebody's own, whose folder may come later."""
    if name == "native":
        _engine_class(name, ()).import_ahead(device)


def _require_usable(name: str, engine: Engine) -> None:
    """UsageError unless an engine of somebody's own says what a plan can hold: it could not be read again."""
    with _engine_errors(name, ": fingerprint failed"):
        found: Any = engine.fingerprint()
    if not _is_fingerprint(found):
        raise UsageError(f"model.engine: {name}: fingerprint: expected a dict of strings, got {found!r:.200}")
    with _engine_errors(name, ": outputs failed"):
        outputs: Any = engine.outputs()
    if not isinstance(outputs, tuple | list) or not outputs or not all(isinstance(output, Output) for output in outputs):
        raise UsageError(f"model.engine: {name}: outputs: expected at least one embermill.jobs.engine.Output in a tuple, got {outputs!r:.200}")
    for output in outputs:
        named, known = isinstance(output.column, str) and output.column != "", (output.kind, output.dtype) == ("dense", "float32")
        if not (named and known and type(output.dim) is int and output.dim > 0):
            raise UsageError(f'model.engine: {name}: outputs: expected a column\'s name, kind "dense", dtype "float32" and dim > 0, got {output!r:.200}')
    if len({output.column for output in outputs}) < len(outputs):
        raise UsageError(f"model.engine: {name}: outputs: expected each column once, got {', '.join(output.column for output in outputs)}")


def _is_fingerprint(found: object) -> bool:
    return isinstance(found, dict) and all(isinstance(text, str) for pair in found.items() for text in pair)


def describe_engine(model: ModelConfig, *, search_path: Sequence[str] = ()) -> dict[str, str] | None:
    """The fingerprint that the engine would have, with no device and no weights loaded; None where it cannot say. model.precision is resolved already."""
    found = _ask(model, search_path, "describe")
    if found is None or _is_fingerprint(found):
        return found  # type: ignore[no-any-return]
    raise UsageError(f"model.engine: {model.engine}: describe: expected a dict of strings, got {found!r}")


def preview_engine(model: ModelConfig, device: str, *, search_path: Sequence[str] = ()) -> Preview:
    """What the engine would be on "cpu" or "gpu", with no weights loaded; an empty one where it cannot say. UsageError where it could not be at all."""
    found = _ask(model, search_path, "preview", device)
    if found is None:
        return Preview()
    if isinstance(found, Preview) and all(isinstance(output, Output) for output in found.outputs):
        return found
    raise UsageError(f"model.engine: {model.engine}: preview: expected an embermill.jobs.engine.Preview of embermill.jobs.engine.Output, got {found!r}")


def engine_prompts(model: ModelConfig, *, search_path: Sequence[str] = ()) -> Prompts | None:
    """What the engine puts before documents and queries; None where it cannot say."""
    found = _ask(model, search_path, "prompts")
    if found is None or isinstance(found, Prompts):
        return found
    raise UsageError(f"model.engine: {model.engine}: prompts: expected an embermill.jobs.engine.Prompts, got {found!r}")


def engine_closeness(model: ModelConfig, device: str, texts: Sequence[str], *, search_path: Sequence[str] = ()) -> Closeness | None:
    """How near its vectors of these texts are to those of float32; None where it cannot say."""
    found = _ask(model, search_path, "closeness", device, texts)
    if found is None or isinstance(found, Closeness):
        return found
    raise UsageError(f"model.engine: {model.engine}: closeness: expected an embermill.jobs.engine.Closeness, got {found!r}")


def _ask(model: ModelConfig, search_path: Sequence[str], question: str, *arguments: Any) -> Any:
    """The answer of an engine's class, made of the model's configuration alone; None where it has no such method."""
    method = getattr(_engine_class(model.engine, search_path), question, None)
    if method is None:
        return None
    with _engine_errors(model.engine, f": {question} failed"):
        return method(model, *arguments)


@contextlib.contextmanager
def _engine_errors(name: str, what: str) -> Iterator[None]:
    """Whatever an engine of somebody's own raises is for them to fix; of ours it is a defect."""
    try:
        yield
    except JobError:
        raise
    except Exception as error:
        if name == "native":
            raise
        raise UsageError(f"model.engine: {name}{what}: {type(error).__name__}: {error}") from error


def _engine_class(name: str, search_path: Sequence[str]) -> Any:
    """The class, without making an engine of it. UsageError where it is none, or none that a worker could drive."""
    if name == "native":
        from embermill.jobs.engine.native import NativeEngine

        return NativeEngine
    found = find_class(name.removeprefix("python:"), f"model.engine: {name}", METHODS, EXPECTED, search_path)
    try:
        inspect.signature(found).bind(None, device="cpu", threads=1)
    except TypeError as error:
        raise UsageError(f"model.engine: {name}: expected a class that is called with (model, device=…, threads=…): {error}") from None
    except ValueError:  # a class in C may not say what it takes; making one will tell
        pass
    return found
