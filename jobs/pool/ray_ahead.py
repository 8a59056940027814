"""Ray before anything else: what a run imports before it looks at its model and corpus takes as long as Ray's processes take to come up.

Who opens a pool later takes the session that was begun here (pool/opening.py); who never does leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from embermill.jobs.config import JobConfig
from embermill.jobs.errors import JobError
from embermill.jobs.process.interruptions import uninterrupted
from embermill.jobs.storage import holds_something, open_folder

if TYPE_CHECKING:
    from embermill.jobs.pool.ray_session import RaySession

IMPORTED_NEXT = "embermill.jobs.run"


class _Begun:
    """The session that nobody has taken yet: Ray is one for each process."""

    session: RaySession | None = None


@contextlib.contextmanager
def ray_ahead(config: JobConfig) -> Iterator[None]:
    """The private Ray of a job that has to begin a dataset, as far as a glance tells, starts beside what is done from now on, and on it the first worker's
    process. At the end they are gone.
    """
    if IMPORTED_NEXT in sys.modules or not begins_dataset(config):
        yield
        return
    with contextlib.ExitStack() as held:
        with uninterrupted():
            from embermill.jobs.pool.ray_session import RaySession

            session = held.enter_context(RaySession(config))
            session.then(session.start_process)
            session.begin()
        _Begun.session = session
        try:
            yield
        finally:
            _Begun.session = None


def session_for(config: JobConfig, planned_device: str | None) -> RaySession:
    """The one that was begun, if it is for such workers, or one that is still to be started. Whoever takes it closes it."""
    from embermill.jobs.pool.ray_session import RaySession

    begun, _Begun.session = _Begun.session, None
    if begun is None or begun.is_for(config, planned_device):
        return begun or RaySession(config, planned_device)
    begun.close()
    return RaySession(config, planned_device)


def begins_dataset(config: JobConfig) -> bool:
    """Whether there is no dataset yet, and a corpus on a disk that holds something: what a moment is enough for. What is wrong is told by who looks closely."""
    if config.ray.address is not None:
        return False
    try:
        folder = open_folder(config.output.uri)
        if any(not name.startswith("_embermill/lease") for name, _ in folder.list("_embermill")):
            return False
        return any(holds_something(entry) for entry in config.corpus.files)
    except (JobError, OSError):
        return False
