"""`embermill load`: a dataset into a search index."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict

from embermill.counts import several
from embermill.jobs.commands.command import Answer, Command, filled, positive, progress_bar
from embermill.jobs.wording import live_rows

DESCRIPTION = """Load a dataset into a search index, or bring one up to date that was loaded before: what changed since is written, and nothing
else. A load that was killed is resumed by the same command. Afterwards rows are counted and 100 sampled vectors compared, every time.

TARGET is one of postgresql://host/db?table=docs (pgvector), duckdb:PATH?table=docs, lancedb:PATH?table=docs, faiss:PATH, usearch:PATH, qdrant-edge:PATH,
qdrant://host:6333?collection=docs, milvus:PATH (Milvus Lite) or milvus://host:19530?collection=docs, chroma:PATH or chroma://host:8000?collection=docs,
or a class of your own, python:module:Class (embermill.jobs.index documents it). Each needs its client library: pip install 'embermill[lancedb]'.
?metric=cosine, dot or l2 chooses how vectors are compared. The code for servers of Qdrant was run against its client's
local mode and never against a real server, that for Milvus against the server of Milvus Lite and never against a cluster.

A second load into the same target ends with exit code 4 before its first write: by a lock where the target has one, by a lease in the collection's
metadata on servers of Qdrant, Milvus and Chroma. LanceDB in an object store has neither: keep two loads apart there yourself."""


def _renamed(text: str) -> tuple[str, str]:
    column, _, name = text.partition("=")
    if not column or not name:
        raise argparse.ArgumentTypeError(f"expected COLUMN=NAME, got {text!r}")
    return column, name


def _add_load_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("output", type=filled, metavar="OUTPUT", help="the dataset: a folder or an object-store URL")
    add("target", type=filled, metavar="TARGET", help="the index, and the table or collection in it")
    add("--to", type=positive, metavar="V", help="up to this version; the newest unless given")
    add("--map", type=_renamed, action="append", default=[], metavar="COLUMN=NAME", help="what the target calls a column; may be repeated")
    add("--vector", type=filled, metavar="COLUMN", help="the column of vectors; the first unless given")
    add("--workers", type=positive, default=1, metavar="N", help="write with so many connections at once, where the target takes that")
    add("--follow", action="store_true", help="wait for new versions and load each, until interrupted")
    add("--adopt", action="store_true", help="take over a target that holds rows which `load` did not write: all rows are written again")
    add("--dry-run", action="store_true", help="say what would be written, and refuse what a load would refuse; write nothing")
    add("--alias", type=filled, metavar="NAME", help="after the checks, let this name mean the target's collection (in PostgreSQL and DuckDB a view)")
    add("--probe", action="store_true", help="measure recall@10 of 100 rows against brute force, which reads the whole dataset")


def load(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.index.running import Options
    from embermill.jobs.index.running import load as fill

    options = Options(
        to=arguments.to, renamed=dict(arguments.map), vector=arguments.vector, workers=arguments.workers, adopt=arguments.adopt,
        dry_run=arguments.dry_run, alias=arguments.alias, probe=arguments.probe, follow=arguments.follow,
    )  # fmt: skip
    with progress_bar("rows") as progress:
        return asdict(fill(arguments.output, arguments.target, options, progress))


def show_load(answer: Answer) -> str:
    return ", ".join(_parts(answer)) + (f"\nThe dataset is empty: {answer['empty']}" if answer.get("empty") else "")


def _parts(answer: Answer) -> Iterator[str]:
    state, after = ("would be", "to be written") if answer["dry_run"] else ("is", "written")
    created = " (new)" if answer["created"] else ""
    before = f", before {answer['before']}" if answer["before"] else ""
    yield f"{answer['target']}{created} {state} at version {answer['version']}{before}: {live_rows(answer['rows'], answer['documents'])}"
    yield f"{answer['upserted']:,} {after}"
    yield f"{answer['deleted']:,} {'to be ' if answer['dry_run'] else ''}deleted in {answer['seconds']:.1f} s"
    if (checked := answer["checked"]) is not None:
        yield f"counts equal, {several(checked['sampled'], 'sampled vector')} equal"
        if checked["recall"] is not None:
            yield f"recall@10 {checked['recall']:.3f}"
    if answer["alias"]:
        yield f"alias {answer['alias']}" + (" would be moved" if answer["dry_run"] else " moved")


COMMANDS = (Command("load", "load a dataset into a search index, or only what changed since the last load", _add_load_arguments, load, show_load, DESCRIPTION),)
