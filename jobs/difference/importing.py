"""Vectors that were made elsewhere with this model: read from Parquet files, held against the engine's own, then copied like any that are known.

    _embermill/sync/000002/imports/part-000000000-0a1b2c3d.pq   a row for each text: its hash, its vectors, and counts of tokens, which nobody counted: 0
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.counts import several
from embermill.jobs.config import CorpusConfig
from embermill.jobs.corpus.arrow_types import canonical
from embermill.jobs.corpus.formats.parquet import open_parquet as open_corpus_file
from embermill.jobs.corpus.reading import read_rows
from embermill.jobs.corpus.rows import RowBatch, RowSchema
from embermill.jobs.corpus.surveyed import SurveyedFile
from embermill.jobs.dataset.metadata.keys import digest_text_hashes
from embermill.jobs.difference.held_vectors import COUNTS, HeldVectors, Reading, read_vectors, reading_of
from embermill.jobs.difference.known_texts import Wanted, as_digests, look_in_shard
from embermill.jobs.difference.making import imports_of
from embermill.jobs.difference.receipts import step_receipt
from embermill.jobs.difference.scan import open_step_writer
from embermill.jobs.engine import Output
from embermill.jobs.errors import MatchesNothing, UsageError
from embermill.jobs.partition import Partition, Segment
from embermill.jobs.plan.files import Plan
from embermill.jobs.plan.listing import list_corpus, survey_listed
from embermill.jobs.receipt import Receipt
from embermill.jobs.shard.contents import all_finite, first_not_finite, open_parquet, row_groups
from embermill.jobs.shard.text_hash import hash_texts
from embermill.jobs.storage import AlreadyExists, FileInfo, Folder, open_input
from embermill.jobs.vectors.codec import decode, shorten
from embermill.jobs.vectors.form import BITS, SENTENCE_TRANSFORMERS, UBINARY, StoredVector, stored_vectors

OPTION = "--import-vectors"
IMPORTED = "imported"  # key of Version.details
SAMPLED_TEXTS, SEED = 1000, 17
BOUND, LOWEST_BOUND = 0.999, 0.99  # of the cosine of a vector that is given and the engine's own
LENGTHS = (0.99, 1.01)  # and of their lengths
ROWS_LOOKED_UP = 65_536


@dataclass(frozen=True)
class Agreement:
    """What the engine says of vectors that are given. texts: that it embedded again. minimum, mean: of the cosines. shortest, longest: times its own length."""

    bound: float
    texts: int
    minimum: float
    mean: float
    shortest: float
    longest: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def list_imports(corpus: CorpusConfig, files: Sequence[str], outputs: Sequence[Output] = ()) -> tuple[CorpusConfig, Sequence[tuple[str, FileInfo]]]:
    """(how such files are read, which they are). UsageError where an entry matches none."""
    kept = tuple((output.column, output.column) for output in outputs)
    reading = corpus.model_copy(update={"files": tuple(files), "format": "auto", "keep_columns": kept, "types": (), "on_bad_file": "fail"})
    try:
        return reading, list_corpus(reading)
    except MatchesNothing as error:
        raise UsageError(f"{OPTION}: {error}: expected Parquet files with ids, texts and vectors") from None


def survey_imports(reading: CorpusConfig, listed: Sequence[tuple[str, FileInfo]], plan: Plan) -> tuple[SurveyedFile, ...]:
    """UsageError for files that are no Parquet, or whose columns are not what is needed."""
    files = survey_listed(reading, listed)
    wanted = (plan.rows.id_name if plan.rows.id_column is None else plan.rows.id_column, *plan.rows.text_columns)
    for file in files:
        if file.format != "parquet":
            raise UsageError(f"{OPTION}: {file.info.path}: expected Parquet files with ids, texts and vectors, got {file.format}")
        for column in (*wanted, *(output.column for output in plan.outputs)):
            if column not in file.types:
                raise UsageError(f"{OPTION}: {file.info.path}: it has no column {column!r}: expected the columns of the corpus and {_named(plan.outputs)}")
        for output in plan.outputs:
            _require_vectors(file, output)
    return files


def _require_vectors(file: SurveyedFile, output: Output) -> None:
    kind = canonical(file.types[output.column])
    is_list = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not pa.types.is_floating(kind.value_type):
        found = file.types[output.column]
        raise UsageError(f"{OPTION}: {file.info.path}: column {output.column!r} is of type {found}: expected lists of float16, float32 or float64")
    if pa.types.is_fixed_size_list(kind) and kind.list_size != output.dim:
        raise UsageError(f"{OPTION}: {file.info.path}: column {output.column!r} holds vectors of {kind.list_size} numbers, and this model makes {output.dim}")


def _named(outputs: Sequence[Output]) -> str:
    return ", ".join(f"{output.column!r} (lists of {output.dim} numbers)" for output in outputs)


def import_name(version: int, partition: Partition) -> str:
    return f"{imports_of(version)}/part-{partition.number:09d}-{partition.id[:8]}.pq"


def import_vectors(folder: Folder, version: int, partition: Partition, plan: Plan) -> Receipt:
    """Publish what one partition of such files holds. UsageError for a vector that is none."""
    name, rows = import_name(version, partition), 0
    path = folder.temporary(name)
    try:
        with open_step_writer(path, _schema(plan.outputs)) as writer:
            for segment in partition.segments:
                for batch in read_rows(replace(partition, segments=(segment,)), _reading(segment, plan)):
                    writer.write_table(_table(batch, plan.outputs))
                    rows += len(batch.ids)
        with contextlib.suppress(AlreadyExists):
            folder.publish(path, name)
    finally:
        path.unlink(missing_ok=True)
    return step_receipt(partition, name, rows_in=rows)


def _schema(outputs: Sequence[Output]) -> pa.Schema:
    vectors = [(output.column, pa.list_(pa.float32(), output.dim)) for output in outputs]
    return pa.schema([("text_hash", pa.string()), *vectors, *((name, pa.int32()) for name in COUNTS)])


def _reading(segment: Segment, plan: Plan) -> RowSchema:
    with closing(open_input(segment.path, segment.size, segment.version)) as source, open_corpus_file(source, segment.path) as parquet:
        found = parquet.schema_arrow
    kept = tuple((output.column, output.column, canonical(found.field(output.column).type)) for output in plan.outputs)
    return replace(plan.rows, kept=kept, declared=(), on_bad_file="fail")


def _table(batch: RowBatch, outputs: Sequence[Output]) -> pa.Table:
    columns: list[pa.Array] = [hash_texts(batch.texts)]
    for output, given in zip(outputs, batch.kept, strict=True):
        columns.append(pa.FixedSizeListArray.from_arrays(pa.array(_matrix(batch, output, given).reshape(-1)), output.dim))
    nothing = pa.array(np.zeros(len(batch.ids), np.int32))
    return pa.Table.from_arrays([*columns, *(nothing for _ in COUNTS)], schema=_schema(outputs))


def _matrix(batch: RowBatch, output: Output, given: pa.Array) -> np.ndarray:
    """[N, dim] float32."""
    lengths = pc.fill_null(pc.list_value_length(given), -1).to_numpy(zero_copy_only=False)
    if (wrong := np.flatnonzero(lengths != output.dim)).size:
        raise _refused(batch, int(wrong[0]), output, "none" if lengths[wrong[0]] < 0 else f"one of {several(lengths[wrong[0]], 'number')}")
    numbers = pc.list_flatten(given)
    vectors: np.ndarray = numbers.to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, output.dim)  # null is NaN here
    if not all_finite(vectors):
        raise _refused(batch, first_not_finite(vectors), output, "one that is not finite")
    return vectors


def _refused(batch: RowBatch, row: int, output: Output, found: str) -> UsageError:
    file, at, _ = batch.locate(int(batch.rows[row]))
    where = f"{file}, row {at} (id {batch.ids[row].as_py()!r})"
    return UsageError(f"{OPTION}: {where}: expected a vector of {several(output.dim, 'finite number')} in the column {output.column!r}, got {found}")


def take_sample(wanted: Wanted, first_source: int) -> int:
    """Of the texts whose vectors are given, some are embedded all the same; the same ones of the same texts. Returns how many have a vector that is given."""
    given = np.flatnonzero(wanted.source >= first_source)
    chosen = np.random.default_rng(SEED).permutation(len(given))[:SAMPLED_TEXTS]
    wanted.source[given[chosen]] = -1
    return len(given)


def comparable_forms(plan: Plan) -> tuple[StoredVector, ...]:
    """Of each output the column that is nearest to what the engine makes. UsageError where one is stored in bits alone, which tell too little."""
    chosen: list[StoredVector] = []
    for output in plan.outputs:
        forms = [form for form in plan.stored if form.source == output.column and form.dtype != UBINARY]
        if not forms:
            raise UsageError(
                f"{OPTION}: the dataset keeps no column of float32, float16 or int8 by which vectors that are given could be compared with the engine's: "
                "import into a dataset that has one in output.vectors"
            )
        chosen.append(max(forms, key=lambda form: (form.dim, BITS[form.dtype], form.packing != SENTENCE_TRANSFORMERS)))
    return tuple(chosen)


def compare_sample(folder: Folder, made: Sequence[str], imports: Sequence[str], plan: Plan, bound: float) -> Agreement | None:
    """Of the texts that the engine embedded for this version and whose vectors are given. made: names of its shards. None where there are no such texts."""
    embedded = Wanted.of(np.concatenate([np.empty((0, 2), np.uint64), *(_digests(folder, name) for name in made)]))
    for number, name in enumerate(imports):
        look_in_shard(embedded, folder, name, number, whole=False)
    at = np.flatnonzero(embedded.source >= 0)
    if not len(at):
        return None
    own = Wanted.of(embedded.digests[at])  # in the same order: both are sorted
    for number, name in enumerate(made):
        look_in_shard(own, folder, name, number, whole=False)
    cosines, lengths = list[np.ndarray](), list[np.ndarray]()
    given, stored = reading_of(plan, stored_vectors(plan.outputs, ())), reading_of(plan, plan.stored)
    assert given is not None and stored is not None  # each is read as what it is
    theirs = _gather(folder, imports, embedded.source[at], embedded.row[at], plan, given).floats
    ours = _gather(folder, made, own.source, own.row, plan, stored)
    for form in comparable_forms(plan):
        left = shorten(form, theirs[form.source]).astype(np.float64)
        right = (decode(form, ours.codes[form.column]) if plan.vectors else ours.floats[form.column]).astype(np.float64)
        left_norms, right_norms = np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1)
        cosines.append((left * right).sum(axis=1) / np.maximum(left_norms * right_norms, 1e-30))
        lengths.append(left_norms / np.maximum(right_norms, 1e-30))
    found, times = np.concatenate(cosines), np.concatenate(lengths)
    return Agreement(bound, len(at), float(found.min()), float(found.mean()), float(times.min()), float(times.max()))


def require_agreement(agreement: Agreement) -> None:
    """UsageError, with the figures."""
    told = f"{agreement.texts:,} of the texts were embedded here, and the vectors that are given have a cosine of {agreement.minimum:.6f} at least"
    told = f"{OPTION}: {told} ({agreement.mean:.6f} on average) with those"
    causes = "were they made with these weights, this pooling, prompt, maximum length and normalization, of the texts beside them?"
    if agreement.minimum < agreement.bound:
        accept = f"; --import-bound {LOWEST_BOUND} accepts them" if agreement.minimum >= LOWEST_BOUND else ""
        raise UsageError(f"{told}; expected {agreement.bound:g} in each: {causes} None is imported{accept}")
    if agreement.shortest < LENGTHS[0] or agreement.longest > LENGTHS[1]:
        times = f"{agreement.shortest:.4g} to {agreement.longest:.4g} times as long"
        raise UsageError(f"{told}, but they are {times}; expected {LENGTHS[0]:g} to {LENGTHS[1]:g}: {causes} None is imported")


def _digests(folder: Folder, name: str) -> np.ndarray:
    with folder.open(name) as file, open_parquet(file) as parquet:
        found = [as_digests(pa.chunked_array([digest_text_hashes(table.column("text_hash"))])) for table in row_groups(parquet, ["text_hash"])]
    return np.concatenate([np.empty((0, 2), np.uint64), *found])


def _gather(folder: Folder, names: Sequence[str], source: np.ndarray, row: np.ndarray, plan: Plan, reading: Reading) -> HeldVectors:
    """Vectors of so many places: source is a place in names."""
    found = HeldVectors(len(row), plan)
    for number in np.unique(source).tolist():
        at = np.flatnonzero(source == number)
        found.put(at, read_vectors(folder, names[number], row[at], plan, reading)[0])
    return found
