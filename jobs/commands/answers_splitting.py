"""Texts that are longer than the model's limit, put into words for a person, before anything is embedded."""

from __future__ import annotations

from embermill.counts import several
from embermill.jobs.commands.command import Answer
from embermill.jobs.commands.quantities import show_bytes, show_seconds

FATE = {"truncate": "about {:,} tokens would be cut off", "error": "these rows, with about {:,} tokens too many, would be refused"}


def show_splitting(answer: Answer) -> list[tuple[str, str]]:
    """Of `plan`: what is lost and what it costs to keep it; nothing where every sampled text fits."""
    found = answer.get("splitting")
    if found is None:
        return []
    over = f"about {several(found['documents_over'], 'text')} of {answer['rows']:,}"
    made = f"about {several(found['rows'], 'row')}"
    if answer["on_long_text"] == "split":
        return [("chunks", f"{over} are longer than the model takes: {made}, {found['extra_rows']:,} more than documents")]
    cost = [f"{made} ({found['extra_rows']:,} more)", f"{several(found['tokens'], 'token')} ({found['extra_tokens']:,} more)"]
    cost += [] if found["output_bytes"] is None else [show_bytes(found["output_bytes"])]
    cost += [] if found["seconds"] is None else [f"{show_seconds(found['seconds'])}"]
    return [
        ("too long", f"{over} are longer than the model takes; {FATE[answer['on_long_text']].format(found['tokens_over'])}"),
        ("advice", f"--set model.on_long_text=split embeds them whole, as chunks: {', '.join(cost)}"),
    ]


def show_refused(answer: Answer) -> list[tuple[str, str]]:
    """Of `plan`: sampled rows that a run would put into the quarantine."""
    if (found := answer.get("refused")) is None:
        return []
    return [("refused", f"{several(found['rows'], 'row')} of those sampled would be quarantined, for example of {found['file']}: {found['error']}")]


def show_unknown_words(pieces: int) -> list[tuple[str, str]]:
    """Of documents that were cut to chunks."""
    if not pieces:
        return []
    what = f"{several(pieces, 'piece')} of over 64 characters of words that the tokenizer does not know, each one unknown token to the model"
    return [("unknown", f"{what}: chunk.on_blob: refuse keeps such documents out")]
