"""How a submitted job ended: its driver's exit code, or what Ray says where there is none. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from embermill.jobs.errors import EXIT_ANOTHER_RUN, EXIT_DATA, EXIT_DEFECT, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, JobError

OURS = (EXIT_OK, EXIT_USAGE, EXIT_DATA, EXIT_ANOTHER_RUN, EXIT_INTERRUPTED, EXIT_DEFECT)
RUNNING = ("PENDING", "RUNNING")
KILLED_FROM = 128  # a shell's exit code of a process that a signal ended is 128 and its number


@dataclass(frozen=True)
class Submission:
    """One attempt of a job, as the cluster tells of it. status: as Ray calls it. exit_code: the driver's, None where it has none.

    submitted_s, ended_s: Unix time, None where that is not known.
    """

    name: str
    attempt: int
    id: str
    status: str
    exit_code: int | None
    message: str
    error_type: str
    submitted_s: float | None
    ended_s: float | None
    output: str

    @property
    def is_running(self) -> bool:
        return self.status in RUNNING

    @property
    def code(self) -> int | None:
        """The exit code that `embermill` gives for it; None while it runs. A job that was stopped, or lost, may be submitted again: 33."""
        if self.is_running:
            return None
        if self.status == "SUCCEEDED":
            return EXIT_OK
        if self.exit_code in OURS and self.exit_code != EXIT_OK:
            return self.exit_code
        if self.error_type == "RUNTIME_ENV_SETUP_FAILURE" or self.exit_code in (126, 127):
            return EXIT_USAGE
        if self.exit_code is None or self.exit_code < 0 or self.exit_code > KILLED_FROM:
            return EXIT_INTERRUPTED
        return EXIT_DEFECT


class JobEnded(JobError):
    """A submitted job that was followed to its end, which is not 0: its exit code becomes ours."""

    elsewhere = True

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def require_success(job: Submission, said: str) -> None:
    """Raises JobEnded for a job that has ended otherwise. said: the last words of its driver, "" where it had none."""
    if code := job.code:
        raise JobEnded(f"the job {job.name} ({job.id}) {describe(job)}" + (f": {said}" if said else ""), code)


def describe(job: Submission) -> str:
    """Its end, in words."""
    again = "submit it again to resume from what is committed"
    if job.status == "STOPPED":
        return f"was stopped; {again}"
    if job.code == EXIT_INTERRUPTED:
        if job.exit_code is None:
            return f"was lost ({_first_line(job.message)}); {again}"
        if job.exit_code != EXIT_INTERRUPTED:
            signal = -job.exit_code if job.exit_code < 0 else job.exit_code - KILLED_FROM
            return f"was killed by signal {signal} (SIGKILL, 9, is often the head's memory running out); {again}"
        return f"was interrupted (exit code {EXIT_INTERRUPTED}); {again}"
    if job.exit_code is None or job.exit_code not in OURS:
        return f"could not be started: {_first_line(job.message)}"
    return f"ended with exit code {job.exit_code}"


def _first_line(message: str) -> str:
    return next((line.strip() for line in message.splitlines() if line.strip()), "Ray does not say why")
