"""What can go wrong in a job, and the exit code that each outcome gives.

    JobError
    |-- UsageError          exit 2   for a person to fix: usage, configuration, model, device, credentials, permissions, disk space; another dataset's settings
    |   '-- MatchesNothing           an entry of corpus.files that matches no file
    |-- DataError           exit 3   bad data: unreadable or changed input, too much quarantine, damage found by verify
    |   |-- MetadataDamaged          a file of the dataset's own, with what helps against it
    |   |-- InputChanged             a file that changed or vanished after planning
    |   '-- EngineError              an engine that failed on a batch, or answered with something that cannot be stored
    |-- AnotherRun          exit 4   another run is at work on the dataset, or has taken it over; running again would not help while it is
    '-- Interrupted         exit 33  interrupted or transient; run again to resume
Anything else is a defect of ours: exit 1, with a traceback.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

EXIT_OK, EXIT_DEFECT, EXIT_USAGE, EXIT_DATA, EXIT_ANOTHER_RUN, EXIT_INTERRUPTED = 0, 1, 2, 3, 4, 33


class JobError(Exception):
    """An outcome that is not a defect of ours; the message is meant for the person at the keyboard."""

    exit_code = EXIT_DEFECT
    elsewhere = False  # it happened in another process, so that a traceback of this one would show nothing


class UsageError(JobError):
    """What only a person can fix, by another call, another configuration, credentials, permissions or disk space; running again as it is would not help."""

    exit_code = EXIT_USAGE


class MatchesNothing(UsageError):
    """An entry of corpus.files that matches no file: a wrong name, or a corpus that is empty by now."""


class DataError(JobError):
    """Bad data: names the file, the range and what was wrong with it."""

    exit_code = EXIT_DATA


class MetadataDamaged(DataError):
    """A file of the dataset's own (format, plan, commit, manifest) that cannot be gone by.

    file: its name within the dataset at `root`. what: is wrong with it, as "is damaged: …". remedy: what helps, a sentence without its full stop.
    """

    def __init__(self, root: str, file: str, what: str, remedy: str) -> None:
        super().__init__(root, file, what, remedy)
        self.root, self.file, self.what, self.remedy = root, file, what, remedy

    def __str__(self) -> str:
        return f"{self.root}/{self.file}: {self.what.rstrip('.')}. {self.remedy}."


class InputChanged(DataError):
    """A file that changed or vanished after planning (`input_changed`). what: that it did, without the advice."""

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(f"{what}: {advice}" if advice else what)
        self.what = what


class EngineError(DataError):
    """An engine failed on a batch or broke its contract (`engine`): names the row. Worth another try, then exit 3."""


class AnotherRun(JobError):
    """Another run holds this dataset's lease: says who, where, until when. A retry loop must not repeat this one."""

    exit_code = EXIT_ANOTHER_RUN


class Interrupted(JobError):
    """Interrupted or transient: run again to resume from what is committed."""

    exit_code = EXIT_INTERRUPTED


@contextlib.contextmanager
def model_errors() -> Iterator[None]:
    """The encoder's errors as the job's, so that each has its exit code, whichever command opens the model.

    A model belongs to the call or to the configuration that names it. Whatever is wrong with it, damage to its files included, is for a person to fix,
    by fetching it again or by naming another: UsageError. Bad data are the texts that come to it.
    """
    from embermill.encoder.errors import EncoderError, InputError

    try:
        yield
    except InputError as error:
        raise DataError(str(error)) from error
    except EncoderError as error:
        raise UsageError(str(error)) from error
