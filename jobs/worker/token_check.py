"""A tokenizer that is faster than the one whose ids count: used as long as rows of every shard are found to have the same ids.

Before a shard is published rows of it are compared (token_sample.py). On a difference the shard is not published: a note in the dataset's folder says so to
all workers and to the driver, what is under way is done again by the tokenizer whose ids count, and so is all that comes later, of this run and of others.
Shards that were committed before are compared whole at the end, by tasks of the kind TOKENIZE (token_review.py).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from embermill.counts import several
from embermill.jobs.corpus.rows import RowBatch
from embermill.jobs.dataset.metadata.differing_tokens import DIFFERING, TOKENIZER, DifferingTokens, note_difference
from embermill.jobs.difference.receipts import step_receipt
from embermill.jobs.partition import Partition, describe_partition
from embermill.jobs.receipt import Receipt
from embermill.jobs.storage import Folder
from embermill.jobs.worker.token_sample import TokenSample

log = logging.getLogger(__name__)

ROWS_DIFFERING, DIFFERING_SHARDS, FIRST_ID = "rows_differing", "differing_shards", "first_id"  # what the receipt of a TOKENIZE task tells


class TokensDiffer(Exception):
    """Rows of a shard that is to be published have other ids than those that count."""


class Compared(NamedTuple):
    """texts: so many, of which `differing` have other ids."""

    texts: int
    differing: int


class TokenCheck:
    """dataset: the whole one. The engine tokenizes by its fast tokenizer from now on, where it has one and no note says otherwise."""

    def __init__(self, engine: Any, dataset: Folder, *, may_be_fast: bool = True) -> None:
        """engine: an Engine, which may have what its protocol says of fast tokenizers. may_be_fast: False where the one that counts is used all the time."""
        self._engine = engine
        self._dataset = dataset
        self.fast_name: str = getattr(engine, "fast_tokenizer_name", "") if may_be_fast else ""
        self._exactly = not self.fast_name
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="token-check")
        if not self._exactly:
            self._engine.tokenize_exactly(False)

    def begin(self) -> str:
        """Before a partition is read: the tokenizer that its texts go to, for the record; "" where the engine does not say."""
        if not self._exactly and self._dataset.exists(DIFFERING):
            self._switch()
        return str(getattr(self._engine, "tokenizer_name", ""))

    def is_fast(self, tokenizer: str) -> bool:
        """Whether it is the one of which rows are compared."""
        return bool(self.fast_name) and tokenizer == self.fast_name

    def compare(self, tokenizer: str, sample: TokenSample) -> Future[Compared] | None:
        """All rows of a shard have been added to the sample: its texts are tokenized by both, in a thread beside the caller. None where nothing is compared.

        tokenizer: of the partition, as begin() had it.
        """
        return self._beside.submit(self._compare, sample) if self.is_fast(tokenizer) else None

    def require_equal(self, comparing: Future[Compared] | None, partition: Partition) -> None:
        """comparing: as compare() began it. Waits for it. Raises TokensDiffer, and the note is written by then."""
        if comparing is None or not (found := comparing.result()).differing:
            return
        self._switch()
        exact = self._engine.tokenizer_name
        note_difference(self._dataset, DifferingTokens(self.fast_name, exact, partition.number, found.texts, found.differing))
        raise TokensDiffer(
            f"{describe_partition(partition)}: {self.fast_name} gives other token ids than {exact} to {found.differing} of {several(found.texts, 'row')}: "
            f"it is done again by {exact}, and so is all that comes later"
        )

    def review(self, partition: Partition, batches: Iterator[RowBatch], rows_per_shard: int) -> Receipt:
        """Every row of a partition: which of its shards hold rows with other ids by the fast tokenizer."""
        rows = differing = 0
        shards, first = set[int](), ""
        for batch in batches:
            rows += len(batch.texts)
            places = self._engine.differing_texts(batch.texts.to_pylist()) if self.fast_name else []
            differing += len(places)
            shards |= {int(batch.rows[place]) // rows_per_shard for place in places}
            first = first or (str(batch.ids[places[0]].as_py()) if places else "")
        told = {TOKENIZER: self.fast_name, ROWS_DIFFERING: str(differing), DIFFERING_SHARDS: json.dumps(sorted(shards)), FIRST_ID: first}
        return step_receipt(partition, "", rows_in=rows, provenance=told)

    def _compare(self, sample: TokenSample) -> Compared:
        texts = sample.texts()
        return Compared(len(texts), len(self._engine.differing_texts(texts)))

    def _switch(self) -> None:
        self._exactly = True
        self._engine.tokenize_exactly(True)
