"""What targets that speak SQL share."""

from __future__ import annotations

CURSOR_TABLE = "embermill_cursor"  # beside the tables that were loaded: one row for each


def quoted(name: str) -> str:
    """As an identifier."""
    return '"' + name.replace('"', '""') + '"'


def quoted_value(value: object) -> str:
    """A whole number or a text, as a literal."""
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"
