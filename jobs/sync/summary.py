"""What a sync did, in numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from embermill.jobs.driver.summary import Summary


@dataclass(frozen=True)
class SyncSummary:
    """action: "run" (the first sync; `run` is its summary), "nothing" (the corpus is as the version read it, or, where files were scanned, no row of
    it differs), "committed".

    version, parent: the newest version now, and the one before it. files: by state (same, renamed, new, changed, gone), and how many were scanned.
    rows: live rows. rows_new, rows_changed: with another text than before, or none. rows_metadata: kept columns alone differ. rows_moved: another file gives
    them. rows_unseen: no file gives them any more, and they stay. rows_stale: good before and refused now. rows_refused: all that the corpus
    files hold, as syncs have read them. These three are of all syncs so far, where nothing was to do as well; the others of this one. rows_duplicate: of an
    id that occurs earlier.
    documents: of a dataset of chunks what is told of rows of its corpus, by the same words, and how many are live. rows, rows_new, rows_deleted and
    rows_unchanged are then of chunks; rows_moved of those that were written again under the same id: at another place, or of another version of the document.
    imported: of vectors that were given (`--import-vectors`): files, vectors, and how those agree with the engine's own (difference/importing.Agreement).
    compacted: the version after it, with a new base (output.compact_at).
    values_clipped: numbers of new vectors that were too large for their codes (output.vectors). unknown_words: of the chunked documents that were
    written, pieces of over 64 characters of words that the tokenizer takes for one unknown token (chunk.on_blob).
    empty_texts: new and changed rows, or documents, without any text.
    texts_embedded: given to the engine; vectors_copied: taken from elsewhere. abandoned: versions that were begun and given up by this sync.
    """

    action: str
    output: str
    version: int
    parent: int | None = None
    files: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    rows_scanned: int = 0
    rows_new: int = 0
    rows_changed: int = 0
    rows_metadata: int = 0
    rows_moved: int = 0
    rows_unchanged: int = 0
    rows_deleted: int = 0
    rows_unseen: int = 0
    rows_stale: int = 0
    rows_refused: int = 0
    rows_duplicate: int = 0
    rows_quarantined: int = 0
    texts_embedded: int = 0
    vectors_copied: int = 0
    tokens_embedded: int = 0
    bytes_written: int = 0
    values_clipped: int = 0
    unknown_words: int = 0
    empty_texts: int = 0
    abandoned: int = 0
    seconds: float = 0.0
    run: Summary | None = None
    imported: dict[str, Any] | None = None
    compacted: int | None = None
    documents: dict[str, int] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def describe_listing(counts: dict[str, int]) -> str:
    told = [f"{counts[state]:,} {state}" for state in ("new", "changed", "renamed", "gone", "same") if counts[state]]
    return f"files: {', '.join(told) or 'none'}; {counts['scanned']:,} to be read"
