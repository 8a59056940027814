"""The commands about files of weights: convert, inspect. The encoder is imported when one of them runs."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from embermill.jobs.commands import answers
from embermill.jobs.commands.command import Answer, Command, filled, progress_bar
from embermill.jobs.errors import UsageError, model_errors

FORMATS = ("safetensors", "mpk", "mpk.gz", "bpk")
MAPPINGS = ("bert", "minilm", "masked", "st")


def _add_convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=filled, metavar="SRC", help="a weight file of any format, a model folder, or package:NAME/SUBDIR")
    parser.add_argument("target", type=filled, metavar="DST", help="the file or folder to make; with folders tokenizer, pooling and configuration go along")
    parser.add_argument("--to", choices=FORMATS, help="the format; by default what DST's suffix says")
    parser.add_argument("--mapping", choices=MAPPINGS, help="which Burn module names the parameters; by default the source's own, else bert")
    parser.add_argument("--precision", choices=("full", "half"), help="by default the source's own types")
    parser.add_argument("--overwrite", action="store_true", help="replace DST if it is there")
    parser.add_argument("--align", type=int, choices=(64, 256, 4096), help="pad an .mpk so that every tensor starts at a multiple of so many bytes")


def convert(arguments: argparse.Namespace) -> Answer:
    from embermill.encoder.weights.convert.convert import convert as convert_weights

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
    from embermill.encoder.weights.inspect import inspect as inspect_weights

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
        from embermill.encoder.sources import fetch_model

        with model_errors():
            return str(fetch_model(path).folder)
    if not _is_there(Path(path)):
        raise UsageError(f"{path}: expected a weight file, a model folder or package:NAME/SUBDIR, on this machine; found nothing there")
    return path


COMMANDS = (
    Command("convert", "convert weights from one format to another, compared bit by bit", _add_convert_arguments, convert, lambda answer: str(answer["words"])),
    Command("inspect", "show what a weight file contains", _add_inspect_arguments, inspect, answers.show_inspect),
)
