"""`embermill bench`: how fast the encoder is here. The encoder is imported when it runs."""

from __future__ import annotations

import argparse
import contextlib
import math
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from embermill.credentials import shown_address
from embermill.jobs.commands import answers
from embermill.jobs.commands.command import Answer, Command, filled, positive, positive_rate
from embermill.jobs.commands.model import MODEL_HELP, add_model_arguments, open_encoder, read_lines
from embermill.jobs.errors import UsageError, model_errors
from embermill.jobs.process.device_tuning import DEVICE_TUNING

if TYPE_CHECKING:
    from embermill.encoder import Encoder

SHAPES = ("minilm-l6", "bert-base", "bert-large")
LENGTHS = ("128", "512", "mixed")
DOCUMENTS = 512
STORED_S, MOST_STORED_ROWS = 5.0, 2_000_000  # what --text takes at least, and holds in memory at most
NEED_MODEL = ("texts", "documents", "weights", "revision", "max_tokens", "text")  # options of `bench`


def _add_bench_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=filled, metavar="MODEL", nargs="?", help=f"{MODEL_HELP}. Without it random models are measured, from token ids")
    shapes = "without MODEL: which random model; may be given several times (default on a GPU: all, on a CPU: the smallest)"
    parser.add_argument("--shape", choices=SHAPES, action="append", help=shapes)
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--texts", metavar="FILE", type=filled, help="measure MODEL on these texts, one a line")
    lengths = "or on made-up texts of N tokens, or of mixed lengths (median 90; the default for MODEL. Random models: 128, 512 and mixed)"
    given.add_argument("--lengths", type=_lengths, metavar="N|mixed", help=lengths)
    parser.add_argument("--documents", type=positive, metavar="N", help=f"how many made-up texts for MODEL (default {DOCUMENTS})")
    stored = "with MODEL: also from texts to stored shards, and what the bottleneck is; short of texts, they are repeated until it takes some seconds"
    parser.add_argument("--text", action="store_true", help=stored)
    parser.add_argument("--at", type=filled, metavar="FOLDER", help="for --text: an existing folder for corpus and shards, removed afterwards (default: /tmp)")
    parser.add_argument("--price-per-hour", type=positive_rate, metavar="PRICE", help="for --text: of this machine, for the cost of a million rows")
    parser.add_argument("--repeats", type=positive, default=3, metavar="N", help="medians of so many runs (default 3)")
    add_model_arguments(parser)


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
        from embermill.encoder.measure.throughput import measure_throughput

        texts = _made_up_texts(arguments, encoder.max_tokens) if given is None else given
        measured = measure_throughput(encoder, texts, arguments.repeats)
        stored = _stored(arguments, encoder, texts, measured.text_tokens_per_s / max(measured.tokens, 1)) if arguments.text else {}
        return {
            "model": shown_address(arguments.model),
            "device": encoder.device.name,
            "precision": encoder.precision,
            "threads": encoder.threads,
            "kernel_set": encoder.kernel_set,
            **asdict(measured),
            **stored,
        }


def _stored(arguments: argparse.Namespace, encoder: Encoder, texts: list[str], passes_per_s: float) -> Answer:
    """From texts to stored shards. passes_per_s: how often all texts become vectors in a second."""
    from embermill.jobs.commands.stored_pace import measure_stored
    from embermill.jobs.engine.native import NativeEngine

    if arguments.at is not None and not Path(arguments.at).is_dir():
        raise UsageError(f"--at {arguments.at}: expected a folder that exists")
    copies = max(1, min(math.ceil(STORED_S * passes_per_s), MOST_STORED_ROWS // len(texts)))
    with tempfile.TemporaryDirectory(dir=arguments.at, prefix="embermill-bench-") as place:
        engine = NativeEngine.around(encoder)
        pace = measure_stored(engine, encoder.device.kind, encoder.threads, arguments.model, texts, copies, Path(place))
    cost = None if arguments.price_per_hour is None else round(arguments.price_per_hour / 3600 / pace.rows_per_s * 1e6, 6)
    return {"stored": asdict(pace), "price_per_million_rows": cost}


def _require_effect(arguments: argparse.Namespace) -> None:
    """An option that would change nothing is a misunderstanding, and its number would be taken for what it is not."""
    if arguments.model is not None and arguments.shape:
        raise UsageError("bench: --shape picks a random model, and MODEL is given: leave one of them out")
    if arguments.texts is not None and arguments.documents is not None:
        raise UsageError("bench: --documents counts made-up texts, and --texts gives real ones: leave one of them out")
    if (arguments.at is not None or arguments.price_per_hour is not None) and not arguments.text:
        raise UsageError("bench: --at and --price-per-hour are for --text, and it is not given")
    without_effect = [f"--{name.replace('_', '-')}" for name in NEED_MODEL if getattr(arguments, name) not in (None, False)]
    if arguments.model is None and without_effect:
        raise UsageError(f"bench: {', '.join(without_effect)}: only for a MODEL, and none is given: random models are measured, from token ids")


def _bench_shapes(arguments: argparse.Namespace) -> Answer:
    """Random models in well-known shapes; on a GPU each also held against float32 on the CPU."""
    from embermill.encoder import Encoder
    from embermill.encoder.device import choose_device, resolve_precision
    from embermill.encoder.measure.random_model import SHAPES, write_random_model
    from embermill.encoder.measure.throughput import measure_shape

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
                    from embermill.encoder.measure.gpu_profile import ShapeProfile

                    profile = ShapeProfile(encoder.description, device, precision)
                for lengths in [arguments.lengths] if arguments.lengths else LENGTHS:
                    _require_length(lengths, encoder.max_tokens)
                    found.append(asdict(measure_shape(encoder, shape, lengths, DEVICE_TUNING[device.kind].bench_tokens, arguments.repeats, reference, profile)))
    return {"device": device.name, "precision": precision, "kernel_set": kernel_set, "shapes": found}


def _given_texts(file: str) -> list[str]:
    try:
        with Path(file).open(encoding="utf-8") as lines:
            texts = read_lines(f"--texts {file}", lines)
    except OSError as error:
        raise UsageError(f"--texts {file}: cannot be read: {error.strerror}") from error
    if not texts:
        raise UsageError(f"--texts {file}: expected a text a line, the file is empty")
    return texts


def _made_up_texts(arguments: argparse.Namespace, longest: int) -> list[str]:
    from embermill.encoder.measure.throughput import synthetic_lengths, synthetic_texts

    lengths = arguments.lengths or "mixed"
    _require_length(lengths, longest)
    return synthetic_texts(synthetic_lengths(lengths, arguments.documents or DOCUMENTS, longest))


def _require_length(lengths: str, longest: int) -> None:
    if lengths != "mixed" and int(lengths) > longest:
        raise UsageError(f"--lengths {lengths}: the model takes {longest} tokens at most, and would cut longer texts there: expected a number up to that")


COMMANDS = (
    Command("bench", "measure how fast the encoder is on this machine, with tokenizing timed separately", _add_bench_arguments, bench, answers.show_bench),
)
