"""What a sync reads of its corpus: the files that its claim says are to be opened, looked at, checked and cut."""

from __future__ import annotations

from embermill.jobs.config import CorpusConfig
from embermill.jobs.dataset.metadata.versions import FIRST, Version
from embermill.jobs.difference.claim import Claim
from embermill.jobs.partition import Partition
from embermill.jobs.plan.files import Plan
from embermill.jobs.plan.listing import survey_listed
from embermill.jobs.plan.planning import check_surveyed, cut_corpus


def partitions_to_scan(corpus: CorpusConfig, root: str, plan: Plan, claim: Claim, parent: Version) -> tuple[Partition, ...]:
    """root: of the dataset. DataError where a file cannot be read, or has a column of another type than the dataset."""
    files = survey_listed(corpus, [(file.name, file.info) for file in claim.comparison.scanned])
    check_surveyed(corpus, plan.rows, files, otherwise=_elsewhere(root, parent))
    return cut_corpus(files, claim.text_bytes)


def _elsewhere(root: str, parent: Version) -> str:
    """What there is to do where a column has another type than this dataset gives it."""
    if parent.number == FIRST and not parent.totals["rows"]:
        return f"remove {root}, which holds no row, and run again"
    return f"run `embermill sync` with corpus.on_schema_drift: cast, another output.uri and --reuse {root}, which takes the vectors from here"
