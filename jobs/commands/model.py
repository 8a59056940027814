"""The commands about a model rather than a job: convert, inspect, encode, bench, search. The encoder is imported when one of them runs."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from jobs.commands import report
from jobs.commands.command import Answer, Command, filled, positive, progress_bar
from jobs.errors import DataError, UsageError, model_errors

if TYPE_CHECKING:
    from encoder import Encoder
    from jobs.config import ModelConfig

PRECISIONS = ("auto", "float32", "float16", "bfloat16", "int8", "fp8")
POOLINGS = ("cls", "mean", "max", "last")
SHAPES = ("minilm-l6", "bert-base", "bert-large")
LENGTHS = ("128", "512", "mixed")
DOCUMENTS = 512
NEED_MODEL = ("texts", "documents", "weights", "revision", "max_tokens")  # options of `bench`
TOKENS_PER_LOAD = {"cpu": 1 << 13, "gpu": 1 << 20}
FORMATS = ("safetensors", "mpk", "mpk.gz", "bpk")
MAPPINGS = ("bert", "minilm", "masked", "st")
MODEL_HELP = "a folder, a Hugging Face id, an object-store URL, or package:NAME/SUBDIR"


@contextlib.contextmanager
def open_encoder(arguments: argparse.Namespace, **options: Any) -> Iterator[Encoder]:
    """The encoder that a command's arguments describe, closed afterwards."""
    from encoder import Encoder

    names = ("weights", "revision", "max_tokens", "device", "precision", "threads")
    with model_errors(), Encoder.from_pretrained(arguments.model, **{name: getattr(arguments, name) for name in names}, **options) as encoder:
        yield encoder


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument("--prompt", help="a text put before each as it stands (end it with a blank), or the name of one of the model's prompts")
    parser.add_argument("--pooling", choices=POOLINGS, help="rather than the model's own")
    parser.add_argument("--normalize", action=argparse.BooleanOptionalAction, default=None, help="scale vectors to length 1, or not, whatever the model says")
    parser.add_argument("--dimensions", type=positive, metavar="N", help="keep the first N numbers of each vector")
    _add_model_arguments(parser)


def encode(arguments: argparse.Namespace) -> Answer:
    if arguments.text is None and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("encode: expected --text, or texts on stdin, one a line")
    texts = arguments.text if arguments.text is not None else _read_lines("stdin", sys.stdin)
    options = {name: getattr(arguments, name) for name in ("prompt", "pooling", "normalize", "dimensions")}
    with open_encoder(arguments, **options) as encoder:
        encoded = next(encoder.encode_stream([texts]))
        return {
            "model": arguments.model,
            "dimensions": encoder.dimension,
            "embeddings": [[float(str(number)) for number in vector] for vector in encoded.embeddings],  # the shortest decimals that read back the same
            "num_tokens": encoded.num_tokens.tolist(),
            "num_tokens_dropped": encoded.num_tokens_dropped.tolist(),
        }


def _show_encode(answer: Answer) -> str:
    return "\n".join(str(vector) for vector in answer["embeddings"])


def _add_bench_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=filled, metavar="MODEL", nargs="?", help=f"{MODEL_HELP}. Without it random models are measured, from token ids")
    shapes = "without MODEL: which random model; may be given several times (default on a GPU: all, on a CPU: the smallest)"
    parser.add_argument("--shape", choices=SHAPES, action="append", help=shapes)
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--texts", metavar="FILE", type=filled, help="measure MODEL on these texts, one a line")
    lengths = "or on made-up texts of N tokens, or of mixed lengths (median 90; the default for MODEL. Random models: 128, 512 and mixed)"
    given.add_argument("--lengths", type=_lengths, metavar="N|mixed", help=lengths)
    parser.add_argument("--documents", type=positive, metavar="N", help=f"how many made-up texts for MODEL (default {DOCUMENTS})")
    parser.add_argument("--repeats", type=positive, default=3, metavar="N", help="medians of so many runs (default 3)")
    _add_model_arguments(parser)


def _lengths(text: str) -> str:
    if text != "mixed" and not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"expected a number of tokens from 1 up, or mixed, got {text}")
    return text


def bench(arguments: argparse.Namespace) -> Answer:
    _require_effect(arguments)
    if arguments.model is None:
        return _bench_shapes(arguments)
    given = None if arguments.texts is None else _given_texts(arguments.texts)
    with open_encoder(arguments) as encoder:
        from encoder.throughput import measure_throughput

        texts = _made_up_texts(arguments, encoder.max_tokens) if given is None else given
        measured = measure_throughput(encoder, texts, arguments.repeats)
        return {
            "model": arguments.model,
            "device": encoder.device.name,
            "precision": encoder.precision,
            "threads": encoder.threads,
            "kernel_set": encoder.kernel_set,
            **asdict(measured),
        }


def _require_effect(arguments: argparse.Namespace) -> None:
    """An option that would change nothing is a misunderstanding, and its number would be taken for what it is not."""
    if arguments.model is not None and arguments.shape:
        raise UsageError("bench: --shape picks a random model, and MODEL is given: leave one of them out")
    if arguments.texts is not None and arguments.documents is not None:
        raise UsageError("bench: --documents counts made-up texts, and --texts gives real ones: leave one of them out")
    without_effect = [f"--{name.replace('_', '-')}" for name in NEED_MODEL if getattr(arguments, name) is not None]
    if arguments.model is None and without_effect:
        raise UsageError(f"bench: {', '.join(without_effect)}: only for a MODEL, and none is given: random models are measured, from token ids")


def _bench_shapes(arguments: argparse.Namespace) -> Answer:
    """Random models in well-known shapes; on a GPU each also held against float32 on the CPU."""
    from encoder import Encoder
    from encoder.device import choose_device, resolve_precision
    from encoder.random_model import SHAPES, write_random_model
    from encoder.throughput import measure_shape

    with model_errors():
        device = choose_device(arguments.device)
        precision = resolve_precision(arguments.precision, device.kind)
    gpu, found, kernel_set = device.kind == "gpu", [], ""
    for shape in arguments.shape or (SHAPES if gpu else ["minilm-l6"]):
        with model_errors(), tempfile.TemporaryDirectory() as folder:
            write_random_model(SHAPES[shape], Path(folder))
            with contextlib.ExitStack() as opened:
                encoder = opened.enter_context(Encoder.from_pretrained(folder, device=device.kind, precision=precision, threads=arguments.threads))
                reference = opened.enter_context(Encoder.from_pretrained(folder, device="cpu")) if gpu else None
                kernel_set = encoder.kernel_set
                profile = None
                if kernel_set.startswith("cuda:"):  # the backend whose kernel families and ceiling can be timed
                    from encoder.gpu_profile import ShapeProfile

                    profile = ShapeProfile(encoder.description, device, precision)
                for lengths in [arguments.lengths] if arguments.lengths else LENGTHS:
                    _require_length(lengths, encoder.max_tokens)
                    found.append(asdict(measure_shape(encoder, shape, lengths, TOKENS_PER_LOAD[device.kind], arguments.repeats, reference, profile)))
    return {"device": device.name, "precision": precision, "kernel_set": kernel_set, "shapes": found}


def _given_texts(file: str) -> list[str]:
    try:
        with Path(file).open(encoding="utf-8") as lines:
            texts = _read_lines(f"--texts {file}", lines)
    except OSError as error:
        raise UsageError(f"--texts {file}: cannot be read: {error.strerror}") from error
    if not texts:
        raise UsageError(f"--texts {file}: expected a text a line, the file is empty")
    return texts


def _read_lines(what: str, lines: TextIO) -> list[str]:
    """Texts, one a line. what: they are read from."""
    if isinstance(lines, TextIOWrapper):
        lines.reconfigure(encoding="utf-8", errors="strict", newline="\n")  # whatever the locale; and as in a corpus, a lone \r ends no line
    try:
        return [line.removesuffix("\n").removesuffix("\r") for line in lines]
    except UnicodeDecodeError as error:
        raise DataError(f"{what}: expected texts in UTF-8, one a line: {error}") from error


def _made_up_texts(arguments: argparse.Namespace, longest: int) -> list[str]:
    from encoder.throughput import synthetic_lengths, synthetic_texts

    lengths = arguments.lengths or "mixed"
    _require_length(lengths, longest)
    return synthetic_texts(synthetic_lengths(lengths, arguments.documents or DOCUMENTS, longest))


def _require_length(lengths: str, longest: int) -> None:
    if lengths != "mixed" and int(lengths) > longest:
        raise UsageError(f"--lengths {lengths}: the model takes {longest} tokens at most, and would cut longer texts there: expected a number up to that")


def _add_search_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", type=filled, metavar="OUTPUT", help="the dataset: a folder or an object-store URL")
    parser.add_argument("query", metavar="QUERY", help="what to look for, as text")
    parser.add_argument("-k", type=positive, default=5, metavar="K", help="how many answers (default 5)")
    parser.add_argument("--query-prompt", metavar="TEXT", help="put before the query; by default the dataset's query_prompt, else the model's prompt `query`")
    parser.add_argument("--model", type=filled, metavar="MODEL", help="where the dataset's model is now, if it has moved")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="auto (default): a GPU where there is one")


def search(arguments: argparse.Namespace) -> Answer:
    from jobs.dataset.search import open_dataset, search_dataset

    dataset = open_dataset(arguments.output, model_source=arguments.model)
    prompt = arguments.query_prompt if arguments.query_prompt is not None else dataset.model.query_prompt
    if prompt is None and dataset.model.engine == "native":
        prompt = _model_prompts(dataset.model).get("query")
    hits = search_dataset(dataset, arguments.query, k=arguments.k, prompt=prompt, device=arguments.device)
    return {"query": arguments.query, "prompt": prompt, "rows": dataset.rows, "finished": dataset.finished, "hits": [asdict(hit) for hit in hits]}


def _model_prompts(model: ModelConfig) -> Mapping[str, str]:
    from encoder import describe

    with model_errors():
        return describe(str(model.source), weights=model.weights, revision=model.revision).config.prompts


def _add_convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=filled, metavar="SRC", help="a weight file of any format, a model folder, or package:NAME/SUBDIR")
    parser.add_argument("target", type=filled, metavar="DST", help="the file or folder to make; with folders tokenizer, pooling and configuration go along")
    parser.add_argument("--to", choices=FORMATS, help="the format; by default what DST's suffix says")
    parser.add_argument("--mapping", choices=MAPPINGS, help="which Burn module names the parameters; by default the source's own, else bert")
    parser.add_argument("--precision", choices=("full", "half"), help="by default the source's own types")
    parser.add_argument("--overwrite", action="store_true", help="replace DST if it is there")
    parser.add_argument("--align", type=int, choices=(64, 256, 4096), help="pad an .mpk so that every tensor starts at a multiple of so many bytes")


def convert(arguments: argparse.Namespace) -> Answer:
    from encoder.weights.convert import convert as convert_weights

    source = _weights_at(arguments.source)
    if not arguments.overwrite:
        _require_free(Path(arguments.target))
    options = {name: getattr(arguments, name) for name in ("to", "mapping", "precision", "align")}
    with model_errors(), progress_bar("writing and comparing") as advance:
        report = convert_weights(source, arguments.target, progress=advance, **options)
    return asdict(report) | {"words": str(report)}


def _require_free(target: Path) -> None:
    """Nothing is there, or an empty folder."""
    if _is_there(target) and not (target.is_dir() and not any(_listed(target))):
        raise UsageError(f"{target}: expected a new file or folder, or an empty one; something is there: name another DST, or replace it with --overwrite")


def _add_inspect_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=filled, metavar="FILE", help="a weight file (.safetensors, .mpk, .mpk.gz, .bpk), a model folder, or package:NAME/SUBDIR")


def inspect(arguments: argparse.Namespace) -> Answer:
    from encoder.weights.inspect import inspect as inspect_weights

    file = _weights_at(arguments.file)
    with model_errors():
        return inspect_weights(file)


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:  # it may be there
        raise UsageError(f"{path}: cannot be looked at: {error.strerror}") from error
    return True


def _listed(folder: Path) -> list[Path]:
    try:
        return [*folder.iterdir()]
    except OSError as error:
        raise UsageError(f"{folder}: cannot be looked into: {error.strerror}") from error


def _weights_at(path: str) -> str:
    """The path itself, or the folder inside a Python package that package:NAME/SUBDIR means."""
    if path.startswith("package:"):
        from encoder.sources import fetch_model

        with model_errors():
            return str(fetch_model(path).folder)
    if not _is_there(Path(path)):
        raise UsageError(f"{path}: expected a weight file, a model folder or package:NAME/SUBDIR, on this machine; found nothing there")
    return path


COMMANDS = (
    Command("search", "look into a dataset: the rows most similar to a question", _add_search_arguments, search, report.show_search),
    Command("encode", "embed a few texts: their vectors as JSON", _add_encode_arguments, encode, _show_encode),
    Command("bench", "how fast the encoder is here, tokenising timed apart", _add_bench_arguments, bench, report.show_bench),
    Command("convert", "weights from one format into another, compared bit by bit", _add_convert_arguments, convert, lambda answer: str(answer["words"])),
    Command("inspect", "what is in a weight file", _add_inspect_arguments, inspect, report.show_inspect),
)
