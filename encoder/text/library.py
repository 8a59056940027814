"""What the `tokenizers` library does with files that it does not expect: its Rust code panics, which reaches Python as no Exception at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from embermill.encoder.errors import TokenizerError


@contextlib.contextmanager
def library_panics(what: Path | str) -> Iterator[None]:
    """A panic as a TokenizerError that names `what`."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise TokenizerError(f"{what}: `tokenizers` fails on it: {str(error)[:200]}; fetch the tokenizer again.") from None


@contextlib.contextmanager
def library_errors(what: Path | str) -> Iterator[None]:
    """The same, and for a value of a file that the library cannot take: a lone surrogate, a number beyond 64 bits, a vocabulary that lacks what it needs."""
    try:
        with library_panics(what):
            yield
    except Exception as error:
        if type(error) not in (Exception, UnicodeEncodeError, OverflowError):  # the library raises plain Exception; whatever is more special is not its word
            raise
        raise TokenizerError(f"{what}: holds a value that `tokenizers` cannot take: {str(error)[:200]}; fetch the tokenizer again.") from error
