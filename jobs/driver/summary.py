"""What a run did, in numbers: the dataset's and this run's."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from embermill.jobs.dataset.metadata.manifest import Manifest
from embermill.jobs.dataset.metadata.versions import FIRST, Version
from embermill.jobs.dataset.views.findings import FINDINGS
from embermill.jobs.engine import Prompts
from embermill.jobs.vectors.form import FLOAT16, INT8, StoredVector, words


@dataclass(frozen=True)
class Summary:
    """What the run made, which is version 1: rows_*, documents, tokens, tokens_dropped, shards, output_bytes, token_lengths (percentiles).
    chunked: its rows are chunks of documents, and rows_quarantined counts documents; rows_in is what was made of both.

    devices: how many shards each GPU (UUID) or processor computed; of more than 16 only their number, under "".
    first_quarantined: the first entry of the quarantine, None where nothing was refused or it cannot be read.

    The newest version, which is another one where the dataset was finished before and sync, erase, … followed: version, version_cause, version_created,
    live_rows, and live_documents of a dataset of chunks.

    This run: committed_before (shards that a commit named, or that were adopted, when it began), rows_embedded (read, that is), rows_written,
    documents_written, tokens_embedded, seconds (all of it),
    seconds_embedding (first document read to last commit), rows_per_s and tokens_per_s over seconds_embedding, stage_shares of the workers' busy time,
    bound, device, workers. findings: as dataset.findings has them, None in a dataset finished before there were any.
    prompts: what is put before documents and queries, None where the engine does not say.
    vectors: the columns of output.vectors, (column, form); none where each of the engine's is stored as it is. values_clipped: numbers of them that were
    too large for their codes; share_clipped: of all numbers in such columns.
    unknown_words: of chunks, pieces of over 64 characters of words that the tokenizer takes for one unknown token (chunk.on_blob).
    corpus: of a dataset that was finished before, how its corpus differs from the newest version now, by the listing alone (sync/seen.py).
    """

    output: str
    manifest: str
    rows_in: int
    rows_out: int
    rows_quarantined: int
    documents: int
    tokens: int
    tokens_dropped: int
    rows_truncated: int
    shards: int
    output_bytes: int
    token_lengths: dict[str, int]
    devices: dict[str, int]
    first_quarantined: dict[str, Any] | None
    committed_before: int
    rows_embedded: int
    tokens_embedded: int
    seconds: float
    seconds_embedding: float
    rows_per_s: float
    tokens_per_s: float
    stage_shares: dict[str, float]
    bound: str
    device: str
    precision: str
    workers: int
    findings: dict[str, Any] | None = None
    prompts: Prompts | None = None
    corpus: dict[str, Any] | None = None
    vectors: tuple[dict[str, str], ...] = ()
    values_clipped: int = 0
    share_clipped: float = 0.0
    unknown_words: int = 0
    chunked: bool = False
    rows_written: int = 0
    documents_written: int = 0
    version: int = FIRST
    version_cause: str = "run"
    version_created: str = ""
    live_rows: int = 0
    live_documents: int | None = None

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Effort:
    """This run's share: what it found, and what it took."""

    committed_before: int = 0
    rows_before: int = 0
    rows_out_before: int = 0
    documents_before: int = 0
    tokens_before: int = 0
    seconds: float = 0.0
    seconds_embedding: float = 0.0
    stage_shares: dict[str, float] | None = None
    bound: str = ""
    workers: int = 0


def summarise(
    output: str, manifest: Manifest, effort: Effort, *, first_quarantined: dict[str, Any] | None, device: str, precision: str,
    vectors: tuple[StoredVector, ...] = (), newest: Version | None = None, live_documents: int | None = None,
) -> Summary:  # fmt: skip
    """vectors: of the plan. newest: the version that is current now. live_documents: of a dataset of chunks, how many that one has."""
    totals = manifest.totals
    codes = totals.rows_out * sum(form.dim for form in vectors if form.dtype in (INT8, FLOAT16))
    rows, tokens = totals.rows_in - effort.rows_before, totals.tokens - effort.tokens_before
    embedding_s = effort.seconds_embedding
    return Summary(
        output=output,
        manifest=manifest.name,
        rows_in=totals.rows_in,
        rows_out=totals.rows_out,
        rows_quarantined=totals.rows_quarantined,
        documents=totals.documents,
        tokens=totals.tokens,
        tokens_dropped=totals.tokens_dropped,
        rows_truncated=totals.rows_truncated,
        shards=totals.shards,
        output_bytes=totals.shard_bytes + totals.quarantine_bytes,
        token_lengths=manifest.root["token_lengths"],
        devices=manifest.root["provenance"].get("device", {}),
        first_quarantined=first_quarantined,
        committed_before=effort.committed_before,
        rows_embedded=rows,
        tokens_embedded=tokens,
        seconds=round(effort.seconds, 3),
        seconds_embedding=round(embedding_s, 3),
        rows_per_s=round(rows / embedding_s, 1) if embedding_s else 0.0,
        tokens_per_s=round(tokens / embedding_s, 1) if embedding_s else 0.0,
        stage_shares={stage: round(share, 4) for stage, share in (effort.stage_shares or {}).items()},
        bound=effort.bound,
        device=device,
        precision=precision,
        workers=effort.workers,
        findings=manifest.root.get(FINDINGS),
        vectors=tuple({"column": form.column, "form": words(form)} for form in vectors),
        values_clipped=totals.values_clipped,
        share_clipped=totals.values_clipped / codes if codes else 0.0,
        unknown_words=totals.unknown_words,
        chunked=live_documents is not None,
        rows_written=totals.rows_out - effort.rows_out_before,
        documents_written=totals.documents - effort.documents_before,
        version=FIRST if newest is None else newest.number,
        version_cause="run" if newest is None else newest.cause,
        version_created="" if newest is None else newest.created,
        live_rows=totals.rows_out if newest is None else newest.totals["rows"],
        live_documents=live_documents,
    )
