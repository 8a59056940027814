"""A JobConfig from a YAML file or from the keys of a plan, and what is wrong with it in one line: each key once, with where it was set."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from embermill.jobs.config.errors import Problem, find_invalid
from embermill.jobs.config.job_config import KEYS, SECTIONS, JobConfig
from embermill.jobs.config.overrides import Overrides
from embermill.jobs.config.paths import require_lasting, require_replaced
from embermill.jobs.config.yaml import parse_yaml
from embermill.jobs.errors import UsageError

log = logging.getLogger(__name__)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> JobConfig:
    """Read a job's YAML file and apply `section.key=value` overrides (each value is YAML). Paths become absolute under the working directory.

    Raises UsageError for anything that is not exactly a JobConfig.
    """
    config = read_config(path, overrides)
    require_replaced(config.output.uri, Path.cwd())
    require_lasting(config.output.uri, Path.cwd())
    anchored = config.anchored(Path.cwd())
    for key, given, taken in made_absolute(config, anchored):
        log.info("%s: %s is %s", key, given, taken)
    return anchored


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> JobConfig:
    """The same with its paths as they are written, for a job that runs on another machine."""
    return _validated(_read(Path(path)), Overrides(overrides), f"{path}: ")


def made_absolute(config: JobConfig, anchored: JobConfig) -> Iterator[tuple[str, str, str]]:
    """(key, as it was given, as it is taken) of every relative path."""
    pairs = [("model.source", config.model.source, anchored.model.source)]
    pairs += [("corpus.files", given, taken) for given, taken in zip(config.corpus.files, anchored.corpus.files, strict=True)]
    pairs += [("output.uri", config.output.uri, anchored.output.uri)]
    return ((key, given, taken) for key, given, taken in pairs if given is not None and taken is not None and given != taken)


def config_from_keys(keys: Mapping[str, object], overrides: Sequence[str] = ()) -> JobConfig:
    """The inverse of flatten, as a plan holds it. overrides: as load_config has them. UsageError for one that does not fit."""
    document: dict[str, Any] = {}
    for key, value in keys.items():
        section, _, name = key.partition(".")
        document.setdefault(section, {})[name] = tuple(map(tuple, value)) if key == "corpus.keep_columns" and isinstance(value, list) else value
    return _validated(document, Overrides(overrides), "").anchored(Path.cwd())


def _validated(document: dict[str, Any], overrides: Overrides, what: str) -> JobConfig:
    overrides.apply(document, what)
    if unknown := [*_unknown(document)]:
        raise UsageError(overrides.describe(unknown, what))
    try:
        return JobConfig.model_validate(document)
    except ValidationError as error:
        raise UsageError(overrides.describe([*find_invalid(error)], what)) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as a configuration: {error.strerror if isinstance(error, OSError) else error}") from None
    document = parse_yaml(text, str(path))
    if not isinstance(document, dict):
        raise UsageError(f"{path}: expected the sections {', '.join(SECTIONS)}, got {'nothing' if document is None else type(document).__name__}")
    return document


def _unknown(document: dict[str, Any]) -> Iterator[Problem]:
    for section, held in document.items():
        names = [*held] if isinstance(held, dict) else []
        if section not in SECTIONS:
            first = f"{section}.{names[0]}" if names else str(section)
            yield Problem("", f"unknown section `{section}`{_nearest(str(section), [*SECTIONS, *KEYS])}", (first,))
            continue
        for key in (f"{section}.{name}" for name in names):
            if key not in KEYS:
                yield Problem("", f"unknown key `{key}`{_nearest(key, KEYS)}", (key,))


def _nearest(name: str, known: list[str] | tuple[str, ...]) -> str:
    """The known key that was probably meant: the same name in another section first, then the closest spelling."""
    last = name.rpartition(".")[2]
    same = [key for key in known if key.rpartition(".")[2] == last]
    close = same or get_close_matches(name, known, n=1, cutoff=0.5) or [key for key in known if get_close_matches(last, [key.rpartition(".")[2]], cutoff=0.7)]
    return f": did you mean `{close[0]}`?" if close else f"; known here: {', '.join(known)}"
