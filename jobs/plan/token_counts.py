"""How many tokens texts have, told from a sample of them: the first texts of partitions that lie evenly over all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embermill.jobs.partition import Partition

SAMPLED_PARTITIONS = 32
SAMPLED_ROWS = 64  # of each, from its beginning


@dataclass(frozen=True)
class Sample:
    """Some texts of one partition. rows, text_bytes: of all the partition. lengths: [N] tokens of each text; guessed where there is no tokenizer.

    whole: [N] the same, with what is beyond the model's limit; None where that is not known.
    """

    rows: float
    text_bytes: int
    lengths: np.ndarray
    whole: np.ndarray | None = None


def sampled(partitions: Sequence[Partition]) -> list[Partition]:
    """Those that lie evenly over all of them, to their end; all, where they are few."""
    number = min(SAMPLED_PARTITIONS, len(partitions))
    return [partitions[len(partitions) * place // number] for place in range(number)]


def computed(lengths: np.ndarray, most: int | None) -> np.ndarray:
    """lengths: [N] tokens as an engine counts them, who need not count as far as its limit alone. most: that limit, beyond which it computes nothing."""
    return lengths if most is None else np.minimum(lengths, most)


def mean_tokens(samples: Sequence[Sample]) -> float:
    """Of a row: partitions hold about as much text each, so those of short rows count for more rows."""
    rows = sum(sample.rows for sample in samples)
    return sum(sample.rows * float(sample.lengths.mean()) for sample in samples if len(sample.lengths)) / rows if rows else 0.0
