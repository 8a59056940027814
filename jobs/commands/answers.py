"""The answers of the commands, put into words for a person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from embermill.counts import several
from embermill.jobs.commands.answers_splitting import show_refused, show_splitting
from embermill.jobs.commands.answers_sync import show_standing, show_sync_plan
from embermill.jobs.commands.answers_vectors import show_recall
from embermill.jobs.commands.command import Answer
from embermill.jobs.commands.quantities import show_bytes, show_seconds, table
from embermill.jobs.wording import live_rows, units

MAX_NAMED = 20
HISTOGRAM_LINES, HISTOGRAM_WIDTH = 12, 30
SILENT_SHOWN = 8  # workers, the most silent ones first
UNKNOWN_TIME = "unknown: give --tokens-per-s (`embermill bench` measures it)"


def show_findings(found: Answer | None) -> list[tuple[str, str]]:
    """What somebody should know of; nothing where all is as one would expect."""
    if found is None:
        return []
    said = []
    if found["duplicate_ids"] is None:
        said.append("duplicate ids and empty texts were not looked for in so many rows (`embermill verify` does)")
    elif found["duplicate_ids"]:
        said.append(f"{several(found['duplicate_ids'], 'id')} that several rows have (`embermill verify` names them)")
    if found["empty_texts"]:
        said.append(f"{several(found['empty_texts'], 'empty text')} embedded like any other")
    if found["files_changed"]:
        said.append(f"{several(found['files_changed'], 'corpus file')} changed since the dataset was planned, which holds what was there then")
    if found["files_gone"]:
        said.append(f"{several(found['files_gone'], 'corpus file')} gone since then")
    return [("found", "; ".join(said))] if said else []


def show_corpus(seen: Answer | None) -> list[tuple[str, str]]:
    """How the corpus differs from the newest version, as the listing shows it; nothing where it does not."""
    told = [f"{several(seen[state], 'file')} {state}" for state in ("new", "changed", "renamed", "gone") if seen[state]] if seen is not None else []
    if seen is None or not told:
        return []
    return [("corpus", f"{', '.join(told)} since version {seen['version']} (seen {seen['time']}): `embermill sync CONFIG` embeds what changed")]


def show_prompts(prompts: Answer | None) -> list[tuple[str, str]]:
    """What is put before texts, so that nobody has to guess it from the numbers."""
    if prompts is None:
        return []
    document, query = (json.dumps(prompts[of], ensure_ascii=False) if prompts[of] else "none" for of in ("document", "query"))
    others = f"; the model also has {', '.join(prompts['others'])} (model.prompt_name)" if prompts["others"] else ""
    return [("prompts", f"documents: {document}, queries: {query}{others}")]


def show_plan(answer: Answer) -> str:
    """What a run would do."""
    if answer["action"] != "begin":
        return _show_remaining_work(answer)
    about = "" if answer["rows_exact"] else "about "
    unreadable = f"; {answer['unreadable_files']:,} cannot be read" if answer["unreadable_files"] else ""
    rows = [
        ("files", f"{answer['files']:,}, {show_bytes(answer['input_bytes'])}{unreadable}"),
        ("rows", f"{about}{answer['rows']:,}, about {show_bytes(answer['text_bytes'])} of text"),
        ("partitions", f"{answer['partitions']:,} of up to {show_bytes(answer['partition_text_bytes'])} each, as cut for a {answer['device'].upper()}"),
        ("tokens", f"about {answer['tokens']:,}{_how_guessed(answer)}"),
    ]
    if answer["output_bytes"] is not None:
        rows.append(("output", f"about {show_bytes(answer['output_bytes'])}, vectors of {several(answer['dimensions'], 'number')}"))
    rows += [*show_splitting(answer), *show_refused(answer)]
    if answer["closeness"] is not None:
        found = answer["closeness"]
        near = f"least cosine to float32 {found['least_cosine']:.4f}, mean {found['mean_cosine']:.4f}, on a sample of the corpus"
        rows.append(("precision", f"{found['computed_by']}; {near}"))
    rows += [*show_prompts(answer["prompts"]), *_show_cluster(answer), *_show_holder(answer)]
    rows.append(("time", UNKNOWN_TIME if answer["seconds"] is None else f"about {show_seconds(answer['seconds'])}"))
    return "Nothing was written. A run would do this:\n" + table(rows) + _show_lengths(answer["lengths"], answer["sampled_texts"])


def _how_guessed(answer: Answer) -> str:
    if answer["lengths"]:
        return ""
    return " (guessed from the text's size: this engine has no tokenizer to ask)" if answer["sampled_texts"] else " (no text was found in the rows sampled)"


def _show_holder(answer: Answer) -> list[tuple[str, str]]:
    """Who is at work there, since a run would not begin."""
    holder = answer["holder"]
    if holder is None:
        return []
    then = "a run started now would exit with code 4" + ("" if holder["is_running"] else " if it is alive, and otherwise wait and take over")
    return [("in use", f"by {holder['who']}; its lease lasts until {holder['until']} and is renewed while it works: {then}")]


def _show_cluster(answer: Answer) -> list[tuple[str, str]]:
    if answer["ray_address"] is None:
        return []
    return [("cluster", f"ray.address: {answer['ray_address']} is joined by a run alone: whether it is there, with which GPUs and CPUs, is seen then")]


def _show_remaining_work(answer: Answer) -> str:
    """What it would do at an existing dataset."""
    left, done = answer["partitions_left"], f"{answer['partitions_done']:,} of {several(answer['partitions'], 'partition')} done"
    actions = {
        "nothing": f"nothing: it is finished, {done}",
        "finish": f"publish the manifest: {done}",
        "go_on": f"resume: {left:,} of {several(answer['partitions'], 'partition')}, as they were planned",
    }
    rows = [("run", actions[answer["action"]]), ("holds", _show_holding(answer["holds"])), *show_prompts(answer["prompts"]), *_show_holder(answer)]
    if left:
        rows += _show_cluster(answer)
        rows.append(("left", f"about {several(answer['tokens_left'], 'token')} in {show_bytes(answer['text_bytes_left'])} of text"))
        rows.append(("time", UNKNOWN_TIME if answer["seconds"] is None else f"about {show_seconds(answer['seconds'])}"))
    if answer["uncommitted"]:
        rows.append(("adopted", f"{several(answer['uncommitted'], 'shard')} of a run that was killed, checked first: less may be left"))
    told = f"Nothing was written. {answer['output']} is a dataset, and a run would do this there:\n" + table(rows)
    return told + (f"\n\nA sync would do this:\n{show_sync_plan(answer['sync'])}" if answer["sync"] is not None else "")


def _show_holding(holds: Answer) -> str:
    live = live_rows(holds["rows"], holds["documents"])
    return f"{live} in version {holds['version']}" if holds["tokens"] is None else f"{live}, {several(holds['tokens'], 'token')}"


def _show_lengths(lengths: list[tuple[int, int]], texts: int) -> str:
    """A bar for each bucket of the histogram, its buckets put together into at most twelve."""
    if not lengths:
        return ""
    step = -(-len(lengths) // HISTOGRAM_LINES)
    groups = [lengths[first : first + step] for first in range(0, len(lengths), step)]
    bars = [(group[-1][0], sum(count for _, count in group)) for group in groups]
    most = max(count for _, count in bars)
    lines = [f"  up to {bound:>6,} tokens  {'█' * round(HISTOGRAM_WIDTH * count / most):<{HISTOGRAM_WIDTH}} {count / texts:>4.0%}" for bound, count in bars]
    return f"\n\nLengths of {several(texts, 'sampled row')}:\n" + "\n".join(lines)


def show_status(answer: Answer) -> str:
    """How far a dataset is, and whether a run is active."""
    states = {
        "planned": "planned; nothing is committed yet",
        "running": f"running (last heartbeat {answer['heartbeat_age_s'] or 0:.0f} s ago)",
        "unfinished": "not finished, and no run is active: run the same job again to resume",
        "finished": "finished" if answer.get("empty") is None else f"finished, and empty: {answer['empty']}",
    }
    if answer["too_many_quarantined"] and answer["state"] == "unfinished":
        redrive = f"Fix the corpus and run `embermill redrive {answer['root']}`"
        states["unfinished"] = (
            f"not finished: every row is accounted for, but more are quarantined than corpus.max_quarantined allows. {redrive}, "
            "or run the same job again with a higher corpus.max_quarantined"
        )
        if not answer["documents"]:
            states["unfinished"] = f"not finished: every row was quarantined, so that there is none to embed. {redrive}"
    rows = [
        ("state", states[answer["state"]]),
        *_show_version(answer),
        *show_standing(answer.get("standing") or {}, units(answer.get("chunked", False))[0]),
        ("partitions", f"{answer['partitions_done']:,} of {answer['partitions']:,} done, {show_bytes(answer['text_bytes_left'])} of text left"),
        *show_account(answer, of_first=answer["versions"] > 1),
        *([] if answer["versions"] > 1 else [("tokens", f"{answer['tokens']:,}")]),
        ("made on", f"a {answer['device_kind'].upper()} in {answer['precision']}"),
        *show_findings(answer["findings"]),
        *show_corpus(answer.get("corpus")),
    ]
    if answer["missing_files"]:
        names = ", ".join(answer["missing"][:3]) + (", …" if answer["missing_files"] > 3 else "")
        rows.append(("missing", f"{several(answer['missing_files'], 'file')}, missing or of the wrong size: {names}: run `embermill repair {answer['root']}`"))
    beat = answer["heartbeat"]
    if answer["state"] == "running" and beat and {"host", "tokens_per_s"} <= beat.keys():
        eta = f", {show_seconds(beat['eta_s'])} left" if beat.get("eta_s") else ""
        rows.append(("now", f"{beat['tokens_per_s']:,.0f} tokens/s on {beat['host']}{eta}, {answer['heartbeat_age_s']:.0f} s ago"))
        rows += _show_signs_of_life(beat, answer["heartbeat_age_s"])
    return f"{answer['root']}\n" + table(rows)


def _show_version(answer: Answer) -> list[tuple[str, str]]:
    """The newest one, where it is not the run's."""
    if answer["versions"] <= 1:
        return []
    age = "" if answer["version_age_s"] is None else f", {show_seconds(answer['version_age_s'])} ago"
    advice = f"; `embermill compact {answer['root']}` would make reading it cheaper" if answer["compact_advised"] else ""
    return [("version", f"{answer['version']} by {answer['version_cause']}{age}: {live_rows(answer['rows'], answer['live_documents'])}{advice}")]


def _show_signs_of_life(beat: dict[str, Any], age_s: float) -> list[tuple[str, str]]:
    """How long ago the last commit was, and each worker was last heard of: the most silent ones."""
    rows = [("last commit", f"{beat['commit_age_s'] + age_s:.0f} s ago" if beat.get("commit_age_s") is not None else "nothing committed in this run yet")]
    for signs in beat.get("signs_of_life", [])[:SILENT_SHOWN]:
        moved_s = signs["progress_age_s"]
        work = "no work yet" if moved_s is None else f"partition {signs['partition']} made progress {moved_s + age_s:.0f} s ago"
        rows.append((f"worker {signs['worker']}", f"on {signs['where']}, last heard from {signs['silent_s'] + age_s:.0f} s ago, {work}"))
    return rows


def show_repair(answer: Answer) -> str:
    """What was repaired."""
    lines = []
    if answer["repaired"]:
        lines += [f"repaired {several(len(answer['repaired']), 'file')}:", *_show_names(answer["repaired"])]
    if answer["replaced"]:
        replaced = len(answer["replaced"])
        differ, its, receipts = ("differs", "its", "has a new receipt") if replaced == 1 else ("differ", "their", "have new receipts")
        lines.append(f"{several(replaced, 'file')} of these {differ} in {its} bits from before (another device or version) and {receipts}")
    if answer["set_aside"]:
        lines += [f"moved to _embermill/set_aside, since they belong to no partition of this plan, {several(len(answer['set_aside']), 'file')}:"]
        lines += [*_show_names(answer["set_aside"]), "run the same job again to embed what they held"]
    if answer["manifest"] is not None:
        lines.append(f"published {answer['manifest']}")
    return f"{answer['root']}: " + ("\n".join(lines) or "nothing is damaged or missing")


def _show_names(names: list[str]) -> Iterator[str]:
    yield from (f"  {name}" for name in names[:MAX_NAMED])
    if len(names) > MAX_NAMED:
        yield f"  … and {len(names) - MAX_NAMED} more"


def show_gc(answer: Answer) -> str:
    """What is gone."""
    scratch = f", and {several(len(answer['scratch']), 'folder')} of dead processes on this machine" if answer["scratch"] else ""
    return f"{answer['root']}: removed {several(len(answer['removed']), 'file')}, {show_bytes(answer['bytes'])}{scratch}"


def show_verify(answer: Answer) -> str:
    """What was read again and found good; damage, and a run that is not finished, are errors and come another way."""
    shards = several(answer["shards"], "shard")
    held = live_rows(answer["rows_out"], answer["live_documents"])
    scope = f"{shards} read again, {held}"
    if (answer["version"] or 1) > 1:
        rows = live_rows(answer["rows"], answer["live_documents"])
        scope = f"every file of version {answer['version']}, which has {rows}, and of the earlier versions that can be read was read again"
    lines = [f"{answer['root']} is sound: {scope}. Sums, schema, counts, ids, finite values and norms are right."]
    if answer["unnamed_files"]:
        lines.append(f"{several(answer['unnamed_files'], 'file')} in data/ or quarantine/ that the dataset does not list: {', '.join(answer['unnamed'][:5])}")
    return "\n".join([*lines, *show_recall(answer.get("recall"), units(answer["live_documents"] is not None)[1])])


def show_account(answer: Answer, *, of_first: bool = False) -> list[tuple[str, str]]:
    """What the run read and what became of it. of_first: later versions hold something else."""
    chunked, refused = answer.get("chunked", False), answer["rows_quarantined"]
    unit, read, made = ("documents", answer["documents"] + refused, answer["documents"]) if chunked else ("rows", answer["rows_in"], answer["rows_out"])
    account = f"{read:,} in = {made:,} out + {refused:,} quarantined"
    if of_first:
        return [("first run", f"{unit} {account}" + (f"; {several(answer['rows_out'], 'chunk')}" if chunked else "") + ": what version 1 held")]
    return [(unit, account + (", see quarantine/ for the reasons" if refused else "")), *([("chunks", f"{answer['rows_out']:,}")] if chunked else [])]


def show_bench(answer: Answer) -> str:
    if "shapes" in answer:
        return _show_shapes(answer)
    where = f"{answer['model']} on {answer['device']}, {answer['precision']}, {several(answer['threads'], 'thread')}"
    return f"{where}\n" + table([
        ("measured on", f"{several(answer['documents'], 'text')}, {several(answer['tokens'], 'token')}, the longest of {answer['longest']}"),
        ("encoder", f"{answer['encode_tokens_per_s']:,.0f} tokens/s, from token ids to vectors"),
        ("tokenizer", f"{answer['tokenize_tokens_per_s']:,.0f} tokens/s, from texts to token ids"),
        ("together", f"{answer['text_tokens_per_s']:,.0f} tokens/s, from texts to vectors"),
        *([] if "stored" not in answer else _show_stored(answer)),
        ("kernels", answer["kernel_set"]),
    ])


def _show_stored(answer: Answer) -> list[tuple[str, str]]:
    stored, cost = answer["stored"], answer["price_per_million_rows"]
    busy = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in stored["busy"].items())
    return [
        ("stored", f"{stored['rows_per_s']:,.0f} rows/s, {stored['tokens_per_s']:,.0f} tokens/s, from texts to published shards, by {stored['tokenizer']}"),
        ("bottleneck", f"the {stored['bound']}: of {stored['seconds']:.1f} s for {several(stored['rows'], 'row')}, busy were {busy}"),
        ("bytes", f"{stored['stored_bytes'] / max(stored['rows'], 1):,.0f} a row"),
        *([] if cost is None else [("cost", f"{cost:,.4f} for a million rows, at that price an hour")]),
    ]


def _show_shapes(answer: Answer) -> str:
    lines = [f"{answer['device']}, {answer['precision']}: random models, from token ids to vectors", f"  {'shape':<11} {'lengths':<8} {'tokens/s':>12}"]
    for row in answer["shapes"]:
        parity = "" if row["cosine_min"] is None else f"   smallest cosine to float32 {row['cosine_min']:.6f}"
        share = "" if row["chain_share"] is None else f"   {row['chain_share']:.2f} of the products alone"
        lines.append(f"  {row['shape']:<11} {row['lengths']:<8} {row['tokens_per_s']:>12,.0f}{parity}{share}")
        if row["ns_per_token"] is not None:
            lines.append("      ns a token: " + ", ".join(f"{family} {ns:.1f}" for family, ns in row["ns_per_token"].items()))
    return "\n".join([*lines, f"  kernels: {answer['kernel_set']}"])


def show_search(answer: Answer) -> str:
    found = [_show_hit(rank, hit) for rank, hit in enumerate(answer["hits"], 1)]
    committed = live_rows(answer["rows"], answer["documents"])
    unfinished = [] if answer["finished"] else [f"(the dataset is not finished: {committed} committed so far)"]
    return "\n".join([*found, *_show_what_is_kept(answer), *unfinished]) or f"the dataset is finished and has no {units(answer['chunked'])[1]}"


def _show_what_is_kept(answer: Answer) -> list[str]:
    """Of a dataset whose rows say nothing of what they are about."""
    if answer["shows_content"] or not answer["hits"]:
        return []
    key, (_, unit) = "chunk.keep_text: true" if answer["chunked"] else "output.text: true", units(answer["chunked"])
    return [f"(this dataset keeps ids alone: made with {key}, or with columns in corpus.keep_columns, it would show here what each {unit} says)"]


def _show_hit(rank: int, hit: Answer) -> str:
    """The score, the id and the kept columns, each on a line of its own where there are several."""
    ours = ("num_tokens", "num_tokens_dropped", "text_hash", "version", "document_hash")
    (_, identity), *kept = [(name, value) for name, value in hit["columns"].items() if name not in ours]
    lines = [f"{rank}. {hit['score']:.3f}  {identity}"]
    lines += [f"          {name}: {_shorten(value)}" for name, value in kept if value is not None]
    return "\n".join(lines)


def _shorten(value: object, width: int = 120) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= width else text[: width - 1] + "…"


def show_inspect(answer: Answer) -> str:
    architecture = f"{answer['architecture']}, {several(answer['layers'], 'layer')}" if answer["architecture"] else "none that embermill knows"
    head = table([
        ("file", f"{answer['file']}, {answer['file_bytes']:,} bytes"),
        ("format", ", ".join(filter(None, (answer["format"], answer["era"], answer["burn_version"] and f"version {answer['burn_version']}")))),
        ("architecture", architecture),
        ("parameters", f"{answer['parameters']:,} in {several(len(answer['tensors']), 'tensor')}"),
        *((f"metadata {name}", _shorten(value)) for name, value in answer["metadata"].items()),
    ])
    return head + "\n\n" + _show_tensors(answer["tensors"])


def _show_tensors(tensors: list[Answer]) -> str:
    names = max((len(tensor["name"]) for tensor in tensors), default=0)
    shapes = max((len(str(tensor["shape"])) for tensor in tensors), default=0)
    return "\n".join(
        f"  {tensor['name']:<{names}}  {tensor['dtype']:<4}  {tensor['shape']!s:<{shapes}}  {tensor['bytes']:>13,}  {tensor['id'] or ''}".rstrip()
        for tensor in tensors
    )
