"""Arguments that cannot be parsed are errors like any other, and help is an answer like any other: both can be JSON, and stdout stays the answer's."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from embermill.jobs.errors import UsageError


class HelpAsked(Exception):
    """--help, wherever it stands among the arguments: the text is the answer."""


class Parser(argparse.ArgumentParser):
    """Raises what argparse would print: UsageError or HelpAsked."""

    def error(self, message: str) -> NoReturn:
        if message.endswith("expected one argument"):
            message += "; one that begins with a dash is given as --option=-value"
        raise UsageError(f"{message} ({self._pointer})")

    def print_help(self, file: object = None) -> NoReturn:
        raise HelpAsked(self.format_help().rstrip())

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """What is left of the arguments when all that is known was taken."""
        name = unknown[0].partition("=")[0]
        if not name.startswith("-"):
            raise UsageError(f"unexpected argument `{unknown[0]}` ({self._pointer})")
        close = get_close_matches(name, self._option_string_actions, n=1)
        raise UsageError(f"unknown option `{name}`" + (f": did you mean `{close[0]}`?" if close else f" ({self._pointer})"))

    @property
    def _pointer(self) -> str:
        return f"`{self.prog} --help` shows what there is"
