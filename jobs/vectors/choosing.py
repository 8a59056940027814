"""What `output.vectors` asks for, resolved against what the engine makes, and what is refused there. Nothing is measured yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from embermill.jobs.config import JobConfig, VectorConfig
from embermill.jobs.engine import Output, Shortening
from embermill.jobs.errors import UsageError
from embermill.jobs.vectors.form import INT8, MSB, SYMMETRIC, UBINARY, StoredVector

UNCUT = "vectors that are cut are worth less than their dimensions unless the model was trained for it"


def choose_vectors(
    config: JobConfig, outputs: Sequence[Output], shortening: Shortening | None, fingerprint: Mapping[str, str] | None = None
) -> tuple[StoredVector, ...]:
    """() where the configuration names no columns: each output is one then. Scales and ranges that are not given stay None.

    outputs: of the engine; where they are not known yet, (), nothing can be said. fingerprint: likewise, None before there is an engine.
    UsageError for a column that cannot be made of them, and for fewer dimensions than the model was trained to be cut to.
    """
    if not outputs:
        return ()
    if shortening is not None and outputs[0].dim < shortening.full:
        _require_trained("model.dimensions", outputs[0].dim, shortening.full, shortening, config)
    unit = (fingerprint or {}).get("model.normalize") == "true"
    return tuple(_choose(entry, config, outputs, shortening, unit) for entry in config.output.vectors)


def _choose(entry: VectorConfig, config: JobConfig, outputs: Sequence[Output], shortening: Shortening | None, unit: bool) -> StoredVector:
    key = f"output.vectors: {entry.column}"
    found = {output.column: output for output in outputs}
    source = next(iter(found)) if entry.source is None else entry.source
    if source not in found:
        raise UsageError(f"{key}: source: the engine makes no column {source!r}: expected one of {', '.join(found)}")
    full = found[source].dim
    dim = full if entry.dimensions is None else entry.dimensions
    if dim > full:
        raise UsageError(f"{key}: dimensions: {dim}: this model makes {full}: expected a number from 1 to {full}")
    if entry.dtype == UBINARY and dim % 8:
        most = full // 8 * 8
        raise UsageError(f"{key}: ubinary packs eight dimensions a byte, and this model makes {full}: set dimensions: {most}, or choose int8")
    if dim < full:
        _require_trained(f"{key}: dimensions", dim, full, shortening, config)
    packing = entry.int8_ranges if entry.dtype == INT8 else MSB if entry.dtype == UBINARY else ""
    scale = entry.scale if packing == SYMMETRIC else None
    is_cut = dim < full
    norm = shortening.layer_norm_eps if is_cut and shortening is not None and full == shortening.full else None
    return StoredVector(entry.column, source, entry.dtype, dim, packing, scale, unit=is_cut and unit, layer_norm_eps=norm)


def _require_trained(key: str, dim: int, full: int, shortening: Shortening | None, config: JobConfig) -> None:
    """UsageError where the model's files do not say that it was trained to be cut there."""
    trained = None if shortening is None else shortening.trained
    if config.model.allow_truncation or trained == () or (trained is not None and dim in trained):
        return
    if trained:
        expected = ", ".join(map(str, trained))
        raise UsageError(
            f"{key}: {dim}: this model's config.json lists matryoshka_dimensions {expected}: choose one of them, or {full}; "
            "model.allow_truncation: true cuts its vectors anyway"
        )
    raise UsageError(
        f"{key}: {dim}: this model makes {full}, and its files do not say that it was trained for fewer (Matryoshka): {UNCUT}; "
        "leave it out, or set model.allow_truncation: true and measure what is lost with `embermill verify --recall 1000`"
    )
