"""`--set section.key=value`: put over a configuration, and blamed for what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from embermill.credentials import without_credentials
from embermill.jobs.config.errors import Problem
from embermill.jobs.config.yaml import parse_yaml
from embermill.jobs.errors import UsageError

EXAMPLE = "for example --set output.shard_bytes=64000000"
_KEY = re.compile(r"\s*([a-z_]+\.[a-z_0-9]+(?![^=:\s])|[a-z_]+(?=\s*=))")


class Overrides:
    """What `--set` was given, in order; each value is YAML. UsageError for one that is no key with a value."""

    def __init__(self, given: Sequence[str]) -> None:
        self._given = [_parse(override) for override in given]

    def apply(self, document: dict[str, Any], what: str) -> None:
        """what: the document is, for the message about a section of it that is none."""
        for section, name, value in self._given:
            held = document.setdefault(section, {})
            if held is None:
                held = document[section] = {}
            if not isinstance(held, dict):
                raise UsageError(f"{what}{section}: expected a section with keys, got {without_credentials(repr(held)):.80}")
            held[name] = value

    def describe(self, problems: Sequence[Problem], what: str) -> str:
        """All of them in one line, each with where it comes from. what: the document is, with a colon behind it, or ""."""
        told, others = list[str](), list[str]()
        for problem in problems:
            override = self._cause(problem)
            if override is None:
                others.append(problem.words)
            else:
                told.append(f"--set {problem.words}" if problem.key.startswith(override) or not problem.key else f"--set {override}: {problem.words}")
        return "; ".join([*told, what + "; ".join(others)] if others else told)

    def _cause(self, problem: Problem) -> str | None:
        """The key that was set and is wrong, or does not go with what is. None where it is the document's own."""
        keys = [f"{section}.{name}" for section, name, _ in self._given]
        return next((key for wrong in problem.keys for key in keys if f"{wrong}.".startswith(f"{key}.") or key.startswith(f"{wrong}.")), None)


def _parse(override: str) -> tuple[str, str, Any]:
    key, equals, text = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and name):
        raise UsageError(f"{_named(override)}: expected section.key=value, {EXAMPLE}")
    return section, name, parse_yaml(text, _named(override))


def _named(override: str) -> str:
    """By its key alone: its value, or what stands where one would, may be a credential."""
    key = _KEY.match(override)
    return f"--set {key[1]}" if key else "--set"
