"""How near a precision of few bits comes to float32 on the texts of this very corpus: measured, said and judged before a dataset is begun in it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from embermill.counts import several
from embermill.jobs.config import JobConfig
from embermill.jobs.corpus.rows import RowSchema
from embermill.jobs.corpus.surveyed import SurveyedFile
from embermill.jobs.engine import Closeness
from embermill.jobs.engine.loading import engine_closeness
from embermill.jobs.errors import UsageError
from embermill.jobs.plan.sampling import read_sample, sampled_partition

log = logging.getLogger(__name__)

SAMPLED_TEXTS = 512
MEASURED = ("bfloat16", "int8")


def require_close(config: JobConfig, device: str, files: Sequence[SurveyedFile], rows: RowSchema) -> Closeness | None:
    """What was measured, here, whatever the workers' machines are; None where nothing has to be: float32, a GPU, an engine that cannot say, no text.

    UsageError where the least cosine is under model.min_cosine.
    """
    if device != "cpu" or config.model.precision not in MEASURED:
        return None
    texts = sample_texts(files, rows)
    found = engine_closeness(config.model, device, texts, search_path=(str(Path.cwd()),)) if texts else None
    if found is None:
        return None
    measured = f"least cosine to float32 {found.least_cosine:.4f}, mean {found.mean_cosine:.4f}, on {several(len(texts), 'text')} of this corpus"
    log.info("%s: %s", found.computed_by, measured)
    if found.least_cosine < config.model.min_cosine:
        raise UsageError(
            f"model.precision: {config.model.precision}: {measured}; model.min_cosine asks for {config.model.min_cosine:g}: choose another "
            "precision (float32 loses nothing), or set model.min_cosine lower if such vectors serve you"
        )
    return found


def sample_texts(files: Sequence[SurveyedFile], rows: RowSchema) -> list[str]:
    """At most SAMPLED_TEXTS texts from all over the corpus, the same ones each time."""
    texts: list[str] = read_sample(sampled_partition(files), rows, SAMPLED_TEXTS).to_pylist()
    return texts
