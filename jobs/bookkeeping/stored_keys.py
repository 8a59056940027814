"""Keys of what is stored with a dataset: which of them two sides differ in, and what a side counts as that lacks one.

A dataset keeps what made it, and is resumed by later versions. A key that came after version 0.1.0 is missing from older plans, footers and commits;
there it counts as the value that gives what was done before the key came, and that value is given with the key: `added(value)` as the default of a
dataclass's field, `Annotated[type, IfAbsent(value)]` in a section of the configuration, FINGERPRINT_IF_ABSENT for a fingerprint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

MARK = "if_absent"


@dataclass(frozen=True)
class IfAbsent:
    """Beside a key of the configuration: what a plan without it was made with. The key's own default may be another."""

    value: object


def added(value: Any, *, compare: bool = True) -> Any:
    """The default of a dataclass's field that came later: what records stored without it mean. compare: whether records that differ in it are unequal."""
    return field(default=value, metadata={MARK: value}, compare=compare)


@cache
def added_fields(record_type: type) -> dict[str, Any]:
    """Name -> value if absent, of the fields that came later."""
    return {each.name: each.metadata[MARK] for each in fields(record_type) if MARK in each.metadata}


def stored_form(record: Any) -> dict[str, Any]:
    """A dataclass's fields by name, without those that came later and say what older records mean: so what is made of them, a digest say, stays the same."""
    record_type: type = type(record)
    later = added_fields(record_type)
    values = ((name, getattr(record, name)) for name in _names(record_type))
    return {name: value for name, value in values if name not in later or value != later[name]}


@cache
def _names(record_type: type) -> tuple[str, ...]:
    return tuple(each.name for each in fields(record_type))


def differing_keys(one: Mapping[str, Any], other: Mapping[str, Any], if_absent: Mapping[str, Any] | None = None) -> list[str]:
    """Sorted. A key that a side lacks has the value in `if_absent` there, else None."""
    absent = if_absent or {}
    return [key for key in sorted({*one, *other}) if one.get(key, absent.get(key)) != other.get(key, absent.get(key))]


def describe_changes(old: Mapping[str, Any], new: Mapping[str, Any], if_absent: Mapping[str, Any] | None = None) -> list[str]:
    """ "key: old -> new" for every key that differs."""
    absent = if_absent or {}
    return [describe_change(key, old.get(key, absent.get(key)), new.get(key, absent.get(key))) for key in differing_keys(old, new, absent)]


def describe_change(key: str, old: object, new: object) -> str:
    return f"{key}: {_shown(old)} -> {_shown(new)}"


def _shown(value: object) -> str:
    if value is None:
        return "unset"
    if not isinstance(value, str | int | float | bool | list | tuple | dict):
        return str(value)
    return value if isinstance(value, str) and value.strip() == value and value else json.dumps(value, ensure_ascii=False, default=str)
