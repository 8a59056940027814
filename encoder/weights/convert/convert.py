"""Converts a BERT's weights between SafeTensors, Burn's records and burnpack.

    convert("model.safetensors", "bert.mpk")        what Burn <= 0.21 loads
    convert("bert.mpk", "bert.bpk")                 what Burn >= 0.19 loads
    convert("bge-small/", "bge-burn/", to="mpk")    the whole model folder

One tensor is in memory at a time (a record stored as one number per element, or gzipped, is held decoded). What was written is opened again
and compared with the source, bit by bit, before it gets its name.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from embermill.counts import several
from embermill.encoder.errors import EncoderError, WeightsError, refused_files
from embermill.encoder.models import FAMILIES
from embermill.encoder.weights import NAME_FILE, find_weights, open_weights
from embermill.encoder.weights.burn.names import burn_names, find_architecture, find_burn_architecture, hugging_face_names
from embermill.encoder.weights.convert.atomic_output import file_to_be, folder_to_be, require_replaceable
from embermill.encoder.weights.convert.bert_shapes import check_config, check_shapes, model_type_in
from embermill.encoder.weights.convert.plan import ConversionPlan, plan_conversion
from embermill.encoder.weights.dtypes import raw_bytes
from embermill.encoder.weights.model_folder import copy_model_folder, transformer_folder
from embermill.encoder.weights.source import RenamedSource, WeightSource

FORMATS = ("safetensors", "mpk.gz", "mpk", "bpk")
MAPPINGS = ("bert", "minilm", "masked", "st")
PRECISIONS = ("full", "half")
ALIGNMENTS = (64, 256, 4096)

Progress = Callable[[int, int], None]  # (bytes done, bytes in all); each tensor counts twice, once written and once compared


@dataclass(frozen=True)
class ConvertReport:
    """What a conversion did. tensors: parameters written; bytes: size of the weight file; dropped: tensors of the source without a place in the target."""

    source: str
    target: str
    format: str
    mapping: str
    dtypes: tuple[str, ...]
    tensors: int
    bytes: int
    seconds: float
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        what = f"{several(self.tensors, 'tensor')} ({self.mapping}, {'+'.join(self.dtypes)}), {self.bytes:,} bytes in {self.seconds:.1f} s"
        return f"{self.target}: {what}, all equal to the source's at that precision" + (f"; dropped {', '.join(self.dropped)}" if self.dropped else "")


@refused_files("converting")
def convert(
    src: str | Path,
    dst: str | Path,
    *,
    to: str | None = None,
    mapping: str | None = None,
    precision: str | None = None,
    align: int | None = None,
    progress: Progress | None = None,
) -> ConvertReport:
    """Writes the weights `src` (a file or a model folder) as `dst`.

    to: safetensors, mpk, mpk.gz or bpk; dst's suffix where not given. mapping: bert, minilm, masked or st; the source's own where not given,
    else bert. precision: full (F32), half (F16) or the source's own. align: 64, 256 or 4096, for mpk. Raises WeightsError for weights that
    cannot be converted, SourceError for files that cannot be read, and EncoderError for arguments that make no sense.
    """
    started = time.perf_counter()
    src, dst = Path(src), Path(dst)
    require_replaceable(dst)
    into_folder = dst.is_dir() or (src.is_dir() and _suffix_format(dst) is None)
    format = _chosen_format(dst, to, into_folder)
    _check_arguments(format, mapping, precision, align)
    weights = find_weights(transformer_folder(src), advice=NAME_FILE) if src.is_dir() else src
    source = open_weights(weights)
    config = weights.parent / "config.json"
    plan = _planned(source, format, mapping, precision, align or 1, config)
    if config.is_file():
        check_config(plan.canonical, plan.num_layers, config)
    if into_folder:
        with folder_to_be(dst) as folder:
            target = copy_model_folder(src, folder, weights) / f"model.{format}"
            size = _write_and_compare(plan, target, progress)
    else:
        with file_to_be(dst) as target:
            size = _write_and_compare(plan, target, progress)
    seconds = time.perf_counter() - started
    return ConvertReport(str(src), str(dst), format, plan.mapping, plan.dtypes, len(plan.names), size, seconds, plan.dropped)


def _suffix_format(path: Path) -> str | None:
    return next((format for format in FORMATS if path.name.endswith(f".{format}")), None)


def _chosen_format(dst: Path, to: str | None, into_folder: bool) -> str:
    format = to or (None if into_folder else _suffix_format(dst))
    if format is None:
        wanted = "a folder says nothing of the format" if into_folder else f"its name ends in none of {', '.join('.' + name for name in FORMATS)}"
        raise EncoderError(f"{dst}: {wanted}; say it with --to {'|'.join(FORMATS)}.")
    suffix = None if into_folder else _suffix_format(dst)
    if format in FORMATS and suffix not in (None, format):
        raise EncoderError(f"{dst}: its name says {suffix}, but {format} was asked for; name it .{format}, or leave --to {format} away.")
    return format


def _check_arguments(format: str, mapping: str | None, precision: str | None, align: int | None) -> None:
    for name, value, known in (("to", format, FORMATS), ("mapping", mapping, MAPPINGS), ("precision", precision, PRECISIONS), ("align", align, ALIGNMENTS)):
        if value is not None and value not in known:
            raise EncoderError(f"{name}={value!r}: expected one of {', '.join(map(str, known))}.")
    if align is not None and format != "mpk":
        why = {
            "bpk": "burnpack always aligns to 256",
            "mpk.gz": "a compressed file cannot be mapped",
            "safetensors": "SafeTensors allows no gaps between tensors",
        }
        raise EncoderError(f"align={align} is for mpk: {why[format]}.")


def _planned(source: WeightSource, format: str, mapping: str | None, precision: str | None, alignment: int, config: Path) -> ConversionPlan:
    architecture = find_architecture(source)
    if architecture is None and source.format == "safetensors":
        raise _no_layout(source, config)
    canonical = under_canonical_names(source)
    assert architecture is not None, "a Burn file without a BERT has been refused"
    plan = plan_conversion(canonical, architecture, format, mapping or architecture.mapping, precision, alignment)
    check_shapes(canonical, list(dict.fromkeys(plan.names.values())), plan.num_layers)
    return plan


def _no_layout(source: WeightSource, config: Path) -> WeightsError:
    """By the name of the family, where config.json tells it."""
    kind = model_type_in(config)
    if kind in FAMILIES:
        problem = f"a {kind} model; Burn has modules for BERT and RoBERTa alone, so there is nothing to convert it to. Its SafeTensors file is read as it is"
    else:
        problem = "no BERT found: expected Hugging Face names such as encoder.layer.0.attention.self.query.weight"
    return WeightsError(problem, file=source.path)


def under_canonical_names(source: WeightSource) -> WeightSource:
    """Any BERT under Hugging Face's names without prefix, [out, in], its head as `lm_head.{dense,layer_norm,decoder}`."""
    if source.format != "safetensors" or find_burn_architecture(source) is not None:
        return RenamedSource(source, burn_names(source))
    names = hugging_face_names(source.tensors)
    if twice := sorted(set(source.tensors) - set(names.values())):
        raise WeightsError(f"the same parameter is stored under two names: {', '.join(twice)}", file=source.path, tensor=twice[0])
    return RenamedSource(source, {new: (old, False) for new, old in names.items()})


def _write_and_compare(plan: ConversionPlan, target: Path, progress: Progress | None) -> int:
    """Writes the weight file, reads it back as a stranger would, and returns its size."""
    total, done = 2 * plan.num_bytes, 0

    def advance(num_bytes: int) -> None:
        nonlocal done
        done += num_bytes
        if progress is not None:
            progress(done, total)

    size = plan.write(target, advance)
    written = open_weights(target)
    again = under_canonical_names(written)
    for name in plan.names:
        expected, found = plan.load(name), again.read(name)
        if expected.dtype != found.dtype or expected.shape != found.shape or raw_bytes(expected) != raw_bytes(found):
            raise WeightsError("what was written differs from what was read, so nothing was kept; is the disk at fault?", file=str(target), tensor=name)
        advance(found.nbytes)
    return size
