"""The stages of a version of a dataset of chunks: documents are compared, those that differ are cut, their unknown texts embedded, all their vectors copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.versions import live_documents
from embermill.jobs.difference.chunk_deletes import add_up_chunks
from embermill.jobs.difference.chunk_writing import cut_by_documents, schema_of_texts
from embermill.jobs.difference.committing import RECEIPT_COLUMNS, Added
from embermill.jobs.difference.differing import Totals
from embermill.jobs.difference.document_cuts import CutDocuments, create_documents, cut_name, read_cuts
from embermill.jobs.difference.making import TextsFolder
from embermill.jobs.difference.scan import ScanTotals
from embermill.jobs.difference.writing import Writes, bytes_of_vectors, collect, create_writes, read_writes
from embermill.jobs.partition import Partition
from embermill.jobs.plan.files import Plan
from embermill.jobs.plan.planning import shard_schema
from embermill.jobs.receipt import CUT
from embermill.jobs.sync.counting import count_chunks
from embermill.jobs.sync.stages import Stages
from embermill.jobs.worker.worker import Making


class ChunkStages(Stages):
    def _live_before(self) -> tuple[int, str]:
        return live_documents(self._folder, self._parent), "documents"

    def _decide(self, scans: Sequence[ScanTotals]) -> Writes:
        """Which documents are written, how each is cut, and which of its texts have no vector; as it was decided before, if it was."""
        number = self._claim.number
        if (standing := read_writes(self._folder, number)) is not None:
            return standing
        found = self._cut()
        rows, cut = cut_by_documents(found, self._settle(found.candidates), embed_bytes=self._embed_bytes, vector_bytes=bytes_of_vectors(self._plan))
        return create_writes(self._folder, number, rows, cut)

    def _cut(self) -> CutDocuments:
        number, documents = self._claim.number, collect(self._folder, self._standing_differences())
        create_documents(self._folder, number, documents, len(self.scanned))
        wanted = {*documents.part.tolist()}
        parts = [part for part in self.scanned if part.number in wanted]
        names = [cut_name(number, part) for part in parts]
        if parts:
            self._step(CUT, parts, names, "partition of documents", number)
        return read_cuts(self._folder, [(part.number, name) for part, name in zip(parts, names, strict=True)])

    def _write(self, writes: Writes, parts: Sequence[Partition]) -> CommitLog:
        plan = self._version_plan(writes, parts, self._making)
        texts = TextsFolder(self._folder, self._claim.number)
        commits = self._commits_of(texts, self._version_plan(writes, parts, texts))
        self._embed(plan.partitions[: writes.embedded], commits, Making(self._claim.number, with_engine=True, texts=True))
        self._texts = commits.columns(RECEIPT_COLUMNS)
        commits = self._commits_of(self._making, plan)
        self._copy(plan.partitions[writes.embedded :], commits)
        return commits

    def _plan_of_version(self, partitions: tuple[Partition, ...], *, texts: bool) -> Plan:
        plan = super()._plan_of_version(partitions, texts=texts)
        rows = schema_of_texts(plan.rows) if texts else plan.rows
        return replace(plan, rows=rows, schema=shard_schema(rows, plan.stored), holds_input_digests=texts)

    def _add_up(self, plan: Plan, receipts: pa.Table, totals: Totals) -> Added:
        return add_up_chunks(self._folder, self._claim, self._parent, self._plan, self._making, plan, receipts, totals)

    def _all(self, receipts: pa.Table) -> pa.Table:
        return pa.concat_tables([self._texts, receipts])

    def _counts(self, rows: dict[str, Any], added: Added) -> dict[str, Any]:
        return count_chunks(rows, added)
