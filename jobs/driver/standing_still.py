"""What to do about workers that stand still or end at their work: the code that was at work cannot be asked."""

from __future__ import annotations

from embermill.jobs.config import JobConfig


def against_standing_still(config: JobConfig) -> str:
    """About a partition that workers make no progress with. Names the code of the user's own that may be what does not return."""
    own = _own_code(config)
    if not own:
        return "where its rows may take that long, raise workers.partition_stall_s"
    return f"call {own} by hand on its texts, to see whether a call never returns; where one only takes that long, raise workers.partition_stall_s"


def against_losses(config: JobConfig) -> str:
    """About workers that are lost at their work, to stand behind it; "" where none of the code is the user's own."""
    own = _own_code(config)
    return f"; call {own} by hand on some of those texts, to see whether a call ends the process or never returns" if own else ""


def _own_code(config: JobConfig) -> str:
    named = {"chunk.splitter": config.chunk.splitter, "model.engine": config.model.engine}
    return " and ".join(f"{key} ({value})" for key, value in named.items() if value not in (None, "native"))
