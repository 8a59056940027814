"""The commands that embed a text or a few: encode, search. The encoder is imported when one of them runs."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from embermill.counts import several
from embermill.credentials import shown_address
from embermill.jobs.commands import answers
from embermill.jobs.commands.command import Answer, Command, filled, positive
from embermill.jobs.errors import DataError, UsageError, model_errors

if TYPE_CHECKING:
    import numpy as np

    from embermill.encoder import Encoder

PRECISIONS = ("auto", "float32", "float16", "bfloat16", "int8", "fp8")
POOLINGS = ("cls", "mean", "max", "last", "weightedmean", "mean_sqrt_len_tokens")
MODEL_HELP = "a folder, a Hugging Face id, an object-store URL, or package:NAME/SUBDIR"


@contextlib.contextmanager
def open_encoder(arguments: argparse.Namespace, **options: Any) -> Iterator[Encoder]:
    """The encoder that a command's arguments describe, closed afterwards."""
    from embermill.encoder import Encoder

    names = ("weights", "revision", "max_tokens", "device", "precision", "threads")
    with model_errors(), Encoder.from_pretrained(arguments.model, **{name: getattr(arguments, name) for name in names}, **options) as encoder:
        yield encoder


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """How a model is loaded and where it runs."""
    parser.add_argument("--weights", type=filled, metavar="FILE", help="which weight file of the model's folder, where it holds several")
    parser.add_argument("--revision", type=filled, help="which revision of a Hugging Face model")
    parser.add_argument("--max-tokens", type=positive, metavar="N", help="cut texts here rather than at the model's own limit")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="auto (default): a GPU where there is one")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="auto (default): float32 on a CPU, float16 on a GPU")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads; by default all that this process may use")


def _add_encode_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=filled, metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("--text", action="append", metavar="TEXT", help="a text to embed; may be given several times. Without it stdin is read, a text a line")
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("--prompt", metavar="TEXT", help="put before each text as it stands (end it with a blank); or the name of one of the model's prompts")
    prompt.add_argument("--prompt-name", metavar="NAME", help="one of the model's prompts; `query` and `document` are none where it has none of that name")
    parser.add_argument("--pooling", choices=POOLINGS, help="rather than the model's own")
    parser.add_argument("--normalize", action=argparse.BooleanOptionalAction, default=None, help="scale vectors to length 1, or not, whatever the model says")
    parser.add_argument("--dimensions", type=positive, metavar="N", help="keep the first N numbers of each vector")
    add_model_arguments(parser)


def encode(arguments: argparse.Namespace) -> Answer:
    if arguments.text is None and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("encode: expected --text, or texts on stdin, one a line")
    texts = arguments.text if arguments.text is not None else read_lines("stdin", sys.stdin)
    options = {name: getattr(arguments, name) for name in ("prompt", "prompt_name", "pooling", "normalize", "dimensions")}
    _refuse_mistaken_name(arguments)
    with open_encoder(arguments, **options) as encoder:
        encoded = next(encoder.encode_stream([texts]))
        _require_finite(encoded.embeddings)
        return {
            "model": shown_address(arguments.model),
            "dimensions": encoder.dimension,
            "embeddings": [[float(str(number)) for number in vector] for vector in encoded.embeddings],  # the shortest decimals that read back the same
            "num_tokens": encoded.num_tokens.tolist(),
            "num_tokens_dropped": encoded.num_tokens_dropped.tolist(),
        }


def _refuse_mistaken_name(arguments: argparse.Namespace) -> None:
    """`--prompt query` for a model without such a prompt would embed the word: UsageError, with what to write."""
    from embermill.encoder import describe
    from embermill.encoder.prompts import mistaken_name

    if arguments.prompt is None:
        return
    with model_errors():
        prompts = describe(arguments.model, weights=arguments.weights, revision=arguments.revision).config.prompts
    if problem := mistaken_name(prompts, arguments.prompt):
        raise UsageError(f"--prompt: {problem}: --prompt '{arguments.prompt}: '")


def _require_finite(embeddings: np.ndarray) -> None:
    """[B, E]. As `run` refuses to store them; DataError."""
    import numpy as np

    wrong = (~np.isfinite(embeddings)).any(axis=1)
    if wrong.any():
        at = int(wrong.argmax())
        bad = embeddings[at][~np.isfinite(embeddings[at])]
        advice = "look at the model's weights, or try another --precision"
        raise DataError(f"text {at + 1} of {len(embeddings)}: the model gave {bad[0]} in {bad.size} of {several(embeddings.shape[1], 'place')}: {advice}")


def _show_encode(answer: Answer) -> str:
    return "\n".join(str(vector) for vector in answer["embeddings"])


def read_lines(what: str, lines: TextIO) -> list[str]:
    """Texts, one a line. what: they are read from."""
    if isinstance(lines, TextIOWrapper):
        lines.reconfigure(encoding="utf-8", errors="strict", newline="\n")  # whatever the locale; and as in a corpus, a lone \r ends no line
    try:
        return [line.removesuffix("\n").removesuffix("\r") for line in lines]
    except UnicodeDecodeError as error:
        raise DataError(f"{what}: expected texts in UTF-8, one a line: {error}") from error


def _add_search_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", type=filled, metavar="OUTPUT", help="the dataset: a folder or an object-store URL")
    parser.add_argument("query", metavar="QUERY", help="what to look for, as text")
    parser.add_argument("-k", type=positive, default=5, metavar="K", help="how many answers (default 5)")
    parser.add_argument("--vector", type=filled, metavar="COLUMN", help="the column of vectors to search (output.vectors); the first unless named")
    parser.add_argument("--chunks", action="store_true", help="of a dataset of chunks all that are found, not the best one of each document")
    parser.add_argument("--query-prompt", metavar="TEXT", help="put before the query; by default the dataset's query_prompt, else the model's prompt `query`")
    parser.add_argument("--model", type=filled, metavar="MODEL", help="where the dataset's model is now, if it has moved")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="auto (default): a GPU where there is one")


def search(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.dataset.views.incomplete import refuse_incomplete
    from embermill.jobs.dataset.views.search import open_for_search, search_dataset
    from embermill.jobs.engine.loading import engine_prompts

    dataset = open_for_search(arguments.output, model_source=arguments.model)
    if not dataset.rows and (why := dataset.unfinished or dataset.empty):
        refuse_incomplete(dataset.folder.root, f"there are no rows to search: {why}", dataset, refused=dataset.refused or dataset.empty is not None)
    prompt = arguments.query_prompt if arguments.query_prompt is not None else dataset.model.query_prompt
    if prompt is None and (prompts := engine_prompts(dataset.model, search_path=(str(Path.cwd()),))) is not None:
        prompt = prompts.query
    hits = search_dataset(dataset, arguments.query, k=arguments.k, prompt=prompt, device=arguments.device, column=arguments.vector, all_chunks=arguments.chunks)
    rows = dataset.plan.rows
    found = {"query": arguments.query, "prompt": prompt} | dataset.to_json()
    found["hits"] = [asdict(hit) for hit in hits]
    return found | {"chunked": rows.is_chunked, "shows_content": bool(rows.kept) or rows.holds_text or rows.holds_chunk_text}


COMMANDS = (
    Command("search", "find the rows of a dataset most similar to a question, by brute force", _add_search_arguments, search, answers.show_search),
    Command("encode", "embed a few texts and print their vectors as JSON", _add_encode_arguments, encode, _show_encode),
)
