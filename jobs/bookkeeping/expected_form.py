"""Whether a document that was read from JSON has the form that its reader goes by.

A checksum says that a file is as it was written, not who wrote it: a plan or a manifest that was edited, or made by something else, must end in a message
that names the key, not in a TypeError somewhere later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

MAX_NUMBER = 1 << 62  # so that sums and differences of a few still fit 64 bits


def text(found: Any) -> None:
    if not isinstance(found, str):
        raise ValueError(f"expected a string, got {_shown(found)}")


def character(found: Any) -> None:
    if not isinstance(found, str) or len(found) != 1:
        raise ValueError(f"expected one character, got {_shown(found)}")


def number(found: Any) -> None:
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < MAX_NUMBER:
        raise ValueError(f"expected an integer of at least 0, got {_shown(found)}")


def seconds(found: Any) -> None:
    """Or any other measure: a number that can be shown."""
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < MAX_NUMBER:
        raise ValueError(f"expected a number of at least 0, got {_shown(found)}")


def positive(found: Any) -> None:
    number(found)
    if not found:
        raise ValueError("expected an integer of at least 1, got 0")


def flag(found: Any) -> None:
    if not isinstance(found, bool):
        raise ValueError(f"expected true or false, got {_shown(found)}")


def anything(found: Any) -> None:
    pass


def one_of(*values: str) -> Callable[[Any], None]:
    def check(found: Any) -> None:
        if found not in values:
            raise ValueError(f"expected {' or '.join(values)}, got {_shown(found)}")

    return check


def or_none(form: Any) -> Callable[[Any], None]:
    def check(found: Any) -> None:
        if found is not None:
            require_form(found, form)

    return check


def pair(first: Any, second: Any) -> Callable[[Any], None]:
    def check(found: Any) -> None:
        if not isinstance(found, list | tuple) or len(found) != 2:
            raise ValueError(f"expected a pair, got {_shown(found)}")
        require_form(found[0], first, "first")
        require_form(found[1], second, "second")

    return check


def require_form(found: Any, form: Any, where: str = "") -> None:
    """ValueError that says where and what.

    form: one of the functions above; [form] for a list of such; {"": form} for a mapping of such; {"key": form, "key?": form} for a mapping that holds
    these keys, the second one perhaps, and maybe others.
    """
    try:
        if isinstance(form, list):
            _require_list(found, form[0])
        elif isinstance(form, Mapping):
            _require_mapping(found, form)
        else:
            form(found)
    except ValueError as error:
        raise ValueError(f"{where}: {error}" if where else str(error)) from None


def _require_list(found: Any, form: Any) -> None:
    if not isinstance(found, list | tuple):
        raise ValueError(f"expected a list, got {_shown(found)}")
    for place, value in enumerate(found):
        require_form(value, form, str(place))


def _require_mapping(found: Any, form: Mapping[str, Any]) -> None:
    if not isinstance(found, Mapping):
        raise ValueError(f"expected a mapping, got {_shown(found)}")
    if "" in form:
        for key, value in found.items():
            require_form(value, form[""], str(key))
        return
    for key, inner in form.items():
        if (name := key.removesuffix("?")) in found:
            require_form(found[name], inner, name)
        elif not key.endswith("?"):
            raise ValueError(f"it lacks {name}")


def _shown(found: Any) -> str:
    return repr(found)[:80]
