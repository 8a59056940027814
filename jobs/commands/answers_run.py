"""The answer of `run`, put into words: what the dataset holds, and what this run did for it."""

from __future__ import annotations

from collections.abc import Iterator

from embermill.counts import several
from embermill.jobs.commands.answers import show_account, show_corpus, show_findings, show_prompts
from embermill.jobs.commands.answers_splitting import show_unknown_words
from embermill.jobs.commands.answers_vectors import show_vectors
from embermill.jobs.commands.command import Answer
from embermill.jobs.commands.quantities import show_bytes, show_seconds, table
from embermill.jobs.wording import describe_refusal, live_rows, units


def show_run(answer: Answer) -> str:
    """The summary at the end of a run; of a dataset that has later versions, what the newest one is."""
    if answer.get("version", 1) > 1:
        return _show_later(answer)
    (_, unit), lengths = units(answer.get("chunked", False)), answer["token_lengths"]
    rows = [
        *show_account(answer),
        *([("refused", f"for example {describe_refusal(answer['first_quarantined'])}")] if answer["first_quarantined"] else []),
        ("tokens", f"{answer['tokens']:,}, and {answer['tokens_dropped']:,} cut off from {several(answer['rows_truncated'], unit)} too long for the model"),
        ("lengths", f"half of the {unit}s up to {several(lengths['p50'], 'token')}, {_show_longer(lengths)}"),
        ("output", f"{several(answer['shards'], 'shard')}, {show_bytes(answer['output_bytes'])}"),
        *show_vectors(answer),
        *show_unknown_words(answer.get("unknown_words", 0)),
        *show_findings(answer["findings"]),
        *show_prompts(answer["prompts"]),
        *show_corpus(answer.get("corpus")),
    ]
    return f"{answer['output']} {_state(answer)}\n" + table([*rows, *_show_effort(answer)])


def _state(answer: Answer) -> str:
    """Of a dataset of one version. One that has no row was finished by an earlier embermill, or its corpus has none."""
    if answer["rows_out"] or not answer["rows_quarantined"]:
        return "is complete"
    return "has no row: every row of its corpus was quarantined. Fix the corpus: `embermill sync CONFIG` embeds what changed"


def _show_longer(lengths: dict[str, int]) -> str:
    return f"90 % up to {lengths['p90']:,}, 99 % up to {lengths['p99']:,}, the longest {lengths['max']:,}"


def _show_later(answer: Answer) -> str:
    """A run changes nothing there, and what the first one made may be long gone."""
    holds = live_rows(answer["live_rows"], answer["live_documents"])
    said = f"{answer['output']} is at version {answer['version']}, made by {answer['version_cause']} on {answer['version_created']}: {holds}"
    rows = [
        ("this run", "had nothing to do, since the dataset was finished before: `embermill sync CONFIG` embeds what has changed in the corpus"),
        *show_corpus(answer.get("corpus")),
        *show_prompts(answer["prompts"]),
        *show_account(answer, of_first=True),
    ]
    return f"{said}\n{table(rows)}"


def _show_effort(answer: Answer) -> Iterator[tuple[str, str]]:
    if not answer["rows_embedded"]:
        yield "this run", "had nothing left to do"
        return
    before = f"; {several(answer['committed_before'], 'shard')} had been committed before" if answer["committed_before"] else ""
    where = f"on {several(answer['workers'], 'worker')} ({answer['device']}, {answer['precision']})"
    rows = live_rows(answer["rows_written"], answer["documents_written"]) if answer.get("chunked") else several(answer["rows_embedded"], "row")
    yield "this run", f"{rows} in {show_seconds(answer['seconds'])} {where}{before}"
    embedding, (read, unit) = show_seconds(answer["seconds_embedding"]), units(answer.get("chunked", False))
    pace = f"{answer['tokens_per_s']:,.0f} tokens/s, {answer['rows_per_s']:,.0f} {unit}s/s"
    yield "speed", f"{pace} over {embedding} from the first {read} read to the last commit"
    shares = ", ".join(f"{stage} {share:.0%}" for stage, share in answer["stage_shares"].items())
    if answer["bound"]:  # nothing was embedded where all rows were refused
        yield "busy with", f"{shares}; the {answer['bound']} is the bound"
