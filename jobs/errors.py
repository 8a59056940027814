"""What can go wrong in a job, and the exit code that each outcome gives.

    JobError
    |-- UsageError          exit 2   a person's to mend: usage, configuration, device, credentials, permission, room; a dataset made with other settings
    |-- DataError           exit 3   bad data: unreadable or changed input, too much quarantine, damage found by verify
    |   |-- InputChanged             a file that changed or vanished after planning
    |   '-- EngineError              an engine that failed on a batch, or answered with something that cannot be stored
    '-- Interrupted         exit 33  interrupted or transient; run again to resume
Anything else is a defect of ours: exit 1, with a traceback.
"""

from __future__ import annotations

EXIT_OK, EXIT_DEFECT, EXIT_USAGE, EXIT_DATA, EXIT_INTERRUPTED = 0, 1, 2, 3, 33


class JobError(Exception):
    """An outcome that is not a defect of ours; the message is meant for the person at the keyboard."""

    exit_code = EXIT_DEFECT


class UsageError(JobError):
    """What only a person can mend, by another call, another configuration, credentials, permission or room; running again as it is would not help."""

    exit_code = EXIT_USAGE


class DataError(JobError):
    """Bad data: names the file, the range and what was wrong with it."""

    exit_code = EXIT_DATA


class InputChanged(DataError):
    """A file that changed or vanished after planning (`input_changed`)."""


class EngineError(DataError):
    """An engine failed on a batch or broke its contract (`engine`): names the row. Worth another try, then exit 3."""


class Interrupted(JobError):
    """Interrupted or transient: run again to go on from what is committed."""

    exit_code = EXIT_INTERRUPTED
