"""Configuration and corpus -> Plan: partitions, output schema, semantic fingerprint; what was `auto` is resolved here."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pyarrow as pa

from embermill.counts import several
from embermill.jobs.config import CorpusConfig, JobConfig, flatten
from embermill.jobs.corpus.arrow_types import canonical, declaration, id_type
from embermill.jobs.corpus.chunk_columns import PREFIX, TYPES
from embermill.jobs.corpus.formats.csv import guess_delimiter
from embermill.jobs.corpus.formats.document import NAME as DOCUMENT
from embermill.jobs.corpus.formats.document import is_html
from embermill.jobs.corpus.html import require_html_extractor
from embermill.jobs.corpus.rows import TEXT, UUID, RowSchema
from embermill.jobs.corpus.surveyed import SurveyedFile
from embermill.jobs.corpus.uuids import is_uuid
from embermill.jobs.engine import Output
from embermill.jobs.errors import DataError, UsageError
from embermill.jobs.partition import Partition
from embermill.jobs.plan.file_columns import check_types, require_same_columns
from embermill.jobs.plan.files import VERSION_COLUMN, Plan
from embermill.jobs.plan.listing import cut_file, survey_files
from embermill.jobs.plan.packing import SMALLEST_SHARE, pack
from embermill.jobs.process.device_tuning import DEVICE_TUNING
from embermill.jobs.vectors.form import StoredVector, stored_vectors

HASH_AND_COUNT_BYTES = 32 + 2 * 4  # text_hash, num_tokens, num_tokens_dropped; version compresses to nothing
ID_BYTES = 24
SHOWN_COLUMNS = 30
FINDS_FRONT_MATTER = True  # in datasets that are begun from now on


def make_plan(
    config: JobConfig,
    fingerprint: dict[str, str],
    outputs: tuple[Output, ...],
    device_kind: str,
    precision: str,
    *,
    files: tuple[SurveyedFile, ...] | None = None,
    tells_versions: bool = True,
    listed_s: float = 0.0,
    vectors: tuple[StoredVector, ...] = (),
) -> Plan:
    """Look at the corpus (or take the survey that was made of it) and plan the job; writes nothing.

    device_kind, precision: the first worker's report, which resolves what is `auto`. listed_s: when that survey was begun.
    vectors: the columns that vectors are stored in, measured; (): each output is one, of float32.
    UsageError and DataError as in the table of outcomes.
    """
    files = survey_files(config.corpus) if files is None else files
    rows = row_schema(config, files)
    target = partition_text_bytes(config, device_kind)
    stored = stored_vectors(outputs, vectors)
    schema = shard_schema(rows, stored, tells_versions=tells_versions)
    return Plan(
        fingerprint=dict(fingerprint),
        config=flatten(config) | {"corpus.partition_text_bytes": target, "model.precision": precision},
        rows=rows,
        outputs=outputs,
        schema=schema,
        rows_per_shard=rows_per_shard(config.output.shard_bytes, stored, files, rows.holds_text),
        partitions=cut_corpus(files, target),
        device_kind=device_kind,
        precision=precision,
        id_stability=id_stability(rows),
        listing=tuple(listed(file) for file in files),
        holds_input_digests=not rows.is_chunked,  # they are of what is read; what a shard holds follows from how that is cut
        tells_versions=tells_versions,
        listed_s=listed_s,
        names_model=tells_versions,
        vectors=vectors,
    )


def id_stability(rows: RowSchema) -> str:
    """ "positional" where rows are known by file and position alone, else "column"."""
    return "positional" if rows.id_column is None else "column"


def cut_corpus(files: Iterable[SurveyedFile], target_bytes: int) -> tuple[Partition, ...]:
    """The corpus in partitions of at most target_bytes of text, smaller ones at its end."""
    finest = max(1, target_bytes // SMALLEST_SHARE)
    return pack((piece for file in files for piece in cut_file(file, finest)), target_bytes)


def partition_text_bytes(config: JobConfig, device_kind: str) -> int:
    """corpus.partition_text_bytes, resolved."""
    chosen = config.corpus.partition_text_bytes
    return DEVICE_TUNING[device_kind].partition_text_bytes if chosen == "auto" else chosen


def listed(file: SurveyedFile) -> dict[str, object]:
    return {
        "path": file.info.path,
        "name": file.name,
        "size": file.info.size,
        "version": file.info.version,
        "format": file.format,
        "compression": file.compression,
        "rows": 1 if file.error else file.rows,
        "error": file.error,
        "identity": file.info.identity,
    }


def check_columns(config: JobConfig, files: tuple[SurveyedFile, ...], vectors: tuple[StoredVector, ...]) -> RowSchema:
    """The row schema, once it is sure that a plan can be made of it: before workers start, and for `embermill plan`. UsageError and DataError as then.

    vectors: columns of what the engine will make, as far as that is known by now.
    """
    rows = row_schema(config, files)
    shard_schema(rows, vectors)
    if config.corpus.encoding and files and not any(file.format == DOCUMENT for file in files):
        raise UsageError(
            f"corpus.encoding: {config.corpus.encoding} says how files that are documents are decoded, and this corpus has none: {files[0].info.path} is "
            f"{files[0].format}: leave it out; CSV, JSON lines and text are read as UTF-8 (iconv -f {config.corpus.encoding} -t UTF-8 converts them)"
        )
    return rows


def row_schema(config: JobConfig, files: tuple[SurveyedFile, ...]) -> RowSchema:
    """The pinned row schema: types from the first file that has the column. UsageError for columns that no file has."""
    corpus = config.corpus
    readable = _readable(corpus, files)
    id_column, declared = _id_column(corpus.id_column, readable), dict(corpus.types)
    if corpus.on_schema_drift == "fail":
        for column in (*([] if id_column is None else [id_column]), *(source for source, _ in corpus.keep_columns)):
            _require_one_type(column, readable, declared)
    uuids = _uuid_columns([*([] if id_column is None else [id_column]), *(source for source, _ in corpus.keep_columns)], readable, declared)
    id_kind = pa.string() if id_column is None else _pinned_id_type(id_column, readable, declared)
    chunked = config.model.on_long_text == "split"
    rows = RowSchema(
        id_name="id" if chunked else id_column or "id",
        id_column=id_column,
        id_type=pa.string() if chunked else id_kind,
        text_columns=corpus.text_columns,
        text_separator=corpus.text_separator,
        kept=tuple((source, name, pa.string() if source in uuids else _pinned_type(source, readable, declared)) for source, name in corpus.keep_columns),
        max_text_bytes=corpus.max_text_bytes,
        on_schema_drift=corpus.on_schema_drift,
        on_bad_file=corpus.on_bad_file,
        declared=tuple(column for column in declared if column not in corpus.text_columns),
        json_ids_as_text=False,
        uuids=uuids,
        holds_text=config.output.text,
        derives_uuid=config.output.id == "uuid5",
        document_column=config.chunk.document_column if chunked else "",
        document_type=str(id_kind) if chunked else "",
        prefix=config.chunk.prefix_columns if chunked else (),
        holds_chunk_text=chunked and config.chunk.keep_text,
        encoding=corpus.encoding or "",
        delimiter=corpus.delimiter,
        refuses_nul=True,
        finds_front_matter=FINDS_FRONT_MATTER,
        html_extractor=next((require_html_extractor(file.info.path) for file in readable if file.format == DOCUMENT and is_html(file.info.path)), ""),
    )
    for column in rows.prefix:
        _first_type(column, readable, "chunk.prefix_columns")
    for column in rows.text_columns:
        _first_type(column, readable, "corpus.text_columns")
    require_same_columns(rows.of_documents, readable)
    check_types(rows.of_documents, readable)
    if id_column is None:
        _refuse_equal_names(files)
    elif id_column in ("id", "path"):
        _refuse_equal_names(tuple(file for file in files if file.format == DOCUMENT))
    return rows


def check_surveyed(corpus: CorpusConfig, rows: RowSchema, files: tuple[SurveyedFile, ...], *, otherwise: str) -> None:
    """Files that were looked at later than the others: DataError where they cannot be read, or are not of the schema that is pinned.

    otherwise: what there is to do beside fixing the file.
    """
    check_types(rows.of_documents, _readable(corpus, files), otherwise)


def _readable(corpus: CorpusConfig, files: tuple[SurveyedFile, ...]) -> list[SurveyedFile]:
    bad = [file for file in files if file.error]
    if bad and corpus.on_bad_file == "fail":
        raise DataError(
            f"{len(bad)} of {several(len(files), 'corpus file')} cannot be read: {'; '.join(file.error for file in bad[:10])}"
            f"{'; …' if len(bad) > 10 else ''}: fix or remove them, or set corpus.on_bad_file: quarantine"
        )
    return [file for file in files if not file.error]


def _id_column(configured: str | None, files: list[SurveyedFile]) -> str | None:
    """Unset, a column called `id` is taken where there is one."""
    if configured is not None:
        return configured
    return "id" if any("id" in file.types for file in files) else None


def _pinned_id_type(column: str, files: list[SurveyedFile], declared: dict[str, str]) -> pa.DataType:
    found = _first_type(column, files, "corpus.id_column")
    plain = canonical(found)
    if pa.types.is_nested(plain) or ((pa.types.is_boolean(plain) or pa.types.is_floating(plain)) and column not in declared):
        raise UsageError(f"corpus.id_column: {column!r} has type {found}: expected a string or an integer: name another column")
    return _declared_type(declared[column]) if column in declared else id_type(found)


def _declared_type(kind: str) -> pa.DataType:
    return pa.string() if kind == "uuid" else pa.type_for_alias(kind)


def _uuid_columns(columns: list[str], files: list[SurveyedFile], declared: dict[str, str]) -> tuple[str, ...]:
    """Those that are declared so, or that the first file that has them calls so."""
    first = {column: next((file.types[column] for file in files if not pa.types.is_null(file.types.get(column, pa.null()))), pa.null()) for column in columns}
    return tuple(column for column, kind in first.items() if declared.get(column, "uuid" if is_uuid(kind) else "") == "uuid")


def _pinned_type(column: str, files: list[SurveyedFile], declared: dict[str, str]) -> pa.DataType:
    found = canonical(_first_type(column, files, "corpus.keep_columns"))
    return _declared_type(declared[column]) if column in declared else found


def _require_one_type(column: str, files: list[SurveyedFile], declared: dict[str, str]) -> None:
    """Of a column of JSON lines, in the file that would give its type. DataError where its values have none in common."""
    first = next((file for file in files if not pa.types.is_null(file.types.get(column, pa.null()))), None)
    if first is not None and column in first.mixed and column not in declared:
        found = f"column {column!r} holds {first.mixed[column]} within its first MiB"
        raise DataError(f"{first.info.path}: {found}: {declaration(column, 'TYPE')}, or fix the file")


def _first_type(column: str, files: list[SurveyedFile], key: str) -> pa.DataType:
    for file in files:
        if column in file.types and not pa.types.is_null(file.types[column]):
            return file.types[column]
    known = dict.fromkeys(name for file in files for name in file.types)
    if column in known or all(file.rows == 0 and not file.types for file in files):
        return pa.string()
    more = f" and {len(known) - SHOWN_COLUMNS} more" if len(known) > SHOWN_COLUMNS else ""
    there_are = ", ".join([*known][:SHOWN_COLUMNS]) + more or "none (and no line of the JSONL files that were looked at is an object)"
    raise UsageError(f"{key}: no file has a column {column!r}; the columns there are: {there_are}{_other_delimiter(files)}")


def _other_delimiter(files: list[SurveyedFile]) -> str:
    """What helps where the fields of CSV stand apart by something else than was read; "" where nothing says so."""
    for file in files:
        if (found := guess_delimiter(file)) is not None:
            shown = json.dumps(found)
            return f". The header of {file.info.path} is one column with {shown} in it: where that separates its columns, set corpus.delimiter: {shown}"
    return ""


def _refuse_equal_names(files: tuple[SurveyedFile, ...]) -> None:
    seen: dict[str, str] = {}
    for file in files:
        if file.name in seen:
            same = file.name if file.format == DOCUMENT else f"{file.name}:POSITION"
            raise UsageError(
                f"corpus.files: {seen[file.name]} and {file.info.path} would give rows the same ids ({same}): "
                "set corpus.id_column, or name one folder that holds both"
            )
        seen[file.name] = file.info.path


def shard_schema(rows: RowSchema, vectors: tuple[StoredVector, ...], *, tells_versions: bool = True) -> pa.Schema:
    """The schema of every shard. UsageError where a column of vectors or a kept column collides, with the renaming to write."""
    fields = [pa.field(rows.id_name, rows.id_type, nullable=False)]
    fields += [pa.field(vector.column, vector.arrow_type, nullable=False) for vector in vectors]
    fields += [pa.field("num_tokens", pa.int32(), nullable=False), pa.field("num_tokens_dropped", pa.int32(), nullable=False)]
    fields += [pa.field("text_hash", pa.string(), nullable=False)]
    fields += [pa.field(VERSION_COLUMN, pa.int64(), nullable=False)] if tells_versions else []
    fields += chunk_fields(rows)
    of_text = ((UUID, rows.derives_uuid), (TEXT, rows.holds_text or rows.holds_chunk_text), (PREFIX, rows.holds_chunk_text))
    fields += [pa.field(name, pa.string(), nullable=False) for name, made in of_text if made]
    taken = [field.name for field in fields]
    if rows.is_chunked and taken.count(rows.document_column) > 1:
        raise UsageError(f"chunk.document_column: {rows.document_column!r} is the name of a column that the dataset makes itself: choose another")
    if taken.count(rows.id_name) > 1:
        raise UsageError(f"corpus.id_column: {rows.id_name!r} is the name of a column that the dataset makes itself: rename it in the corpus")
    for vector in vectors:
        if taken.count(vector.column) > 1:
            raise UsageError(f"output.vectors: {vector.column!r} is the name of a column that the dataset makes itself: choose another name for the vectors")
    for source, name, kind in rows.kept:
        if name in taken:
            raise UsageError(
                f"corpus.keep_columns: {name!r} is taken in the dataset (its columns: {', '.join(taken)}): keep it under another name, "
                f"for example keep_columns: [{{{source}: source_{name}}}]"
            )
        taken.append(name)
        fields.append(pa.field(name, kind))
    return pa.schema(fields)


def chunk_fields(rows: RowSchema) -> list[pa.Field]:
    """Of a dataset of chunks: the document's id, the chunk's place in it, and the document's hash."""
    if not rows.is_chunked:
        return []
    return [pa.field(rows.document_column, rows.of_documents.id_type, nullable=False), *(pa.field(name, kind, nullable=False) for name, kind in TYPES.items())]


def rows_per_shard(shard_bytes: int, vectors: tuple[StoredVector, ...], files: tuple[SurveyedFile, ...], holds_text: bool = False) -> int:
    """Input rows per shard, so that a shard stays below shard_bytes even if nothing compresses."""
    return max(1, shard_bytes // dataset_row_bytes(sum(vector.row_bytes for vector in vectors), files, holds_text))


def dataset_row_bytes(vector_bytes: int, files: tuple[SurveyedFile, ...], holds_text: bool = False) -> int:
    """Bytes of a row in the dataset, before compression."""
    rows = max(1, sum(file.expected_rows for file in files))
    kept = sum(file.kept_row_bytes * file.expected_rows for file in files) // rows
    kept += sum(file.text_bytes for file in files) // rows if holds_text else 0
    return vector_bytes + HASH_AND_COUNT_BYTES + ID_BYTES + kept
