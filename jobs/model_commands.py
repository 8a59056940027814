"""The commands about a model rather than a job: convert, inspect, encode, bench, search. The encoder is imported when one of them runs."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import report
from jobs.command import Answer, Command, positive
from jobs.errors import DataError, UsageError

if TYPE_CHECKING:
    from encoder import Encoder

PRECISIONS = ("auto", "float32", "float16", "bfloat16", "int8", "fp8")
POOLINGS = ("cls", "mean", "max", "last")
MODEL_HELP = "a folder, a Hugging Face id, an object-store URL, or package:NAME/SUBDIR"


@contextlib.contextmanager
def model_errors() -> Iterator[None]:
    """The encoder's errors as the job's, so that each has its exit code: damaged weights and unusable texts are bad data, all else is usage."""
    from encoder.errors import EncoderError, InputError, WeightsError

    try:
        yield
    except (InputError, WeightsError) as error:
        raise DataError(str(error)) from error
    except EncoderError as error:
        raise UsageError(str(error)) from error


@contextlib.contextmanager
def open_encoder(arguments: argparse.Namespace, **options: Any) -> Iterator[Encoder]:
    """The encoder that a command's arguments describe, closed afterwards."""
    from encoder import Encoder

    names = ("weights", "revision", "max_tokens", "device", "precision", "threads")
    with model_errors(), Encoder.from_pretrained(arguments.model, **{name: getattr(arguments, name) for name in names}, **options) as encoder:
        yield encoder


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """How a model is loaded and where it runs."""
    parser.add_argument("--weights", metavar="FILE", help="which weight file of the model's folder, where it holds several")
    parser.add_argument("--revision", help="which revision of a Hugging Face model")
    parser.add_argument("--max-tokens", type=positive, metavar="N", help="cut texts here rather than at the model's own limit")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="auto (default): a GPU where there is one")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="auto (default): float32 on a CPU, float16 on a GPU")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads; by default all that this process may use")


def _add_encode_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("--text", action="append", metavar="TEXT", help="a text to embed; may be given several times. Without it stdin is read, a text a line")
    parser.add_argument("--prompt", help="a text put before each, or the name of one of the model's prompts")
    parser.add_argument("--pooling", choices=POOLINGS, help="rather than the model's own")
    parser.add_argument("--normalize", action=argparse.BooleanOptionalAction, default=None, help="scale vectors to length 1, or not, whatever the model says")
    parser.add_argument("--dimensions", type=positive, metavar="N", help="keep the first N numbers of each vector")
    _add_model_arguments(parser)


def encode(arguments: argparse.Namespace) -> Answer:
    texts = arguments.text if arguments.text is not None else [line.rstrip("\n") for line in sys.stdin]
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
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--texts", metavar="FILE", type=Path, help="measure on these texts, one a line")
    given.add_argument("--lengths", default="mixed", metavar="N|mixed", help="or on made-up texts of N tokens, or of mixed lengths (the default: median 90)")
    parser.add_argument("--documents", type=positive, default=512, metavar="N", help="how many made-up texts (default 512)")
    parser.add_argument("--repeats", type=positive, default=3, metavar="N", help="medians of so many runs (default 3)")
    _add_model_arguments(parser)


def bench(arguments: argparse.Namespace) -> Answer:
    with open_encoder(arguments) as encoder:
        from encoder.throughput import measure_throughput

        measured = measure_throughput(encoder, _bench_texts(arguments, encoder.max_tokens), arguments.repeats)
        return {
            "model": arguments.model,
            "device": encoder.device.name,
            "precision": encoder.precision,
            "threads": encoder.threads,
            "kernel_set": encoder.kernel_set,
            **asdict(measured),
        }


def _bench_texts(arguments: argparse.Namespace, longest: int) -> list[str]:
    from encoder.throughput import synthetic_lengths, synthetic_texts

    if arguments.texts is not None:
        try:
            with arguments.texts.open(encoding="utf-8") as file:
                texts = [line.rstrip("\n") for line in file]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--texts {arguments.texts}: cannot be read as UTF-8 text: {error}") from error
        if not texts:
            raise UsageError(f"--texts {arguments.texts}: expected a text a line, the file is empty")
        return texts
    if arguments.lengths != "mixed" and not (arguments.lengths.isdecimal() and int(arguments.lengths)):
        raise UsageError(f"--lengths {arguments.lengths}: expected a number of tokens, or mixed")
    return synthetic_texts(synthetic_lengths(arguments.lengths, arguments.documents, longest))


COMMANDS = (
    Command("encode", "embed a few texts: their vectors as JSON", _add_encode_arguments, encode, _show_encode),
    Command("bench", "how fast the encoder is here, tokenising timed apart", _add_bench_arguments, bench, report.show_bench),
)
