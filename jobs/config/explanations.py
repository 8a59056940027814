"""What each key means: the comments of configs/reference.yaml, which the installed package holds too. They are kept nowhere else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from embermill.jobs.config.job_config import KEYS, SECTIONS
from embermill.jobs.errors import UsageError

REFERENCE = Path(__file__).parent / "reference.yaml"
_SECTION, _KEY = re.compile(r"(\w+):\s*(?:#.*)?"), re.compile(r"  (\w+): (.*?)\s+# (.*)")


@dataclass(frozen=True)
class Explanation:
    """default: as it is written in YAML; None of a key that has none. example: what configs/reference.yaml gives it."""

    key: str
    default: str | None
    example: str
    text: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@cache
def explanations() -> dict[str, Explanation]:
    """By key, in their order."""
    return {found.key: found for found in _parse(REFERENCE.read_text(encoding="utf-8"))}


def explain(name: str | None) -> list[Explanation]:
    """Of one key, of a section or of all. UsageError for what is neither, with the nearest name."""
    known = explanations()
    if name is None:
        return [*known.values()]
    if name in SECTIONS:
        return [found for key, found in known.items() if key.partition(".")[0] == name]
    if name in known:
        return [known[name]]
    same = [key for key in KEYS if key.partition(".")[2] == name] or get_close_matches(name, [*KEYS, *SECTIONS], n=1)
    raise UsageError(f"{name}: there is no such key" + (f": did you mean `{same[0]}`?" if same else f" or section; the sections are {', '.join(SECTIONS)}"))


def _parse(text: str) -> Iterator[Explanation]:
    section = ""
    for line in text.splitlines():
        if found := _SECTION.fullmatch(line):
            section = found[1]
        elif found := _KEY.fullmatch(line):
            key = f"{section}.{found[1]}"
            yield Explanation(key, _default(key), found[2], found[3])


def _default(key: str) -> str | None:
    section, _, name = key.partition(".")
    value = SECTIONS[section].model_fields[name].default
    if value is PydanticUndefined or key == "model.source":  # the native engine has no default model
        return None
    mapping = name in ("types", "resources", "labels") and not value
    return "{}" if mapping else value if isinstance(value, str) and value.isidentifier() else json.dumps(value)
