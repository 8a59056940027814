"""An engine that is slow enough to be killed; importing it wraps what is shipped, so that workers of a real Ray come to the named points too."""

from __future__ import annotations

from tests.jobs.crashes.points import install_from_environment
from tests.jobs.engines import SlowEngine

install_from_environment()


class CrashingEngine(SlowEngine):
    """Its vectors are PlainEngine's."""
