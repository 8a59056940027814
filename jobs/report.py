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
