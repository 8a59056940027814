"""`embermill plan`: what a run would do, found out without doing it. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from jobs.config import JobConfig
from jobs.corpus.reading import read_rows
from jobs.corpus.rows import RowSchema
from jobs.engine import Output
from jobs.partition import Partition
from jobs.plan.listing import survey_files
from jobs.plan.planning import check_columns, cut_corpus, dataset_row_bytes, partition_text_bytes
from jobs.token_lengths import count_lengths, percentile

SAMPLED_PARTITIONS = 32
SAMPLED_ROWS = 64  # of each, from its beginning
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
TEXT_BYTES_PER_TOKEN = 4.0  # guessed, where no tokenizer is at hand

CountTokens = Callable[[Sequence[str]], np.ndarray]
"""Texts -> [B] tokens fed to the model for each, special ones and prompt included."""


@dataclass(frozen=True)
class Survey:
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


def survey(
    config: JobConfig,
    outputs: tuple[Output, ...] = (),
    *,
    count_tokens: CountTokens | None = None,
    max_tokens: int | None = None,
    tokens_per_s: float | None = None,
) -> Survey:
    """List the corpus, check its columns as a run would, and sample its texts. Raises what a run would raise.

    outputs: the engine's, as far as they are known. max_tokens: of one row at most.
    """
    files = survey_files(config.corpus)
    rows = check_columns(config, files, outputs)
    dimensions = sum(output.dim for output in outputs) if outputs else None
    device = "gpu" if config.workers.device == "gpu" else "cpu"
    target = partition_text_bytes(config, device)
    partitions = cut_corpus(files, target)
    lengths, tokens_per_byte = _measure(_sample(partitions, rows), count_tokens)
    text_bytes = sum(file.text_bytes for file in files)
    expected_rows = sum(file.expected_rows for file in files)
    tokens = int(text_bytes * tokens_per_byte)
    if max_tokens is not None:  # a text of megabytes is cut like any other
        tokens = min(tokens, expected_rows * max_tokens)
    histogram = count_lengths(lengths) if count_tokens is not None and len(lengths) else ()
    return Survey(
        files=len(files),
        unreadable_files=sum(bool(file.error) for file in files),
        input_bytes=sum(file.info.size for file in files),
        rows=expected_rows,
        rows_exact=all(file.rows is not None for file in files),
        text_bytes=text_bytes,
        partitions=len(partitions),
        partition_text_bytes=target,
        device=device,
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
