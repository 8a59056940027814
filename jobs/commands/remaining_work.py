"""What a run would do at an existing dataset: nothing, finish it, or resume. It decides as `run` does, and writes nothing."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from embermill.jobs.config import JobConfig
from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.completeness import unfinished
from embermill.jobs.dataset.metadata.first_quarantined import first_quarantined
from embermill.jobs.dataset.metadata.inventory import receipts_of
from embermill.jobs.dataset.metadata.manifest import check_files
from embermill.jobs.dataset.metadata.receipt_table import Totals, shard_keys, sum_receipts
from embermill.jobs.dataset.metadata.reconcile import require_consistent
from embermill.jobs.dataset.metadata.retirement import is_retired
from embermill.jobs.dataset.metadata.versions import FIRST, documents_of, read_newest
from embermill.jobs.driver.outcome import require_few_quarantined
from embermill.jobs.driver.progress import TOKENS_PER_BYTE
from embermill.jobs.engine.loading import preview_engine
from embermill.jobs.errors import JobError
from embermill.jobs.plan.files import Plan, numbers_in
from embermill.jobs.plan.forecast import Prospect, tokens_per_byte
from embermill.jobs.plan.partitions import ChosenPartitions
from embermill.jobs.shard.adoption import list_uncommitted
from embermill.jobs.storage import Folder


@dataclass(frozen=True)
class RemainingWork:
    """action: "nothing" (finished), "finish" (all is embedded, the manifest is not published), "go_on".

    partitions, text_bytes: of the plan, in all and left. rows, tokens: read and committed by now. tokens_left: estimated from those, or from a sample of the
    corpus where no partition is complete; seconds: at the speed given. holds: rows, documents (of a dataset of chunks), tokens (None of a version after the
    first) and version of what is there; of an unfinished one what is committed.
    uncommitted: shards that a killed run left, which are checked and adopted first; so less may be left than is said here.
    """

    action: str
    files: int
    partitions: int
    partitions_done: int
    partitions_left: int
    text_bytes: int
    text_bytes_left: int
    rows: int
    holds: dict[str, int | None]
    tokens: int
    tokens_left: int
    uncommitted: int
    device: str
    precision: str
    seconds: float | None

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def describe_remaining_work(config: JobConfig, folder: Folder, plan: Plan, tokens_per_s: float | None = None) -> RemainingWork:
    """plan: the dataset's, which the configuration agrees with. Raises what a run would raise before its first worker starts, and of one that has
    nothing left to embed also what it would end with."""
    log = CommitLog(folder)
    manifest = require_consistent(folder, plan, log)
    receipts = receipts_of(manifest or log)
    left = unfinished(plan, receipts)
    totals = sum_receipts(receipts)
    if not len(left):
        require_few_quarantined(folder.root, totals, config.corpus.max_quarantined, first_quarantined(folder, receipts), published=lambda: manifest is not None)
        if manifest is None or not is_retired(folder, FIRST):
            check_files(folder, receipts, numbers_in(plan.superseded))
    text_bytes, bytes_left = plan.text_bytes(), plan.text_bytes(left)
    tokens_left = _tokens_left(config, plan, receipts, left) if len(left) else 0
    return RemainingWork(
        action="go_on" if len(left) else "nothing" if manifest else "finish",
        files=len(plan.listing),
        partitions=len(plan.current),
        partitions_done=len(plan.current) - len(left),
        partitions_left=len(left),
        text_bytes=text_bytes,
        text_bytes_left=bytes_left,
        rows=totals.rows_in,
        holds=_holds(folder, plan, totals),
        tokens=totals.tokens,
        tokens_left=tokens_left,
        uncommitted=len(list_uncommitted(folder, plan, {*shard_keys(receipts)})),
        device=plan.device_kind,
        precision=plan.precision,
        seconds=None if not tokens_per_s else tokens_left / tokens_per_s,
    )


def _tokens_left(config: JobConfig, plan: Plan, receipts: pa.Table, left: np.ndarray) -> int:
    """left: numbers of the partitions that are not complete, of which shards may be committed."""
    in_left = np.isin(receipts.column("partition").to_numpy(), left)
    tokens = receipts.column("tokens").to_numpy()
    bytes_left = plan.text_bytes(left)
    bytes_done, tokens_done = plan.text_bytes() - bytes_left, int(tokens[~in_left].sum())
    rate = tokens_done / bytes_done if bytes_done and tokens_done else _sampled_rate(config, plan, left)
    return max(0, round(bytes_left * rate) - int(tokens[in_left].sum()))


def _sampled_rate(config: JobConfig, plan: Plan, left: np.ndarray) -> float:
    """Tokens of a byte of the corpus, as the engine counts them; of English text where it or the corpus cannot be looked at, which a run will refuse."""
    found: float | None = None
    with contextlib.suppress(JobError, OSError):
        engine = preview_engine(config.as_planned(plan).model, plan.device_kind, search_path=(str(Path.cwd()),))
        found = tokens_per_byte(config, Prospect(plan.device_kind, engine, (), plan.rows), ChosenPartitions(plan.partitions, left.tolist()))
    return TOKENS_PER_BYTE if found is None else found


def _holds(folder: Folder, plan: Plan, totals: Totals) -> dict[str, int | None]:
    newest = read_newest(folder)
    if newest is None or newest.number == FIRST:
        documents = totals.documents if plan.rows.is_chunked else None
        return {"rows": totals.rows_out, "documents": documents, "tokens": totals.tokens, "version": None if newest is None else FIRST}
    return {"rows": newest.totals["rows"], "documents": documents_of(folder, plan, newest), "tokens": None, "version": newest.number}
