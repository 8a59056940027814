"""The dataset card: README.md at the dataset's root, derived from plan and versions after each of them is published, of no authority.

Its front matter tells `datasets.load_dataset` which files are the base. A README.md that somebody else wrote is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from embermill.counts import several
from embermill.credentials import without_credentials
from embermill.jobs.dataset.metadata.schema import row_schema
from embermill.jobs.dataset.metadata.versions import BASE, DELETES, FIRST, UPSERTS, Version, read_version, read_versions
from embermill.jobs.plan.files import Plan, read_plan
from embermill.jobs.shard.footer import DATA
from embermill.jobs.storage import Folder
from embermill.jobs.vectors.form import UBINARY, StoredVector

CARD = "README.md"
DERIVED = "<!-- made by embermill after each version; edits are lost, remove this line to keep them -->"
EXPLAINED = {
    "num_tokens": "token ids that the model was fed, special tokens and prompt included",
    "num_tokens_dropped": "tokens of the text that were cut off",
    "text_hash": "BLAKE2b (16 bytes, hex) of the text before prompt and truncation",
    "text": "what was embedded, before prompt and truncation",
    "uuid": "the UUID (version 5) that follows from the id",
    "version": "the version of the dataset that last changed the row",
}


def write_card(folder: Folder) -> None:
    """Make it say what is there now; nothing is written where it says that already, or where no run is finished yet."""
    plan, version = read_plan(folder), _newest(folder)
    if plan is None or version is None:
        return
    text = describe(folder, plan, version).encode()
    try:
        standing = folder.read(CARD)
    except FileNotFoundError:
        standing = None
    if standing != text and (standing is None or DERIVED.encode() in standing):
        folder.replace(CARD, text)


def _newest(folder: Folder) -> Version | None:
    """The newest version; without its files, of which nothing is said, where it is the first."""
    committed = [version for version in read_versions(folder, files=False) if version.is_committed]
    return None if not committed else committed[0] if len(committed) == 1 else read_version(folder)


def describe(folder: Folder, plan: Plan, version: Version) -> str:
    name = folder.root.rstrip("/").rpartition("/")[2]
    lines = [*_front_matter(version), DERIVED, "", *_warning(version), f"# {name}", "", *_facts(plan, version), ""]
    lines += ["| column | type | |", "| --- | --- | --- |"]
    lines += [f"| `{field.name}` | {_type(field.type)} | {_explained(plan, field.name)} |" for field in row_schema(plan)]
    return "\n".join([*lines, "", *_reading(version), ""])


def base_pattern(version: Version) -> str | None:
    """A glob of the base's files within the dataset; None where it has none."""
    if version.number == FIRST:
        return f"{DATA}/*.parquet" if version.totals["rows"] else None
    folders = {file.name.rpartition("/")[0] for file in version.of_kind(BASE)}
    return f"{min(folders)}/*.parquet" if folders else None


def _front_matter(version: Version) -> Iterator[str]:
    yield "---"
    if pattern := base_pattern(version):
        yield from ("configs:", "- config_name: default", "  data_files:", "  - split: train", f"    path: {pattern}")
    yield from ("tags:", "- embeddings", "---")


def _warning(version: Version) -> Iterator[str]:
    if changed := version.of_kind(UPSERTS, DELETES):
        since = min(file.version for file in changed)
        yield (
            f"**`load_dataset` and a glob of the base give rows as they were before version {since}; this is version {version.number}. "
            "For the current rows: `embermill files DATASET --sql duckdb` prints a query, `embermill.open_dataset(DATASET)` reads them.**"
        )
        yield ""


def _facts(plan: Plan, version: Version) -> Iterator[str]:
    yield f"{several(version.totals['rows'], 'row')} in version {version.number}, made by embermill from {several(len(plan.listing), 'file')}."
    model = plan.config.get("model.source")
    made = f"Model: `{without_credentials(str(model))}`. " if model else ""
    dims = ", ".join(f"`{form.column}` ({_form(form)})" for form in plan.stored)
    yield f"{made}Vectors: {dims}, computed in {plan.precision}."


def _form(form: StoredVector) -> str:
    scale = "" if form.scale is None else f", number = code * {form.scale:.6g}"
    return f"{form.dim} {'bits' if form.dtype == UBINARY else 'numbers'}, {form.dtype}{scale}"


def _type(kind: pa.DataType) -> str:
    return f"{kind.value_type}[{kind.list_size}]" if pa.types.is_fixed_size_list(kind) else str(kind).replace("|", "\\|")


def _explained(plan: Plan, column: str) -> str:
    if column == plan.rows.id_name:
        return "names the row"
    if column in {form.column for form in plan.stored}:
        return "the vector"
    if column in {name for _, name, _ in plan.rows.kept}:
        return "from the corpus"
    return EXPLAINED.get(column, "")


def _reading(version: Version) -> Iterator[str]:
    if version.of_kind(UPSERTS, DELETES):
        yield "A row is live unless a later version has an upsert or a delete of its id. The list of files to read is the manifest's, never a glob over"
        yield "`changes/`, which may hold a version that was abandoned or is in the making: `embermill files DATASET --sql duckdb` (or `polars`) prints both."
    elif pattern := base_pattern(version):
        yield from ("```sql", f"SELECT * FROM '{pattern}';  -- DuckDB, in the dataset's folder", "```")
