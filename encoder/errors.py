"""What can go wrong in the encoder. Every message says what was expected, what came and what to do.

    EncoderError
    |-- SourceError       a model source that cannot be found, read or trusted
    |-- ModelConfigError  a config.json, modules.json or pooling folder that we cannot honour
    |-- WeightsError      a weight file that is damaged, incomplete or of another shape (names file, offset, tensor)
    |-- TokenizerError    no tokenizer, or one that does not fit the model
    |-- InputError        texts or token ids that cannot be embedded
    '-- DeviceError       no usable device, or a precision that the device or this version does not have
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class EncoderError(Exception):
    """Anything the encoder refuses; the message is meant for the person at the keyboard."""


class SourceError(EncoderError):
    """A model source that cannot be found, read or trusted."""


class ModelConfigError(EncoderError):
    """A model folder whose configuration we cannot honour exactly."""


class WeightsError(EncoderError):
    """A weight file that is damaged, incomplete or of another shape.

    file: the path; offset: the byte at which reading failed, if known; tensor: the parameter concerned, if any.
    """

    def __init__(self, problem: str, *, file: str = "", offset: int | None = None, tensor: str = "") -> None:
        self.problem, self.file, self.offset, self.tensor = problem, file, offset, tensor
        where = [part for part in (file, "" if offset is None else f"byte {offset}", tensor and f"tensor {tensor}") if part]
        super().__init__(f"{', '.join(where)}: {problem}" if where else problem)


class TokenizerError(EncoderError):
    """No tokenizer beside the weights, or one that does not fit the model."""


class InputError(EncoderError):
    """Texts or token ids that cannot be embedded."""


class DeviceError(EncoderError):
    """No usable device, or a precision that the device or this version does not have."""


@contextlib.contextmanager
def refused_files(what: str) -> Iterator[None]:
    """A file that the operating system refuses (no permission, a name too long, a loop of links) as a SourceError. what: was being done."""
    try:
        yield
    except OSError as error:
        raise SourceError(f"{what}: {error.filename or 'a file'}: {error.strerror or error}; check the name and this user's permissions.") from error
