"""The columns of corpus files against the schema that is pinned: what deviates, and where no setting would help."""

from __future__ import annotations

import pyarrow as pa

from embermill.jobs.corpus.columns import check_file, find_drift
from embermill.jobs.corpus.formats import FORMATS
from embermill.jobs.corpus.formats.document import NAME as DOCUMENT
from embermill.jobs.corpus.rows import RowSchema
from embermill.jobs.corpus.surveyed import SurveyedFile
from embermill.jobs.errors import DataError


def describe_drift(rows: RowSchema, file: SurveyedFile) -> str:
    """What is wrong with a file that was looked at later: the column that is not of the schema that is pinned; "" where all are."""
    if file.error or file.rows == 0:
        return ""
    drift = find_drift(rows.of_documents, types_to_check(rows.of_documents, file), all_columns=file.all_columns)
    return "" if drift is None else drift.against_dataset


def require_same_columns(rows: RowSchema, files: list[SurveyedFile]) -> None:
    """DataError for files of rows beside documents, where they have not the same columns: no setting makes one corpus of them."""
    document, other = (next((file for file in files if (file.format == DOCUMENT) == kind and file.rows != 0), None) for kind in (True, False))
    if document is None or other is None:
        return
    for file in (file for file in files if file.rows != 0):
        if drift := find_drift(rows, types_to_check(rows, file), all_columns=file.all_columns):
            what = "is missing" if drift.found is None else f"has type {drift.found} and not {drift.pinned}"
            raise DataError(
                f"{file.info.path}: column {drift.column!r} {what}: the corpus holds documents ({document.info.path}) and files of rows ({other.info.path}), "
                "whose columns differ: name the files of one kind by a glob (corpus.files: [folder/**/*.md]), or set corpus.format"
            )


def check_types(rows: RowSchema, files: list[SurveyedFile], otherwise: str = "") -> None:
    for file in (file for file in files if file.rows != 0):
        check_file(rows, file.info.path, types_to_check(rows, file), all_columns=file.all_columns, otherwise=otherwise)


def types_to_check(rows: RowSchema, file: SurveyedFile) -> dict[str, pa.DataType]:
    """A file's types, less inferred ones (of JSON lines) that are judged value by value: of declared columns, of mixed ones, and numbers among floats."""
    if not FORMATS[file.format].infers_types:
        return file.types
    pinned = {source: kind for source, _, kind in rows.kept}
    lenient = {
        name: pinned[name]
        for name, kind in file.types.items()
        if name in pinned and (name in rows.declared or name in file.mixed or (pa.types.is_integer(kind) and pa.types.is_floating(pinned[name])))
    }
    ids = {rows.id_column: rows.id_type} if rows.id_column is not None and (rows.id_column in rows.declared or rows.id_column in file.mixed) else {}
    return file.types | lenient | {name: kind for name, kind in ids.items() if name in file.types}
