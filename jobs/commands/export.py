"""The commands that bring a dataset to where it is searched, as files: check, and export."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from embermill.counts import several
from embermill.jobs.commands.command import Answer, Command, filled, positive, progress_bar
from embermill.jobs.commands.quantities import show_bytes, show_seconds
from embermill.jobs.wording import live_rows, units


def mapping(text: str) -> tuple[str, str]:
    """An argument that renames: NAME=OTHER."""
    name, equals, other = text.partition("=")
    if not (name and equals and other):
        raise argparse.ArgumentTypeError(f"expected NAME=OTHER, got {text}")
    return name, other


def add_selection_arguments(parser: argparse.ArgumentParser) -> None:
    """Of what is checked, or exported: dataset, version, vector column, and the names of columns there."""
    parser.add_argument("output", type=filled, metavar="OUTPUT", help="the dataset: a folder or an object-store URL")
    parser.add_argument("--version", type=positive, metavar="V", dest="of_version", help="of this version; the newest unless given")
    parser.add_argument("--vector", type=filled, metavar="COLUMN", help="the vector column; the first one unless given")
    renaming = "call the column NAME of the dataset OTHER there; may be given several times"
    parser.add_argument("--map", type=mapping, action="append", default=[], metavar="NAME=OTHER", help=renaming)


def _add_check_arguments(parser: argparse.ArgumentParser) -> None:
    add_selection_arguments(parser)
    targets = "pinecone, pinecone-jsonl, milvus, milvus-import, elasticsearch, opensearch, weaviate, vespa, azure, s3vectors, or a target of `embermill load`"
    parser.add_argument("--for", type=filled, required=True, metavar="TARGET", dest="target", help=targets)


def check(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.index.check import check as hold_against

    with progress_bar("checking rows") as advance:
        report = hold_against(
            arguments.output, arguments.target, version=arguments.of_version, vector=arguments.vector, names=dict(arguments.map), on_rows=advance
        )
    return report.to_json()


def show_check(answer: Answer) -> str:
    return "\n".join(_check_lines(answer))


def _check_lines(answer: Answer) -> Iterator[str]:
    unit, held = units(answer["documents"] is not None)[1], live_rows(answer["rows"], answer["documents"])
    yield f"{answer['title']} takes {answer['root']}, version {answer['version']}: {held}, as far as its recorded limits say"
    for limit in answer["limits"]:
        yield f"  {limit['limit']} ({limit['source']}, {limit['date']}{'' if limit['confirmed'] else '; unconfirmed'})"
    for found in answer["converted"]:
        yield f"{several(found['count'], unit)} beyond \"{found['limit']}\", for example {found['named'][0]}: {found['remedy']}"
    yield from _estimate_lines(answer["estimate"])


def _estimate_lines(estimate: Answer) -> Iterator[str]:
    if estimate["calls"] is not None:
        per_call = several(estimate["rows_per_call"], "row")
        yield f"loading it takes at least {several(estimate['calls'], 'call')} of up to {per_call} (about {show_bytes(estimate['row_bytes'])} a row as JSON)"
    if estimate["seconds"] is not None:
        yield f"at the published rate that takes {show_seconds(estimate['seconds'])} or more"


def _add_export_arguments(parser: argparse.ArgumentParser) -> None:
    from embermill.jobs.export import FORMATS

    add_selection_arguments(parser)
    parser.add_argument("--format", type=filled, required=True, metavar="F", help=f"one of {', '.join(FORMATS)}")
    where = "the folder to write into: a new one, or that of an export that was interrupted"
    parser.add_argument("--out", type=filled, required=True, metavar="DIR", help=where)
    options = "an option of the format, for example index=docs for elasticsearch; may be given several times"
    parser.add_argument("--option", type=mapping, action="append", default=[], metavar="NAME=VALUE", help=options)


def export(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.export.exporting import export as write

    with progress_bar("writing rows") as advance:
        report = write(
            arguments.output, arguments.format, arguments.out, version=arguments.of_version, vector=arguments.vector, names=dict(arguments.map),
            options=dict(arguments.option), on_rows=advance,
        )  # fmt: skip
    return report.to_json()


def show_export(answer: Answer) -> str:
    before = f", {answer['resumed_rows']:,} of them by an earlier call" if answer["resumed_rows"] else ""
    held = live_rows(answer["rows"], answer["documents"])
    return f"{answer['out']}: {held} of {answer['root']}, version {answer['version']}, as {answer['format']}{before}" + (
        f"\nThe dataset is empty: {answer['empty']}" if answer["empty"] else ""
    )


COMMANDS = (
    Command(
        "export", "write a version of a dataset in another format: for an index, a table library or Hugging Face datasets",
        _add_export_arguments, export, show_export,
    ),
    Command("check", "check offline whether a dataset fits the known limits of an index", _add_check_arguments, check, show_check),
)
