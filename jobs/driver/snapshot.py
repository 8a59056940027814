"""How far a run is, as it is shown and recorded. Light to import: who follows a job on a cluster needs no more."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Snapshot:
    """rows, tokens: embedded by this run. Those committed and all else count for the dataset. eta_s: None while it cannot be told.

    unit: what a row is called: a row, or a chunk of a document. copies: vectors are copied, and no text is embedded.
    stage_shares: of all busy seconds, by stage. bound: the stage that is busiest, "" before anything is known.
    """

    rows: int
    tokens: int
    rows_per_s: float
    tokens_per_s: float
    partitions_done: int
    partitions: int
    done_share: float
    tokens_left: int
    eta_s: float | None
    stage_shares: dict[str, float]
    bound: str
    workers: int
    unit: str = "row"
    copies: bool = False

    def to_json(self) -> dict[str, object]:
        return asdict(self)
