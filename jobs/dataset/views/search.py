"""Brute-force search over a dataset's shards: exact, streamed, in memory that grows with the number of answers and not with the corpus.

The query is embedded by the dataset's own model: a dataset whose model is not to be had as it was cannot be searched, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from embermill.jobs.bookkeeping.stored_keys import differing_keys
from embermill.jobs.config import ModelConfig, require_whole
from embermill.jobs.config.errors import describe_invalid
from embermill.jobs.dataset.metadata.inventory import read_inventory
from embermill.jobs.dataset.metadata.receipt_table import sum_receipts
from embermill.jobs.dataset.metadata.versions import FIRST, documents_of, read_version
from embermill.jobs.dataset.metadata.why_empty import why_empty
from embermill.jobs.dataset.views.live import LiveFile, LiveRows, open_rows, read_batches
from embermill.jobs.engine import FINGERPRINT_IF_ABSENT, WHY_ADDED
from embermill.jobs.engine.loading import describe_engine, load_engine
from embermill.jobs.errors import DataError, UsageError
from embermill.jobs.plan.files import Plan
from embermill.jobs.shard.contents import to_matrix
from embermill.jobs.storage import Folder, open_folder
from embermill.jobs.vectors.codec import decode, encode, shorten
from embermill.jobs.vectors.form import FLOAT32, SENTENCE_TRANSFORMERS, StoredVector

BATCH_ROWS = 2048
SMALLEST_NORM = 1e-12  # a vector of zeros is similar to nothing


@dataclass(frozen=True)
class Hit:
    """One row that was found. score: cosine of its vector with the query's. columns: everything of the row but its vector."""

    score: float
    shard: str
    row: int
    columns: dict[str, Any]


@dataclass(frozen=True)
class Dataset:
    """The files of rows of a dataset's newest version, and the model that made it. rows: live ones. finished: a run was; else they are what is committed.

    documents: of a dataset of chunks, that those rows are of. unfinished: why it is not finished, in words. refused: whether that is for what the run
    refused. empty: why it has no row, where that is known.
    """

    folder: Folder
    plan: Plan
    model: ModelConfig
    shards: tuple[str | LiveFile, ...]
    rows: int
    finished: bool
    documents: int | None = None
    unfinished: str | None = None
    refused: bool = False
    empty: str | None = None

    def to_json(self) -> dict[str, Any]:
        """What it holds, as an answer has it."""
        return {"rows": self.rows, "documents": self.documents, "finished": self.finished, "unfinished": self.unfinished, "empty": self.empty}


def open_for_search(uri: str, *, model_source: str | None = None) -> Dataset:
    """The dataset at a local path or URL. model_source: where its model is now, if it has moved. Raises what read_inventory raises."""
    folder = open_folder(uri)
    found = read_inventory(folder)
    plan, receipts = found.plan, found.receipts
    settings = {key.removeprefix("model."): value for key, value in plan.config.items() if key.startswith("model.")}
    try:
        model = ModelConfig.model_validate(settings | ({"source": model_source} if model_source else {})).as_planned(plan)
    except ValidationError as error:
        raise UsageError(f"{folder.root}: its plan names no model that can be opened: {'; '.join(describe_invalid(error))}") from None
    require_whole(model.source, folder.root, "pass --model ADDRESS")
    newest = None if found.manifest is None else read_version(folder)
    empty = None if newest is None else why_empty(folder, newest)
    if (version := newest) is not None and version.number > FIRST:
        documents = documents_of(folder, plan, version)
        return Dataset(folder, plan, model, tuple(LiveRows(folder, plan, version).files()), version.totals["rows"], True, documents, empty=empty)
    shards, totals = tuple(receipts.column("shard").drop_null().to_pylist()), sum_receipts(receipts)
    documents, unfinished = totals.documents if plan.rows.is_chunked else None, found.why_unfinished(folder) if found.manifest is None else None
    return Dataset(folder, plan, model, shards, totals.rows_out, found.manifest is not None, documents, unfinished, found.is_refused, empty)


def search_dataset(
    dataset: Dataset, query: str, *, k: int, prompt: str | None = None, device: str = "auto", column: str | None = None, all_chunks: bool = False
) -> list[Hit]:
    """The k rows of the dataset most similar to a text. prompt: put before it, in place of the one for documents. column: of vectors; None: the first.

    Of a dataset of chunks each document's best one, unless all_chunks.
    """
    form = form_of(dataset.plan, column)
    vector = embed_query(dataset, query, prompt, device, form.source)
    document = "" if all_chunks else dataset.plan.rows.document_column
    return search(dataset.folder, dataset.shards, vector, k, form=form, document=document)


def form_of(plan: Plan, column: str | None) -> StoredVector:
    """UsageError where there is no such column of vectors."""
    found = {form.column: form for form in plan.stored}
    if column is not None and column not in found:
        raise UsageError(f"--vector {column}: there is no such column of vectors: expected one of {', '.join(found)}")
    return next(iter(found.values())) if column is None else found[column]


def embed_query(dataset: Dataset, query: str, prompt: str | None, device: str, source: str | None = None) -> np.ndarray:
    """[E] float32. source: the engine's column; None: the first.

    Raises UsageError where the model is not the one that made the dataset, DataError for a query that is not Unicode.
    """
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"the query is not valid Unicode (a lone surrogate at character {error.start}): replace it") from error
    model, plan, here = dataset.model, dataset.plan, (str(Path.cwd()),)
    now = describe_engine(model, search_path=here)
    changed = [] if now is None else differing_keys(plan.fingerprint, now, FINGERPRINT_IF_ABSENT)
    if changed:
        raise UsageError(_another_model(str(model.source), plan, changed))
    asking = model.model_copy(update={"prompt": prompt, "prompt_name": None, "precision": "auto"})
    device = plan.device_kind if device == "auto" and model.engine != "native" else device
    engine = load_engine(asking, device=device, threads=1, search_path=here)  # for one short text more would only take longer to start
    vector: np.ndarray = next(iter(engine.embed([pa.array([query])]))).columns[source or plan.outputs[0].column][0]
    return vector


def _another_model(source: str, plan: Plan, changed: list[str]) -> str:
    """Weights are known by the digest of their file alone: whether others hold equal numbers cannot be told without the file itself."""
    if all(key in WHY_ADDED and key not in plan.fingerprint for key in changed):
        return f"{source}: this dataset was {'; '.join(WHY_ADDED[key] for key in changed)}, or search it with the version of embermill that made it"
    said = f"{source} is not the model that made this dataset ({', '.join(changed)} differ): pass the model that made it, unchanged, with --model"
    if changed != ["model.weights"]:
        return said
    digest = plan.fingerprint["model.weights"]
    return f"{said}; a converted copy has another digest, even of equal numbers: expected the very weights whose SHA-256 is {digest}"


def search(
    folder: Folder, shards: Sequence[str | LiveFile], query: np.ndarray, k: int, column: str = "embedding", *, form: StoredVector | None = None,
    document: str = "",
) -> list[Hit]:  # fmt: skip
    """The k rows most similar to `query` [E] float32, best first; equal scores in row order.

    shards: Parquet files in the folder, in row order: names, or files of which some rows are live. `column` holds a vector of E numbers per row, unless a
    form says otherwise: the query is then brought into the same form, as int8 codes or bits, and similarity is that of what is stored.
    document: a column of which each value is wanted once, with its best row.
    """
    files = [(shard, None) if isinstance(shard, str) else (shard.file.name, shard.live) for shard in shards]
    form = form or StoredVector(column, column, FLOAT32, len(query))
    best = _best(folder, files, _as_stored(form, query), k, form, document)
    return [Hit(float(score), files[shard][0], row, _read_row(folder, files[shard][0], row)) for score, shard, row in best]


def _as_stored(form: StoredVector, query: np.ndarray) -> np.ndarray:
    """[form.dim] float32. A form with ranges is compared with the query as it is: codes of such a query are of no use to an inner product."""
    whole = query.astype(np.float32, copy=False)[None]
    if form.packing == SENTENCE_TRANSFORMERS:
        return np.asarray(shorten(form, whole)[0])
    return np.asarray(decode(form, encode(form, whole)[0])[0])


def _best(
    folder: Folder, shards: Sequence[tuple[str, np.ndarray | None]], query: np.ndarray, k: int, form: StoredVector, document: str
) -> list[tuple[float, int, int]]:
    """(score, shard's index, row within it) of the k best. Batches come in row order and the sort is stable, so the first of equals stays first."""
    query = query / max(float(np.linalg.norm(query)), SMALLEST_NORM)
    scores, places, names = np.empty(0, np.float32), np.empty((0, 2), np.int64), np.empty(0, object)
    for shard, (name, live) in enumerate(shards):
        for first_row, vectors, documents in _vectors(folder, name, form, document):
            rows = np.arange(first_row, first_row + len(vectors))
            if live is not None:
                rows, vectors, documents = rows[live[rows]], vectors[live[rows]], documents[live[rows]]
            norms = np.sqrt(np.einsum("be,be->b", vectors, vectors))
            found = vectors @ query / np.maximum(norms, SMALLEST_NORM)
            scores, names = np.concatenate([scores, found]), np.concatenate([names, documents])
            places = np.concatenate([places, np.stack([np.full_like(rows, shard), rows], axis=1)])
            order = np.argsort(-scores, kind="stable")
            order = _first_of_each(order, names, k) if document else order[:k]
            scores, places, names = scores[order], places[order], names[order]
    return [(float(score), int(shard), int(row)) for score, (shard, row) in zip(scores, places, strict=True)]


def _first_of_each(order: np.ndarray, names: np.ndarray, k: int) -> np.ndarray:
    """The first places in `order` of k names."""
    chosen = dict[object, int]()
    for place in order.tolist():
        if len(chosen) == k:
            break
        chosen.setdefault(names[place], place)
    return np.fromiter(chosen.values(), np.int64, len(chosen))


def _vectors(folder: Folder, name: str, form: StoredVector, document: str) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(first row, [B, dim] float32, [B] what the rows have in column `document`, None each where that is "") of a shard, batch by batch."""
    for first_row, batch in read_batches(folder, name, [form.column, *([document] if document else [])], BATCH_ROWS):
        values = batch.column(1).to_numpy(zero_copy_only=False).astype(object) if document else np.full(batch.num_rows, None, object)
        yield first_row, decode(form, to_matrix(pa.chunked_array([batch.column(0)]))), values


def _read_row(folder: Folder, name: str, row: int) -> dict[str, Any]:
    """One row without its vectors: only the row group that holds it is read."""
    with open_rows(folder, name) as parquet:
        columns = [field.name for field in parquet.schema_arrow if not pa.types.is_nested(field.type)]
        ends = np.cumsum([parquet.metadata.row_group(number).num_rows for number in range(parquet.num_row_groups)])
        group = int(np.searchsorted(ends, row, side="right"))
        within = row - (int(ends[group - 1]) if group else 0)
        values: dict[str, Any] = parquet.read_row_group(group, columns=columns).slice(within, 1).to_pylist()[0]
        return values
