"""The answer of `sync`, put into words."""

from __future__ import annotations

from collections.abc import Iterator

from embermill.counts import agreeing, several
from embermill.jobs.commands.answers_splitting import show_unknown_words
from embermill.jobs.commands.command import Answer
from embermill.jobs.commands.quantities import show_bytes, show_seconds, table
from embermill.jobs.wording import live_rows, units

METADATA = "with other kept columns, or an id that is given once now"  # of rows that are written again with their vectors
KEPT = ("unseen", "stale", "refused")
FILE_WORDS = (("new", "new"), ("changed", "changed"), ("renamed", "renamed"), ("gone", "gone"), ("same", "unchanged"))


def show_sync(answer: Answer) -> str:
    """Of a sync that was not a run."""
    of_rows, documents = answer, answer.get("documents")
    live = live_rows(answer["rows"], None if documents is None else documents["live"])
    if answer["action"] == "nothing":
        same = answer["files"]["same"]
        files = f"{several(same, 'file')}, {agreeing(same, 'which has not changed', 'none of them changed')}"
        if answer["files"]["scanned"] or len([state for state, _ in FILE_WORDS if answer["files"][state]]) > 1:
            files = f"{_show_files(answer)}, and no {units(documents is not None)[0]} changed"
        more = f"; compacted into version {answer['compacted']}" if answer["compacted"] else ""
        told = f"{answer['output']}: version {answer['version']} is up to date: {files}; {live}{more}"
        kept = [*show_standing({kind: answer[f"rows_{kind}"] for kind in KEPT}, units(documents is not None)[0])]
        return "\n".join([told, *([table(kept)] if kept else [])])
    if documents is not None:
        of_rows = {f"rows_{name}": number for name, number in documents.items()}
    copied = f"{several(answer['vectors_copied'], 'vector')} copied"
    rows = [
        ("version", f"{answer['version']}, made from version {answer['parent']}: {live}"),
        ("files", _show_files(answer)),
        ("rows" if documents is None else "documents", ", ".join(_show_rows(of_rows)) or "none differs"),
        *([] if documents is None else [("chunks", ", ".join(_show_chunks(answer)) or "none differs")]),
        ("embedded", f"{several(answer['texts_embedded'], 'text')}, {several(answer['tokens_embedded'], 'token')}; {copied}"),
        *_show_imported(answer["imported"]),
        ("written", show_bytes(answer["bytes_written"]) + _show_clipped(answer["values_clipped"])),
        *show_unknown_words(answer["unknown_words"]),
        *_show_empty(answer["empty_texts"]),
        *_show_kept(answer, units(documents is not None)[0]),
        ("time", show_seconds(answer["seconds"])),
    ]
    if answer["compacted"]:
        rows.append(("compacted", f"all live rows are in a new base: version {answer['compacted']} (output.compact_at)"))
    if answer["abandoned"]:
        rows.append(("abandoned", f"{several(answer['abandoned'], 'version')}: the corpus changed while it was made"))
    return f"{answer['output']} is up to date\n" + table(rows)


def _show_empty(texts: int) -> list[tuple[str, str]]:
    return [("found", f"{several(texts, 'empty text')} embedded like any other")] if texts else []


def _show_clipped(values: int) -> str:
    return f"; {several(values, 'number')} of compact columns too large for a code and clipped" if values else ""


def _show_imported(imported: Answer | None) -> Iterator[tuple[str, str]]:
    if imported is not None:
        cosine = f"cosine {imported['minimum']:.6f} at least, {imported['mean']:.6f} on average"
        agree = f"{several(imported['texts'], 'text')} of theirs embedded here too, {cosine}"
        yield "imported", f"{several(imported['vectors'], 'vector')} of {several(imported['files'], 'file')}; {agree} (bound {imported['bound']:g})"


def _show_files(answer: Answer) -> str:
    files = answer["files"]
    told = [f"{files[state]:,} {words}" for state, words in FILE_WORDS if files[state]]
    return f"{', '.join(told)}; {files['scanned']:,} read"


def _show_rows(answer: Answer) -> Iterator[str]:
    for key, words in (
        ("rows_new", "new"), ("rows_changed", "with another text"), ("rows_metadata", METADATA),
        ("rows_moved", "moved to another file"), ("rows_deleted", "deleted"),
    ):  # fmt: skip
        if answer[key]:
            yield f"{answer[key]:,} {words}"


def _show_chunks(answer: Answer) -> Iterator[str]:
    """rows_moved: chunks that keep their ids, of documents that changed elsewhere."""
    for key, words in (("rows_new", "new"), ("rows_moved", "written again, with their vectors"), ("rows_deleted", "deleted")):
        if answer[key]:
            yield f"{answer[key]:,} {words}"


def _show_kept(answer: Answer, unit: str) -> Iterator[tuple[str, str]]:
    """What is not as the corpus is. unit: what is read from it."""
    yield from show_standing({kind: answer[f"rows_{kind}"] for kind in ("unseen", "stale")}, unit)
    if answer["rows_quarantined"]:
        duplicates = f", {answer['rows_duplicate']:,} of them with an id that occurs earlier" if answer["rows_duplicate"] else ""
        yield "refused", f"{several(answer['rows_quarantined'], unit)}{duplicates}: see quarantine/{answer['version']:06d}/"


def show_standing(standing: Answer, unit: str) -> Iterator[tuple[str, str]]:
    """Where a version is not as its corpus is, whichever sync left it so. unit: what is read from the corpus."""
    if unseen := standing.get("unseen"):
        where = f"no file gives {agreeing(unseen, 'it', 'them')} any more (corpus.complete: true deletes such rows)"
        yield "unseen", f"{several(unseen, unit)} kept, though {where}"
    if stale := standing.get("stale"):
        yield "stale", f"{several(stale, unit)} kept as before, refused in {agreeing(stale, 'its', 'their')} new form (corpus.on_refused_update)"
    if refused := standing.get("refused"):
        yield "refused", f"{several(refused, unit)} of the corpus, as syncs have read its files: see quarantine/"


PLANNED = (
    ("new", "new"), ("changed", "with another text"), ("metadata", "with other kept columns alone, or an id that is given once now"),
    ("moved", "moved to another file"),
    ("deleted", "deleted"), ("unseen", "in no file any more, and kept"), ("stale", "refused now, and kept as they were"),
    ("duplicate", "with an id that occurs earlier"), ("refused", "refused"), ("unchanged", "unchanged"),
)  # fmt: skip


def show_sync_plan(answer: Answer) -> str:
    """What a sync would do, as `plan` found out."""
    files = answer["files"]
    told = ", ".join(f"{files[state]:,} {words}" for state, words in FILE_WORDS if files[state])
    lines = [("files", f"{told}; {files['scanned']:,} to be read")]
    if answer["rows"] is None:
        return table([*lines, (answer.get("of", "rows"), "not looked at (--quick): without it `embermill plan` reads the files that changed")])
    lines += [(answer.get("of", "rows") if number == 0 else "", words) for number, words in enumerate(_planned(answer["rows"]))]
    if "tokens" in answer:
        embed = f"{several(answer['texts_to_embed'], 'text')}, about {several(answer['tokens'], 'token')}"
        lines.append(("embed", embed + ("" if answer["seconds"] is None else f", about {show_seconds(answer['seconds'])}")))
        lines.append(("copy", f"{several(answer['vectors_to_copy'], 'vector')} of texts that have one"))
        lines.append(("output", f"about {show_bytes(answer['output_bytes'])}"))
        if answer["refusal"] is not None:
            lines.append(("refused", f"a sync would end with exit code 3: {answer['refusal']}"))
    return table(lines)


def _planned(rows: Answer) -> Iterator[str]:
    for key, words in PLANNED:
        if rows.get(key):
            yield f"{rows[key]:,} {words}"
