"""After a tokenizer was found to give other ids: every committed shard that it made is tokenized once more, before anything is called finished."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

from embermill.counts import several
from embermill.jobs.config import JobConfig
from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.differing_tokens import TOKENIZER, DifferingTokens, read_difference
from embermill.jobs.dataset.metadata.lease import Lease
from embermill.jobs.difference.receipts import StepLog
from embermill.jobs.driver.display import Silent
from embermill.jobs.driver.loop import stopped_by_signals
from embermill.jobs.driver.stage import Stage, StageReport, carry_out
from embermill.jobs.errors import DataError
from embermill.jobs.plan.files import Plan
from embermill.jobs.pool.nodes import Nodes
from embermill.jobs.pool.opening import await_first, open_pool
from embermill.jobs.receipt import TOKENIZE, Receipt
from embermill.jobs.storage import Folder
from embermill.jobs.worker.token_check import DIFFERING_SHARDS, FIRST_ID

log = logging.getLogger(__name__)
SHOWN = 5
COLUMNS = ("partition", "ordinal", "shard", "adopted", "provenance")
Shard = tuple[int, int]  # partition, ordinal


def review_tokens(config: JobConfig, folder: Folder, plan: Plan, commits: CommitLog, lease: Lease | None) -> None:
    """Nothing where no tokenizer was found out. DataError, naming the shards, where rows of them have vectors of other token ids than those that count."""
    note = read_difference(folder)
    made = {} if note is None else shards_made_by(note, commits)
    if note is None or not made:
        return
    wanted = sorted({partition for partition, _ in made})
    log.warning(
        "%s gave other token ids than %s (partition %d): %s that it made are tokenized once more", note.tokenizer, note.exact, note.partition,
        several(len(made), "committed shard"),
    )  # fmt: skip
    judge(folder.root, note, made, _tokenize_again(config, folder, plan, lease, wanted))


def shards_made_by(note: DifferingTokens, commits: CommitLog) -> dict[Shard, str]:
    """Place and name of each committed shard with vectors that it made, or may have made: of an adopted one nobody knows."""
    found = dict[Shard, str]()
    for batch in commits.columns(COLUMNS).to_batches():
        for partition, ordinal, name, adopted, provenance in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            tokenizer = dict(provenance).get(TOKENIZER, "")
            if name and (tokenizer == note.tokenizer or (adopted and not tokenizer)):
                found[partition, ordinal] = name
    return found


def judge(root: str, note: DifferingTokens, made: dict[Shard, str], receipts: Sequence[Receipt]) -> None:
    """receipts: of the tasks. DataError where a shard differs, or could not be compared."""
    differing, unknown, first = list[str](), list[str](), ""
    for receipt in receipts:
        mine = {ordinal: name for (partition, ordinal), name in made.items() if partition == receipt.partition}
        if receipt.provenance[TOKENIZER] != note.tokenizer:
            unknown += mine.values()
            continue
        found = [mine[ordinal] for ordinal in json.loads(receipt.provenance[DIFFERING_SHARDS]) if ordinal in mine]
        differing += found
        first = first or (receipt.provenance[FIRST_ID] if found else "")
    if differing:
        of = f"{several(len(differing), 'committed shard')} with vectors of other token ids than {note.exact} gives, made by {note.tokenizer}"
        what = f"{of}: {_listed(differing)}; the first such row is {first!r}"
    elif unknown:
        of = f"{several(len(unknown), 'committed shard')} made by {note.tokenizer}, which gave other token ids than {note.exact}"
        what = f"{of}, and no worker had {note.tokenizer} to compare them by: {_listed(unknown)}. Install it and run again, or embed them again"
    else:
        log.info("%s: the same ids", several(len(made), "shard"))
        return
    again = f"delete them and run `embermill repair {root}`, which embeds them again by {note.exact.split()[0]}; then run the same job again"
    raise DataError(f"{root}: {what}. No manifest is published. To embed them again, {again}.")


def _listed(names: list[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _tokenize_again(config: JobConfig, folder: Folder, plan: Plan, lease: Lease | None, numbers: list[int]) -> list[Receipt]:
    """The receipts of a task for each of the partitions."""
    partitions, done = [plan.partitions[number] for number in numbers], StepLog([])
    with open_pool(config, folder, plan) as opened, stopped_by_signals() as stop:
        nodes, workers = Nodes(), opened.begin_with(len(partitions))
        heard, _ = await_first(opened.pool, workers, stop, nodes)
        stage = Stage(
            config, folder, partitions, done.receipts, done, opened, workers, plan.device_kind, Silent(), stop, lease=lease, kind=TOKENIZE, heard=heard,
            nodes=nodes, noun="token review",
        )  # fmt: skip
        carry_out(stage, StageReport())
    return [*done.receipts()]
