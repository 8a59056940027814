"""Types of columns that nobody gave: what held nothing but nulls was planned as a string, and a corpus that is corrected may say otherwise.

As long as no row is committed the columns are those of the corpus as it is now. Later on a kept column may still take its type, where every row has null in
it: all shards are then written again, with the vectors that they hold.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from embermill.jobs.config import CorpusConfig, JobConfig
from embermill.jobs.corpus.rows import RowSchema
from embermill.jobs.corpus.surveyed import SurveyedFile
from embermill.jobs.errors import DataError
from embermill.jobs.plan.files import Plan
from embermill.jobs.plan.listing import list_corpus, survey_files
from embermill.jobs.plan.planning import check_surveyed, id_stability, row_schema, shard_schema
from embermill.jobs.shard.contents import Damaged, open_parquet, row_groups
from embermill.jobs.shard.footer import DATA, parse_name
from embermill.jobs.storage import Folder

ELSEWHERE = "embed the corpus as it is now into another output.uri, with corpus.on_schema_drift: cast"


def typed_as_now(folder: Folder, plan: Plan, config: JobConfig, files: Mapping[str, SurveyedFile]) -> Plan:
    """The plan with the columns that its corpus has now; the same plan where they stay. files: by path, those that have changed. DataError where a column has
    another type now than committed rows have."""
    shards = [name for name, _ in folder.list(DATA) if parse_name(name) is not None]
    if not files:
        return plan
    if not shards:
        return _with_rows(plan, row_schema(config, _survey(plan, config.corpus, files)))
    try:
        check_surveyed(config.corpus, plan.rows, tuple(files.values()), otherwise=ELSEWHERE)
        return plan
    except DataError:
        without_values = {name for _, name, _ in plan.rows.kept if not _holds_values(folder, shards, name)}
        if not without_values:
            raise
        rows = _kept_as_now(plan.rows, row_schema(config, _survey(plan, config.corpus, files)), without_values)
        check_surveyed(config.corpus, rows, tuple(files.values()), otherwise=ELSEWHERE)
        return _with_rows(plan, rows)


def _with_rows(plan: Plan, rows: RowSchema) -> Plan:
    if rows == plan.rows:
        return plan
    schema = shard_schema(rows, plan.stored, tells_versions=plan.tells_versions)
    return replace(plan, rows=rows, schema=schema, id_stability=id_stability(rows))


def _survey(plan: Plan, corpus: CorpusConfig, files: Mapping[str, SurveyedFile]) -> tuple[SurveyedFile, ...]:
    """The files of the plan that are there now: a sample of them tells types, and those that have changed."""
    planned = {str(entry["path"]) for entry in plan.listing}
    listed = [(name, info) for name, info in list_corpus(corpus) if info.path in planned]
    return tuple(files.get(file.info.path, file) for file in survey_files(corpus, listed=listed))


def _kept_as_now(rows: RowSchema, now: RowSchema, names: Collection[str]) -> RowSchema:
    """names: of the kept columns in the dataset that may take another type."""
    kinds = {name: kind for _, name, kind in now.kept}
    kept = tuple((source, name, kinds[name] if name in names else kind) for source, name, kind in rows.kept)
    chosen = {source for source, name, _ in rows.kept if name in names}
    uuids = (*(column for column in rows.uuids if column not in chosen), *(column for column in now.uuids if column in chosen))
    return replace(rows, kept=kept, uuids=uuids)


def _holds_values(folder: Folder, shards: Collection[str], column: str) -> bool:
    """Whether a row of these shards has a value there, or may have: of one that cannot be read."""
    try:
        for name in shards:
            with folder.open(name) as file, open_parquet(file) as parquet:
                if any(table.column(0).null_count < table.num_rows for table in row_groups(parquet, [column])):
                    return True
    except (Damaged, FileNotFoundError):
        return True
    return False
