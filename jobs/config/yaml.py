"""YAML, read strictly and within limits: no key twice, no depth and no expansion that only an attack or an accident would have."""

from __future__ import annotations

import re
from typing import Any

import yaml

from embermill.jobs.errors import UsageError

_QUOTED = re.compile(r"'(?!<)[^']{4,}'")  # of the text: a tag, say; what is shorter is a sign, and <…> a part of YAML
MAX_DEPTH = 20  # a job has four levels
MAX_VALUES = 100_000  # aliases count as what they stand for: a dozen lines can expand to billions


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader takes the last of two equal keys in silence; this one refuses them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is a text, not a list or a mapping", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key `{key.value}` appears twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, what: str) -> object:
    """UsageError for what is not valid, too deep or too large. what: it is, for the message."""
    try:
        _require_small(text, what)
        return yaml.load(text, _StrictLoader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise UsageError(f"{what}: not valid YAML: {_told(error)}") from None


def _told(error: Exception) -> str:
    """What is wrong and where, without the text that stands there: it may hold a credential."""
    mark, said = None, [str(error)]
    if isinstance(error, yaml.MarkedYAMLError):
        mark, said = error.problem_mark or error.context_mark, [each for each in (error.context, error.problem) if each]
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return place + _QUOTED.sub("…", ", ".join(" ".join(each.split()) for each in said))


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1


def _require_small(text: str, what: str) -> None:
    """By its events, of which none is nested in another, before anything is made of them."""
    sizes: dict[str, int] = {}  # anchor -> values that an alias of it stands for
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]  # (anchor, values so far) of each level
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, 1))
            if len(open_nodes) > MAX_DEPTH:
                raise UsageError(f"{what}: line {_line(event)}: nested more than {MAX_DEPTH - 1} levels deep, which no job is")
            continue
        anchor, size = open_nodes.pop() if isinstance(event, yaml.CollectionEndEvent) else (getattr(event, "anchor", None), 1)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise UsageError(f"{what}: line {_line(event)}: an alias stands for nothing that ends before it (a text that begins with * needs quotes)")
            size = sizes[event.anchor]
        elif anchor is not None:
            sizes[anchor] = size
        outer, held = open_nodes.pop()
        open_nodes.append((outer, held + size))
        if held + size > MAX_VALUES:
            raise UsageError(f"{what}: line {_line(event)}: more than {MAX_VALUES:,} values, aliases counted as what they stand for")
