"""Files and folders that appear complete or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from embermill.encoder.errors import EncoderError


@contextlib.contextmanager
def file_to_be(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to; renamed to `target` when the block ends well, removed when it does not."""
    require_replaceable(target)
    temporary = _beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        temporary.replace(target)
    except OSError as error:
        raise _cannot_be_written(target, error) from error
    finally:
        with contextlib.suppress(OSError):  # where it could not be made either
            temporary.unlink()


@contextlib.contextmanager
def folder_to_be(target: Path) -> Iterator[Path]:
    """The same for a folder. A `target` that exists may hold nothing but files that the new folder has too; it is then replaced."""
    require_replaceable(target)
    temporary = _beside(target)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                _flush(path)
        _replace_folder(temporary, target)
    except OSError as error:
        raise _cannot_be_written(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_replaceable(target: Path) -> None:
    """Raises EncoderError unless `target` has a name to give and is free, a regular file or a folder: a device or a pipe is never replaced."""
    if target.name in ("", ".."):
        raise EncoderError(f"{target}: expected the name of a file or folder to make; name one inside it, such as {target / 'model'}.")
    if target.exists() and not target.is_file() and not target.is_dir():
        raise EncoderError(f"{target} is neither a regular file nor a folder and is not replaced; name another place.")


def _cannot_be_written(target: Path, error: OSError) -> EncoderError:
    return EncoderError(f"{target}: cannot be written: {error.strerror or error}; make room or get permission there, or choose another place.")


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")


def _flush(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _files_below(folder: Path) -> Iterator[Path]:
    """Paths of all files, relative to the folder. OSError for a folder that cannot be looked into: nobody knows what it holds."""

    def fail(error: OSError) -> None:
        raise error

    for parent, _, names in os.walk(folder, onerror=fail):
        yield from (Path(parent, name).relative_to(folder) for name in names)


def _replace_folder(new: Path, target: Path) -> None:
    if not target.exists():
        new.rename(target)
        return
    foreign = sorted(str(path) for path in _files_below(target) if not (new / path).is_file())
    if foreign:
        wanted = "expected a new folder, an empty one, or one with no files but those written now (the same format again); name another or move them away"
        raise EncoderError(f"{target} holds other files ({', '.join(foreign[:8])}): {wanted}.")
    retired = _beside(target)
    target.rename(retired)
    new.rename(target)
    shutil.rmtree(retired, ignore_errors=True)
