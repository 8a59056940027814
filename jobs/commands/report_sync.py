"""The answer of `sync`, put into words."""

from __future__ import annotations

from collections.abc import Iterator

from embermill.jobs.commands.command import Answer
from embermill.jobs.commands.report import show_bytes, show_run, show_seconds, table
from embermill.jobs.wording import several

FILE_WORDS = (("new", "new"), ("changed", "changed"), ("renamed", "renamed"), ("gone", "gone"), ("same", "unchanged"))


def show_sync(answer: Answer) -> str:
    if answer["run"] is not None:
        return show_run(answer["run"])
    if answer["action"] == "nothing":
        files = several(answer["files"]["same"], "file")
        return f"{answer['output']}: version {answer['version']} is up to date: {files}, none of them changed; {answer['rows']:,} rows"
    copied = f"{several(answer['vectors_copied'], 'vector')} copied"
    rows = [
        ("version", f"{answer['version']}, made from version {answer['parent']}: {answer['rows']:,} rows"),
        ("files", _show_files(answer)),
        ("rows", ", ".join(_show_rows(answer)) or "none differs"),
        ("embedded", f"{several(answer['texts_embedded'], 'text')}, {answer['tokens_embedded']:,} tokens; {copied}"),
        ("written", show_bytes(answer["bytes_written"])),
        *_show_kept(answer),
        ("time", show_seconds(answer["seconds"])),
    ]
    if answer["abandoned"]:
        rows.append(("abandoned", f"{several(answer['abandoned'], 'version')}: the corpus changed while it was made"))
    return f"{answer['output']} is up to date\n" + table(rows)


def _show_files(answer: Answer) -> str:
    files = answer["files"]
    told = [f"{files[state]:,} {words}" for state, words in FILE_WORDS if files[state]]
    return f"{', '.join(told)}; {files['scanned']:,} read"


def _show_rows(answer: Answer) -> Iterator[str]:
    for key, words in (
        ("rows_new", "new"), ("rows_changed", "with another text"), ("rows_metadata", "with other kept columns"),
        ("rows_moved", "moved to another file"), ("rows_deleted", "deleted"),
    ):  # fmt: skip
        if answer[key]:
            yield f"{answer[key]:,} {words}"


def _show_kept(answer: Answer) -> Iterator[tuple[str, str]]:
    """What is not as the corpus is."""
    if answer["rows_unseen"]:
        where = "no file gives them any more (corpus.complete: true deletes such rows)"
        yield "unseen", f"{several(answer['rows_unseen'], 'row')} stay, though {where}"
    if answer["rows_stale"]:
        yield "stale", f"{several(answer['rows_stale'], 'row')} stay as they were, since they are refused now (corpus.on_refused_update)"
    if answer["rows_quarantined"]:
        duplicates = f", {answer['rows_duplicate']:,} of them with an id that stands earlier" if answer["rows_duplicate"] else ""
        yield "refused", f"{several(answer['rows_quarantined'], 'row')}{duplicates}: see quarantine/{answer['version']:06d}/"
