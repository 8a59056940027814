"""What a failure of the storage means: something that only a person can fix (UsageError), or something that passes (Interrupted: run again)."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from obstore import exceptions

from embermill.jobs.errors import Interrupted, JobError, UsageError

FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_SPACE = "free disk space there and run the same command again, which resumes from what is committed"
PERMISSION = "let this user write and read there, or choose another place"
PLACE = "choose another place"
FOLDER = "expected a folder (of a dataset: the output.uri of its configuration), or a path where one can be made, and a file is there: choose another place"
_FOR_A_PERSON = {
    errno.EACCES: PERMISSION,
    errno.EPERM: PERMISSION,
    errno.EROFS: PERMISSION,
    errno.EEXIST: PLACE,
    errno.EISDIR: PLACE,
    errno.ELOOP: PLACE,
    errno.ENAMETOOLONG: PLACE,
    errno.ENOTDIR: FOLDER,
}
_STATUS = re.compile(r"status code: (\d{3})")
NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
_MAY_PASS = {408, 409, 425, 429}  # of the answers 4xx: a time-out, a conflict, too early, too many requests
BROKEN = re.compile(r"response body error|decoding response body|IncompleteBody")
_METADATA_SERVICE = re.compile(r"/latest/(api/token|meta-data)|/computeMetadata/|/metadata/identity/")  # whom a client without credentials asks for some
CHANGED = (
    "run again: where all that is committed of it still reads the same, the job resumes with what is there now; "
    "otherwise restore it, finish the dataset with what is there now (`embermill redrive OUTPUT`), or embed the corpus as it is now into another output.uri"
)
VANISHED = "restore it, or embed the corpus as it is now into another output.uri"
CREDENTIALS = "check the credentials in the environment"


class CutShort(Interrupted):
    """A connection that broke while a request or an answer was on its way: obstore repeats what was refused, not that."""


def disk_failure(error: OSError, what: str, place: str | None = None) -> JobError:
    """An error of the file system. what: is known of it already, as "/data/out: cannot be written". place: on the disk that it is of."""
    if error.errno in FULL:
        return UsageError(f"{what}: {_full_disk(error, place)}: {DISK_SPACE}")
    where = f": {error.filename}" if error.filename and str(error.filename) not in what else ""
    reason = f"{what}: {os.strerror(error.errno) if error.errno else error}{where}"
    advice = _FOR_A_PERSON.get(error.errno or 0)
    return Interrupted(reason) if advice is None else UsageError(f"{reason}: {advice}")


@contextlib.contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Errors of the file system that do not say which file they are of, as Arrow's, are of this one."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def naming_folder(folder: Path, what: str) -> Iterator[None]:
    """A disk that is full is that of this folder, whichever library wrote there and whatever it raised. what: as disk_failure has it."""
    try:
        yield
    except JobError:
        raise
    except Exception as error:
        if (failure := of_disk(error, what, folder)) is None:
            raise
        raise failure from error


def of_disk(error: Exception, what: str, folder: Path) -> JobError | None:
    """What only a person can mend about the disk of this folder, whichever library says so; None for anything else. what: as disk_failure has it."""
    codes = (*FULL, *_FOR_A_PERSON)
    code = error.errno if isinstance(error, OSError) and error.errno else next((code for code in codes if os.strerror(code) in str(error)), None)
    if code not in codes:
        return None
    return disk_failure(OSError(code, "", getattr(error, "filename", None)) if code not in FULL else OSError(code, ""), what, str(folder))


def _full_disk(error: OSError, place: str | None) -> str:
    """place: None for the file that the error names, if it does."""
    folder = place or (str(Path(str(error.filename)).parent) if error.filename else None)
    free = f", {room}" if error.errno == errno.ENOSPC and folder and (room := _free_of(folder)) else ""
    disk = "its disk is full" if place else f"the disk of {folder} is full" if folder else "the disk is full"
    return f"{disk} ({os.strerror(error.errno or errno.ENOSPC)}{free})"


def _free_of(folder: str) -> str:
    try:
        usage = shutil.disk_usage(next(path for path in (Path(folder), *Path(folder).parents) if path.exists()))
    except (OSError, StopIteration):
        return ""
    return f"{usage.free:,} of {usage.total:,} bytes are free"


def store_failure(error: Exception, url: str) -> JobError:
    """An error of an object store that obstore's retrying did not help. url: what was asked for."""
    text, reason = str(error), reason_of(error)
    if any(code in text for code in NO_BUCKET):
        return UsageError(f"{url}: there is no such bucket: {'/'.join(url.split('/')[:3])}")
    if isinstance(error, exceptions.InvalidPathError):
        return UsageError(f"{url}: holds a key that cannot be addressed (empty, `.` or `..` segments): {reason}")
    if _METADATA_SERVICE.search(text):
        return UsageError(f"{url}: there are no credentials in the environment, and the metadata service of this machine gave none: {reason}: {CREDENTIALS}")
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        return UsageError(f"{url}: the store refuses access: {reason}: {CREDENTIALS}")
    if _is_refusal(text):
        return UsageError(f"{url}: the store refuses the request: {reason}: check bucket, region and endpoint, and {CREDENTIALS}")
    return (CutShort if BROKEN.search(text) else Interrupted)(f"{url}: {reason}")


def _is_refusal(text: str) -> bool:
    """Whether the same request would be answered the same way again."""
    if "redirect without LOCATION" in text:  # the bucket is in another region
        return True
    found = _STATUS.search(text)
    status = int(found[1]) if found else 0
    return status == 501 or (400 <= status < 500 and status not in _MAY_PASS and "RequestTimeout" not in text)


def reason_of(error: Exception) -> str:
    """An obstore error in one line, without the endpoint's address."""
    text = re.sub(r"https?://\S+", "<endpoint>", str(error).partition("Debug source")[0])
    code = re.search(r"<Code>(\w+)</Code>", text)
    return " ".join(text.partition("<?xml")[0].split()) + (f" {code[1]}" if code else "")
