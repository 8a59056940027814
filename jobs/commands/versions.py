"""The commands about versions of a dataset: history, files, changes, rollback, compact."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from embermill.counts import agreeing, plural, several
from embermill.jobs.commands.command import Answer, Command, filled, positive
from embermill.jobs.wording import live_rows, units

MOST_NAMED = 20  # of unknown ids; --json has all
SQL_ENGINES = ("duckdb", "polars")
"""Those of reading_rule.py, named here so that help loads no Arrow."""


def _whole_number(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a version, 0 or above, got {text}")
    return int(text)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", type=filled, metavar="OUTPUT", help="the dataset: a folder or an object-store URL")


def history(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.dataset.metadata.inventory import list_inventory
    from embermill.jobs.dataset.views.history import history as look
    from embermill.jobs.storage import open_folder

    folder = open_folder(arguments.output)
    versions = look(folder)
    return {"root": folder.root, "versions": versions, "unfinished": None if versions else list_inventory(folder).why_unfinished(folder)}


def show_history(answer: Answer) -> str:
    return "\n".join(_history_line(entry) for entry in answer["versions"]) or f"{answer['root']}: no version yet: {answer['unfinished']}"


def _history_line(entry: Answer) -> str:
    totals = entry["totals"]
    signs = () if entry["cause"] == "compact" else (("rows_upserted", "+"), ("rows_deleted", "-"))
    changed = "".join(f", {sign}{totals[key]:,}" for key, sign in signs if key in totals)
    rows = f"  {live_rows(totals['rows'], totals.get('documents'))}{changed}" if "rows" in totals else ""
    state = "" if entry["state"] == "readable" else f"  ({entry['state']})"
    return f"{entry['version']:>6}  {entry['created']}  {entry['cause']}{rows}{state}"


def _add_files_arguments(parser: argparse.ArgumentParser) -> None:
    _add_output(parser)
    parser.add_argument("--version", type=positive, metavar="V", dest="of_version", help="of this version; the newest unless given")
    parser.add_argument("--sql", choices=SQL_ENGINES, metavar="ENGINE", help="print a query for duckdb, or a program for polars, that gives the live rows")


def files(arguments: argparse.Namespace) -> Answer:
    from dataclasses import asdict

    from embermill.jobs.dataset.metadata.versions import documents_of
    from embermill.jobs.dataset.views.opening import open_version
    from embermill.jobs.dataset.views.reading_rule import reading_rule
    from embermill.jobs.storage import open_folder

    folder = open_folder(arguments.output)
    plan, version = open_version(folder, arguments.of_version)
    query = reading_rule(folder, plan, version, arguments.sql) if arguments.sql else None
    listed = [asdict(file) for file in version.of_kind("base", "upserts", "deletes")]
    documents = documents_of(folder, plan, version)
    return {"root": folder.root, "version": version.number, "rows": version.totals["rows"], "documents": documents, "files": listed, "query": query}


def show_files(answer: Answer) -> str:
    if answer["query"] is not None:
        return str(answer["query"])
    held = live_rows(answer["rows"], answer["documents"])
    unit = units(answer["documents"] is not None)[1]
    counted = [f"{file['rows']:>12,} {plural(file['rows'], unit):<{len(unit) + 1}}" for file in answer["files"]]
    lines = [f"{file['kind']:<8} {rows} {file['bytes']:>14,} bytes  {file['name']}" for file, rows in zip(answer["files"], counted, strict=True)]
    return "\n".join([*lines, f"version {answer['version']}: {held}; --sql duckdb prints the query that gives them"])


def _add_changes_arguments(parser: argparse.ArgumentParser) -> None:
    _add_output(parser)
    parser.add_argument("--since", type=_whole_number, required=True, metavar="V", help="the version that was read before; 0 for none")
    parser.add_argument("--to", type=positive, metavar="W", help="up to this version; the newest unless given")
    parser.add_argument("--net", action="store_true", help="of each id its last change alone: count it, and with --out write it")
    parser.add_argument("--out", type=filled, metavar="DIR", help="write the feed into this new folder; without it the files are listed and nothing is copied")


def changes(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.dataset.views.feed import read_feed
    from embermill.jobs.dataset.views.feed_files import copy_files, write_net
    from embermill.jobs.plan.files import require_plan
    from embermill.jobs.storage import open_folder

    folder = open_folder(arguments.output)
    plan = require_plan(folder)
    feed = read_feed(folder, plan, arguments.since, arguments.to)
    listed = [{"kind": each.file.kind, "name": each.file.name, "rows": each.file.rows, "version": each.file.version, "needs_filter": each.needs_filter}
              for each in feed.files()]  # fmt: skip
    answer: Answer = {"root": folder.root, "since": feed.since, "to": feed.to.number, "files": listed, "out": arguments.out, "chunked": plan.rows.is_chunked}
    if arguments.net:
        answer |= write_net(feed, arguments.out)
    elif arguments.out:
        copy_files(feed, arguments.out)
    return answer


def show_changes(answer: Answer) -> str:
    return "\n".join(_changes_lines(answer))


def _changes_lines(answer: Answer) -> Iterator[str]:
    span, unit = f"from version {answer['since']} to {answer['to']}", units(answer["chunked"])[1]
    if "upserts" in answer:
        yield f"{several(answer['upserts'], unit)} new or changed and {answer['deletes']:,} deleted {span}"
    else:
        for file in answer["files"]:
            rows = f"{file['rows']:>12,} {plural(file['rows'], unit):<{len(unit) + 1}}"
            yield f"{file['version']:>6}  {file['kind']:<8} {rows}  {file['name']}" + _filter_of(file, answer["since"])
        yield f"{several(len(answer['files']), 'file')} {span}"
    if answer["out"]:
        yield f"written into {answer['out']}"


def _filter_of(file: Answer, since: int) -> str:
    return f"  (only rows with version > {since})" if file["needs_filter"] else ""


def _add_rollback_arguments(parser: argparse.ArgumentParser) -> None:
    _add_output(parser)
    parser.add_argument("--to", type=positive, required=True, metavar="V", help="the version whose rows are to be the current ones again")


def rollback(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.versions.making import make_version
    from embermill.jobs.versions.rollback import rollback as undo

    version = make_version(arguments.output, "rollback", lambda folder, plan: undo(folder, plan, arguments.to))
    return {"version": None if version is None else version.number, "to": arguments.to, "totals": {} if version is None else version.totals}


def show_rollback(answer: Answer) -> str:
    if answer["version"] is None:
        return f"nothing changed since version {answer['to']}"
    totals = answer["totals"]
    documents = totals.get("documents")
    done = f"{several(totals['rows_upserted'], units(documents is not None)[1])} restored, {totals['rows_deleted']:,} deleted"
    told = f"version {answer['version']} has the {live_rows(totals['rows'], documents)} of version {answer['to']}: {done}"
    return f"{told}. The next `sync` brings what the corpus holds by then"


def compact(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.versions.compact import compact as make
    from embermill.jobs.versions.making import make_version

    version = make_version(arguments.output, "compact", make)
    base = [] if version is None else version.of_kind("base")
    sums = {"rows": sum(file.rows for file in base), "bytes": sum(file.bytes for file in base), "files": len(base)}
    number, documents = (None, None) if version is None else (version.number, version.totals.get("documents"))
    return {"version": number, "documents": documents, **sums}


def show_compact(answer: Answer) -> str:
    if answer["version"] is None:
        return "nothing to compact: no row changed since the base was made"
    made = f"{live_rows(answer['rows'], answer['documents'])}, {several(answer['files'], 'file')}, {answer['bytes']:,} bytes"
    return f"version {answer['version']}: a new base of {made}. `embermill gc --keep-versions 1` removes the old one"


def _add_erase_arguments(parser: argparse.ArgumentParser) -> None:
    _add_output(parser)
    parser.add_argument("--ids", type=filled, required=True, metavar="FILE", help="one id a line, or Parquet or CSV with the dataset's id column")


def erase(arguments: argparse.Namespace) -> Answer:
    from dataclasses import asdict

    from embermill.jobs.versions.erase import erase as forget

    return asdict(forget(arguments.output, arguments.ids))


def show_erase(answer: Answer) -> str:
    unknown, root = _show_unknown(answer), answer["root"]
    if answer["version"] is None:
        lines = [f"{root}: nothing was erased, and no new version was made: {unknown or 'the list holds no id'}"]
        return "\n".join([*lines, *_show_paths(answer)])
    number, rows = len(answer["removed"]), several(answer["rows"], units(answer["chunked"])[1])
    removed = f"{several(number, 'file')} that could have held them {agreeing(number, 'is', 'are')} removed"
    if answer["again"]:
        lines = [f"{root}: version {answer['version']} erased these ids before, {rows}: no new version was made{f', and {removed}' if number else ''}"]
    else:
        lines = [
            f"{root}: version {answer['version']}: {rows} erased, and {removed}; earlier versions and "
            "cursors can no longer be used. Remove the rows from the corpus too: a `sync` that reads their files embeds them again"
        ]
    return "\n".join([*lines, *([unknown] if unknown else []), *_show_paths(answer)])


def _show_paths(answer: Answer) -> Iterator[str]:
    """Ids that stand in a dataset as names of corpus files, and stay."""
    if not (paths := answer["paths"]):
        return
    which = f"{', '.join(paths[:MOST_NAMED])}{', …' if len(paths) > MOST_NAMED else ''}"
    files, root = len(answer["paths_in"]), answer["root"]
    yield (
        f"still there as {agreeing(len(paths), 'the path of a corpus file', 'paths of corpus files')}: {which}: {several(files, 'file')} of the dataset, its "
        f"plan and listings of the corpus, {agreeing(files, 'names', 'name')} {agreeing(len(paths), 'it', 'them')} (--json: paths_in). To be rid of the "
        f"{agreeing(len(paths), 'path', 'paths')} as well, take what is erased out of the corpus, make the dataset anew with `embermill sync CONFIG --set "
        f"output.uri=NEW --reuse {root}`, which copies the vectors, and remove {root}"
    )


def _show_unknown(answer: Answer) -> str:
    """Ids that no file of the dataset names, other than as the name of a corpus file: of a typing error, say, or erased before."""
    if not answer["ids_unknown"]:
        return ""
    number, ids, named = answer["ids_unknown"], several(answer["ids"], "id"), (answer["unknown"] or [])[:MOST_NAMED]
    which = f": {', '.join(named)}{', …' if len(named) < number else ''}" if named else ""
    if number == answer["ids"]:
        how_many = "the only id given is in no" if number == 1 else f"none of the {ids} is in any"
    else:
        how_many = f"{number:,} of the {ids} {agreeing(number, 'is', 'are')} in no"
    return f"{how_many} {'row' if answer['paths'] else 'file'} of the dataset, in any version{which}"


COMMANDS = (
    Command("history", "list the versions of a dataset: when each was made, by what, and what it changed", _add_output, history, show_history),
    Command("files", "list the files of a version, or print a query that reads its rows", _add_files_arguments, files, show_files),
    Command("changes", "show what changed after a version: the files of the change feed, or their net effect", _add_changes_arguments, changes, show_changes),
    Command("rollback", "make a new version with the rows of an earlier one", _add_rollback_arguments, rollback, show_rollback),
    Command("erase", "remove rows from every file of the dataset; cursors from before are refused", _add_erase_arguments, erase, show_erase),
    Command("compact", "write a new base of all live rows beside the old one; cursors stay valid", _add_output, compact, show_compact),
)
