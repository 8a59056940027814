"""Columns of vectors, put into words for a person: what a run stored, and what each column finds."""

from __future__ import annotations

from collections.abc import Iterator

from embermill.counts import several
from embermill.jobs.commands.command import Answer


def show_vectors(answer: Answer) -> list[tuple[str, str]]:
    """Of a run's summary; nothing where the model's vectors are stored as they are, in one column."""
    vectors = answer.get("vectors") or ()
    if not vectors:
        return []
    told = ", ".join(f"{each['column']} {each['form']}" for each in vectors)
    clipped = answer["values_clipped"]
    return [("vectors", told + (f"; {several(clipped, 'value')} ({answer['share_clipped']:.2g} of them) too large for a code and clipped" if clipped else ""))]


def show_recall(found: Answer | None, unit: str) -> Iterator[str]:
    """unit: what a row of the dataset is."""
    if found is None:
        return
    rows = f"{found['queries']:,} of {several(found['rows'], unit)} searched for"
    yield f"recall@10 against {found['against']}, {rows}:"
    names = max(len(each["column"]) for each in found["columns"])
    forms = max(len(each["form"]) for each in found["columns"])
    for each in found["columns"]:
        rescored = f"   {each['rescored']:.3f} with its 40 nearest put in order by {each['rescored_by']}" if each["rescored"] is not None else ""
        yield f"  {each['column']:<{names}}  {each['form']:<{forms}}  {each['bytes']:>6,} bytes  {each['recall']:.3f}{rescored}"
