"""The block of data before the text of a Markdown file, as Hugo, Jekyll and Obsidian write it: YAML between lines of `---`, or TOML between lines of `+++`."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_CHARACTERS = 1 << 14  # of a block: a longer one is text, and no loader's time is spent on it
MOST_DEPTH = 20  # the parser takes the square of it
_LINE = "[ \\t]*\r?\n"
_YAML = re.compile(f"---{_LINE}(.*?)^(?:---|\\.\\.\\.)(?:{_LINE}|[ \\t]*\\Z)", re.DOTALL | re.MULTILINE)
_TOML = re.compile(f"\\+\\+\\+{_LINE}(.*?)^\\+\\+\\+(?:{_LINE}|[ \\t]*\\Z)", re.DOTALL | re.MULTILINE)
NULLS = ("", "~", "null", "Null", "NULL")  # of YAML, where they are not quoted
FIRST_NODE = 2  # after the beginnings of stream and document


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
    """By the parser's events, so that neither tags nor aliases are followed. _NoMapping."""
    import yaml  # here: few documents have front matter

    depth, is_key, is_title, title, is_mapping = 0, True, False, None, False
    try:
        for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
            is_mapping = is_mapping or (number == FIRST_NODE and isinstance(event, yaml.MappingStartEvent))
            if depth > MOST_DEPTH or (number == FIRST_NODE and not is_mapping):
                raise _NoMapping
            if depth == 1 and isinstance(event, yaml.NodeEvent):
                if is_key:
                    is_title = isinstance(event, yaml.ScalarEvent) and event.value == "title"
                elif is_title and isinstance(event, yaml.ScalarEvent):
                    title = None if event.style is None and event.value in NULLS else event.value
                is_key = not is_key
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
    except yaml.YAMLError:
        raise _NoMapping from None
    if not is_mapping:
        raise _NoMapping
    return title


def _toml_title(text: str) -> str | None:
    import tomllib

    try:
        found = tomllib.loads(text).get("title")
    except (ValueError, RecursionError):
        raise _NoMapping from None
    return found if isinstance(found, str) else None
