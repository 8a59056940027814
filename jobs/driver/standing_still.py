"""What to do about a partition that workers make no progress with: the code that was at work cannot be asked."""

from __future__ import annotations

from embermill.jobs.config import JobConfig

OWN_CODE = "python:"


def against_standing_still(config: JobConfig) -> str:
    """Names the code of the user's own that may be what does not return."""
    named = {"chunk.splitter": config.chunk.splitter or "", "model.engine": config.model.engine}
    own = [f"{key} ({value})" for key, value in named.items() if value.startswith(OWN_CODE)]
    if not own:
        return "where its rows may take that long, raise workers.partition_stall_s"
    called = f"call {' and '.join(own)} by hand on its texts, to see whether a call never returns"
    return f"{called}; where one only takes that long, raise workers.partition_stall_s"
