"""The answers of the commands, put into words for a person."""

from __future__ import annotations

from collections.abc import Iterable

from jobs.command import Answer


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Two columns, the left one as wide as it must be."""
    rows = [*rows]
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"  {label:<{width}}  {words}".rstrip() for label, words in rows)


def show_bench(answer: Answer) -> str:
    where = f"{answer['model']} on {answer['device']}, {answer['precision']}, {answer['threads']} threads"
    return f"{where}\n" + table([
        ("measured on", f"{answer['documents']:,} texts, {answer['tokens']:,} tokens, the longest of {answer['longest']}"),
        ("encoder", f"{answer['encode_tokens_per_s']:,.0f} tokens/s, from token ids to vectors"),
        ("tokenizer", f"{answer['tokenize_tokens_per_s']:,.0f} tokens/s, from texts to token ids"),
        ("together", f"{answer['text_tokens_per_s']:,.0f} tokens/s, from texts to vectors"),
        ("kernels", answer["kernel_set"]),
    ])


def show_search(answer: Answer) -> str:
    found = [_show_hit(rank, hit) for rank, hit in enumerate(answer["hits"], 1)]
    unfinished = [] if answer["finished"] else [f"(the dataset is not finished: {answer['rows']:,} rows are committed so far)"]
    return "\n".join([*found, *unfinished]) or "nothing is committed yet"


def _show_hit(rank: int, hit: Answer) -> str:
    """The score, the id and the kept columns, each on a line of its own where there are several."""
    ours = ("num_tokens", "num_tokens_dropped", "text_hash")
    (_, identity), *kept = [(name, value) for name, value in hit["columns"].items() if name not in ours]
    lines = [f"{rank}. {hit['score']:.3f}  {identity}"]
    lines += [f"          {name}: {_shorten(value)}" for name, value in kept if value is not None]
    return "\n".join(lines)


def _shorten(value: object, width: int = 120) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= width else text[: width - 1] + "…"


def show_inspect(answer: Answer) -> str:
    architecture = f"{answer['architecture']}, {answer['layers']} layers" if answer["architecture"] else "none that embermill knows"
    head = table([
        ("file", f"{answer['file']}, {answer['file_bytes']:,} bytes"),
        ("format", ", ".join(filter(None, (answer["format"], answer["era"], answer["burn_version"] and f"version {answer['burn_version']}")))),
        ("architecture", architecture),
        ("parameters", f"{answer['parameters']:,} in {len(answer['tensors'])} tensors"),
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
