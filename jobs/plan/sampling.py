"""Which of a corpus's texts something is measured on, before there is a plan: the same ones of the same corpus, from all over it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import pyarrow as pa

from embermill.jobs.corpus.pieces import Piece
from embermill.jobs.corpus.reading import read_rows
from embermill.jobs.corpus.rows import RowSchema
from embermill.jobs.corpus.surveyed import SurveyedFile
from embermill.jobs.partition import Partition, partition_id
from embermill.jobs.plan.listing import cut_file

SEED = 18
MOST_TEXTS, LEAST_TEXTS = 10_000, 1_000
SHARE = 100  # one text in so many: what is embedded for the sample is embedded again for the dataset
SAMPLED_BYTES = 64 << 20  # of text that is read for it
PLACES = 64  # of a corpus that is larger
FINEST_BYTES = 1 << 20
SMALLEST_SHARE_BYTES = 64 << 10  # of text that is read at one place


def sampled_texts(files: Sequence[SurveyedFile]) -> int:
    """One in a hundred, but 1,000 at least and 10,000 at most."""
    return min(MOST_TEXTS, max(LEAST_TEXTS, sum(file.expected_rows for file in files) // SHARE))


def sampled_partition(files: Sequence[SurveyedFile]) -> Partition:
    """What is read for the sample: the whole corpus, where it is small, else the beginnings of pieces from all over it, chosen by a seed."""
    readable = [file for file in files if not file.error]
    total = sum(file.text_bytes for file in readable)
    pieces = [*_cut(readable, max(FINEST_BYTES, total // 4096))]
    if total > SAMPLED_BYTES and len(pieces) > PLACES:
        chosen = sorted(random.Random(SEED).sample(range(len(pieces)), PLACES))
        pieces = [pieces[place] for place in chosen]
    segments = tuple(piece.segment for piece in pieces)
    return Partition(0, partition_id(segments), segments, min(SAMPLED_BYTES, sum(piece.text_bytes for piece in pieces)))


def _cut(files: Sequence[SurveyedFile], target_bytes: int) -> Iterable[Piece]:
    return chain.from_iterable(cut_file(file, target_bytes) for file in files)


def read_sample(partition: Partition, rows: RowSchema, number: int) -> pa.Array:
    """At most so many texts of a partition of sampled_partition, in corpus order, the same ones each time."""
    held = [*_read(partition, rows)]
    texts = pa.concat_arrays(held) if held else pa.array([], pa.string())
    if len(texts) <= number:
        return texts
    return texts.take(pa.array(np.sort(np.random.default_rng(SEED).choice(len(texts), number, replace=False))))


def _read(partition: Partition, rows: RowSchema) -> Iterator[pa.Array]:
    """Of each segment about as many bytes of text."""
    share = max(SMALLEST_SHARE_BYTES, SAMPLED_BYTES // max(1, len(partition.segments)))
    for segment in partition.segments:
        left = share
        for batch in read_rows(replace(partition, segments=(segment,)), rows, batch_bytes=min(share, 4 << 20)):
            if len(batch.texts):
                yield batch.texts
            left -= batch.texts.nbytes
            if left <= 0:
                break
