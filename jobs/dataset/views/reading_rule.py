"""The reading rule for other engines, always with the list of files of one version: never with a glob over changes/, which may hold a version that was
abandoned or is in the making."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from embermill.jobs.dataset.metadata.schema import VERSION
from embermill.jobs.dataset.metadata.versions import BASE, DELETES, UPSERTS, Version
from embermill.jobs.plan.files import Plan
from embermill.jobs.storage import Folder

Files = dict[str, list[str]]  # kind -> paths or URLs


def files_by_kind(folder: Folder, version: Version) -> Files:
    """Of rows and deletes, each as another program finds it."""
    return {kind: [f"{folder.root.rstrip('/')}/{file.name}" for file in version.of_kind(kind)] for kind in (BASE, UPSERTS, DELETES)}


def reading_rule(folder: Folder, plan: Plan, version: Version, engine: str) -> str:
    """A query for DuckDB, or a few lines of Python for Polars, that give the live rows of the version. engine: one of ENGINES."""
    return ENGINES[engine](files_by_kind(folder, version), plan)


def _duckdb(files: Files, plan: Plan) -> str:
    """hive_partitioning is off: a folder called a=b on the way to the dataset would become a column."""
    name = _sql_name(plan.rows.id_name)
    base = f"SELECT *{'' if plan.tells_versions else f', 1::BIGINT AS {VERSION}'} FROM {_read_parquet(files[BASE])}"
    if not files[UPSERTS] and not files[DELETES]:
        return f"{base};" if files[BASE] else _nothing_sql(plan)
    upserts = f"SELECT * FROM {_read_parquet(files[UPSERTS])}"
    changes = [f"SELECT {name}, {VERSION} FROM {_read_parquet(files[kind])}" for kind in (UPSERTS, DELETES) if files[kind]]
    rows = [part for part, kind in ((base, BASE), (upserts, UPSERTS)) if files[kind]]
    return (
        f"WITH newer AS (SELECT {name}, max({VERSION}) AS newest FROM (\n    {f'{chr(10)}    UNION ALL '.join(changes)}\n  ) GROUP BY {name}),\n"
        f"all_rows AS (\n    {f'{chr(10)}    UNION ALL BY NAME '.join(rows) or _nothing_sql(plan)}\n  )\n"
        f"SELECT r.* FROM all_rows r ANTI JOIN newer n ON n.{name} = r.{name} AND n.newest > r.{VERSION};"
    )


def _nothing_sql(plan: Plan) -> str:
    return f"SELECT NULL AS {_sql_name(plan.rows.id_name)}, 0::BIGINT AS {VERSION} WHERE false"


def _read_parquet(paths: Sequence[str]) -> str:
    quoted = ", ".join("'" + _no_glob(path).replace("'", "''") + "'" for path in paths)
    return f"read_parquet([{quoted}], hive_partitioning = false)"


def _no_glob(path: str) -> str:
    """A path that DuckDB takes for itself, whatever is in it."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in path)


def _sql_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _polars(files: Files, plan: Plan) -> str:
    name = json.dumps(plan.rows.id_name)
    base = "" if plan.tells_versions else f".with_columns(pl.lit(1, pl.Int64).alias({json.dumps(VERSION)}))"
    lines = ["import polars as pl", "", "def scan(files):", "    return pl.scan_parquet(files, glob=False, hive_partitioning=False)", ""]
    lines += [f"base = scan({_python_list(files[BASE])}){base}"] if files[BASE] else []
    lines += [f"{kind} = scan({_python_list(files[kind])})" for kind in (UPSERTS, DELETES) if files[kind]]
    parts = [kind for kind in (BASE, UPSERTS) if files[kind]]
    rows = f"pl.concat([{', '.join(parts)}], how='diagonal')" if len(parts) > 1 else (parts or ["pl.LazyFrame()"])[0]
    changed = [f"{kind}.select({name}, {json.dumps(VERSION)})" for kind in (UPSERTS, DELETES) if files[kind]]
    if not changed:
        return "\n".join([*lines, f"rows = {rows}", ""])
    return "\n".join(
        [
            *lines,
            f"newer = pl.concat([{', '.join(changed)}]).group_by({name}).agg(newest=pl.col({json.dumps(VERSION)}).max())",
            f"rows = {rows}",
            f"rows = rows.join(newer, on={name}, how='left', maintain_order='left')",
            f"rows = rows.filter(pl.col('newest').is_null() | (pl.col('newest') <= pl.col({json.dumps(VERSION)}))).drop('newest')",
            "",
        ]
    )


def _python_list(paths: Sequence[str]) -> str:
    return json.dumps([*paths], ensure_ascii=False)


ENGINES: dict[str, Callable[[Files, Plan], str]] = {"duckdb": _duckdb, "polars": _polars}
