"""The block of data before the text of a Markdown file, as Hugo, Jekyll and Obsidian write it: YAML between lines of `---`, or TOML between lines of `+++`."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_CHARACTERS = 1 << 14  # of a block: a longer one is text, and no loader's time is spent on it
_LINE = "[ \\t]*(?:\r\n|\n|\r)"
_YAML = re.compile(f"---{_LINE}(.*?)^(?:---|\\.\\.\\.)(?:{_LINE}|[ \\t]*\\Z)", re.DOTALL | re.MULTILINE)
_TOML = re.compile(f"\\+\\+\\+{_LINE}(.*?)^\\+\\+\\+(?:{_LINE}|[ \\t]*\\Z)", re.DOTALL | re.MULTILINE)
_NULLS = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True)
class FrontMatter:
    """end: of its last line, in code points. title: what its key `title` says; None where it has none."""

    end: int
    title: str | None


class _NoMapping(Exception):
    pass


def find_front_matter(text: str) -> FrontMatter | None:
    """At the very beginning of a text; None where there is none, or what stands there is no mapping: lines may just be drawn around a paragraph."""
    beginning = text[:MOST_CHARACTERS]
    for block, read in ((_YAML, _yaml_title), (_TOML, _toml_title)):
        if found := block.match(beginning):
            try:
                return FrontMatter(found.end(), read(found[1]))
            except _NoMapping:
                return None
    return None


def _yaml_title(text: str) -> str | None:
    """By the events of the parser: what the values are, aliases and tags, is nobody's business here. _NoMapping."""
    import yaml  # here: few meet front matter

    depth, is_key, wanted, title = 0, True, False, None
    try:
        for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
            if number == 2 and not isinstance(event, yaml.MappingStartEvent):
                raise _NoMapping
            if isinstance(event, yaml.ScalarEvent) and depth == 1 and not is_key and wanted:
                title = None if event.style is None and event.value in _NULLS else event.value
            if depth == 1 and not isinstance(event, yaml.CollectionEndEvent):
                wanted = is_key and isinstance(event, yaml.ScalarEvent) and event.value == "title"
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth == 1 and isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent) and number > 2:
                is_key = not is_key
    except yaml.YAMLError:
        raise _NoMapping from None
    return title


def _toml_title(text: str) -> str | None:
    import tomllib

    try:
        found = tomllib.loads(text).get("title")
    except (ValueError, RecursionError):
        raise _NoMapping from None
    return found if isinstance(found, str) else None
