"""`embermill plan`: what a run would do, found out without doing it. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from embermill.jobs.config import JobConfig
from embermill.jobs.corpus.reading import read_rows
from embermill.jobs.corpus.rows import RowSchema
from embermill.jobs.engine import CountTokens, Preview
from embermill.jobs.partition import Partition
from embermill.jobs.plan.listing import SurveyedFile
from embermill.jobs.plan.planning import cut_corpus, dataset_row_bytes, partition_text_bytes
from embermill.jobs.token_lengths import count_lengths, percentile

SAMPLED_PARTITIONS = 32
SAMPLED_ROWS = 64  # of each, from its beginning
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
TEXT_BYTES_PER_TOKEN = 4.0  # guessed, where no tokenizer is at hand


@dataclass(frozen=True)
class Prospect:
    """What is known of a new dataset before a worker starts. device: "cpu" or "gpu". files, rows: the corpus, and how it is read."""

    device: str
    engine: Preview
    files: tuple[SurveyedFile, ...]
    rows: RowSchema


@dataclass(frozen=True)
class Forecast:
    """rows_exact: the footers told the number of rows; otherwise it is estimated, as all tokens and bytes are.

    device: what partitions are cut for. lengths: of the sampled texts, (upper bound in tokens, texts), empty where there was no tokenizer.
    dimensions, output_bytes: None where the model is not known. seconds: None without a speed.
    """

    files: int
    unreadable_files: int
    input_bytes: int
    rows: int
    rows_exact: bool
    text_bytes: int
    partitions: int
    partition_text_bytes: int
    device: str
    sampled_texts: int
    lengths: tuple[tuple[int, int], ...]
    percentiles: dict[str, int]
    tokens: int
    dimensions: int | None
    output_bytes: int | None
    seconds: float | None

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def forecast(config: JobConfig, prospect: Prospect, tokens_per_s: float | None = None) -> Forecast:
    """Cut the corpus as a run would, and sample its texts. Raises what reading them raises."""
    files, count_tokens, max_tokens = prospect.files, prospect.engine.count_tokens, prospect.engine.max_tokens
    dimensions = sum(output.dim for output in prospect.engine.outputs) or None
    target = partition_text_bytes(config, prospect.device)
    partitions = cut_corpus(files, target)
    lengths, tokens_per_byte = _measure(_sample(partitions, prospect.rows), count_tokens)
    text_bytes = sum(file.text_bytes for file in files)
    expected_rows = sum(file.expected_rows for file in files)
    tokens = int(text_bytes * tokens_per_byte)
    if max_tokens is not None:  # a text of megabytes is cut like any other
        tokens = min(tokens, expected_rows * max_tokens)
    histogram = count_lengths(lengths) if count_tokens is not None and len(lengths) else ()
    return Forecast(
        files=len(files),
        unreadable_files=sum(bool(file.error) for file in files),
        input_bytes=sum(file.info.size for file in files),
        rows=expected_rows,
        rows_exact=all(file.rows is not None for file in files),
        text_bytes=text_bytes,
        partitions=len(partitions),
        partition_text_bytes=target,
        device=prospect.device,
        sampled_texts=len(lengths),
        lengths=histogram,
        percentiles={name: percentile(histogram, share) for name, share in PERCENTILES.items()} if histogram else {},
        tokens=tokens,
        dimensions=dimensions,
        output_bytes=None if dimensions is None else expected_rows * dataset_row_bytes(dimensions, files),
        seconds=None if not tokens_per_s else tokens / tokens_per_s,
    )


def _sample(partitions: tuple[Partition, ...], rows: RowSchema) -> Iterator[list[str]]:
    """The first texts of partitions that lie evenly over the corpus."""
    step = max(1, len(partitions) // SAMPLED_PARTITIONS)
    for partition in partitions[::step][:SAMPLED_PARTITIONS]:
        batch = next(read_rows(partition, rows, batch_rows=SAMPLED_ROWS), None)
        if batch is not None and len(batch.texts):
            yield batch.texts.to_pylist()


def _measure(samples: Iterator[list[str]], count_tokens: CountTokens | None) -> tuple[np.ndarray, float]:
    """Lengths of the sampled texts, in tokens (zeros without a tokenizer), and tokens per byte of text."""
    lengths: list[np.ndarray] = []
    size = 0
    for texts in samples:
        lengths.append(np.zeros(len(texts), np.int64) if count_tokens is None else np.asarray(count_tokens(texts), np.int64))
        size += sum(len(text.encode()) for text in texts)
    found = np.concatenate(lengths) if lengths else np.empty(0, np.int64)
    return found, 1 / TEXT_BYTES_PER_TOKEN if count_tokens is None or not size else float(found.sum() / size)
