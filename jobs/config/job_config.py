"""JobConfig: the YAML that describes a job, read strictly and once.

Every key is documented in configs/reference.yaml. Errors are UsageError and name the key, what was expected and what came.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from embermill.credentials import has_credentials, shown_address
from embermill.jobs.bookkeeping.stored_keys import IfAbsent
from embermill.jobs.config.addresses import joinable
from embermill.jobs.config.as_planned import AsPlanned
from embermill.jobs.config.chunk_config import ChunkConfig
from embermill.jobs.config.encoding import text_encoding
from embermill.jobs.config.errors import WrongKey
from embermill.jobs.config.paths import absolute, anchored_source
from embermill.jobs.config.section import AutoInt, PositiveInt, Section, is_own_code, listed
from embermill.jobs.config.vectors import Vectors
from embermill.jobs.config.workers_config import WorkersConfig


def _kept(value: object) -> object:
    """`lang` keeps the column under its own name; `{lang: language}` renames it."""
    pairs: list[tuple[str, str]] = []
    for item in value if isinstance(value, list | tuple) else [value]:
        if isinstance(item, str):
            pairs.append((item, item))
        elif isinstance(item, dict) and all(isinstance(part, str) for pair in item.items() for part in pair):
            pairs.extend(item.items())
        elif isinstance(item, tuple) and len(item) == 2:
            pairs.append(item)
        else:
            raise ValueError(f"each entry is a column's name, or {{column: new name}}, not {item!r}")
    return tuple(pairs)


def _format(value: str) -> str:
    """"auto", or the name of a format that is read. ValueError for any other."""
    if value == "auto":
        return value
    from embermill.jobs.corpus.formats import FORMATS  # with all that reads them: whoever sends a job to a cluster reads none

    known = ["auto", *FORMATS]
    if value not in known:
        raise ValueError(f"expected {', '.join(map(repr, known[:-1]))} or {known[-1]!r}, got {value!r:.80} (str)")
    return value


def _types(value: object) -> object:
    """`{score: float64}` as pairs. ValueError for a name that is no type."""
    pairs = [*value.items()] if isinstance(value, dict) else value
    if not isinstance(pairs, list | tuple) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise ValueError(f"expected {{column: type}}, got {value!r:.80}")
    for column, kind in pairs:
        if kind not in DECLARABLE:
            raise ValueError(f"{column}: expected one of {', '.join(DECLARABLE)}, got {kind!r:.80}")
    return tuple(map(tuple, pairs))


def _delimiter(value: str) -> str:
    if len(value) != 1 or value in '"\r\n\0':
        raise ValueError(f'expected one character, "," or ";" or "\\t" for example, got {value!r:.80}')
    return value


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or not all(value):
        raise ValueError("expected at least one entry, none of them empty")
    return value


def _distinct(value: tuple[str, ...]) -> tuple[str, ...]:
    if repeated := sorted({entry for entry in value if value.count(entry) > 1}):
        raise ValueError(f"named twice: {', '.join(repeated)}")
    return value


def _without_credentials(address: str) -> str:
    if has_credentials(address):
        raise ValueError("credentials do not belong in a URL (it is written into plans and logs): put them in the environment, for example AWS_ACCESS_KEY_ID")
    return address


MOST_TEXT_BYTES = 1 << 30  # of one row: Arrow's strings have 32-bit offsets, and a worker holds a few of them
Address = Annotated[str, Field(min_length=1), AfterValidator(_without_credentials)]
Texts = Annotated[tuple[str, ...], BeforeValidator(listed), AfterValidator(_some)]
DECLARABLE = (
    "string", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64",
    "date32", "timestamp[s]", "timestamp[ms]", "timestamp[us]", "timestamp[ns]", "uuid",
)  # fmt: skip


class ModelConfig(Section):
    """Which engine makes the vectors, and from what."""

    source: Address | None = None
    engine: str = "native"
    revision: str | None = None
    weights: str | None = None
    precision: Literal["auto", "float32", "float16", "bfloat16", "int8", "fp8"] = "auto"
    cpu_float32: Annotated[Literal["auto", "numpy"], IfAbsent("numpy")] = "auto"
    min_cosine: Annotated[float, Field(ge=-1, le=1), IfAbsent(0.99)] = 0.99
    pooling: Literal["cls", "mean", "max", "last", "weightedmean", "mean_sqrt_len_tokens"] | None = None
    normalize: bool | None = None
    prompt: str | None = None
    prompt_name: str | None = None
    query_prompt: str | None = None
    max_tokens: PositiveInt | None = None
    dimensions: PositiveInt | None = None
    allow_truncation: Annotated[bool, IfAbsent(False)] = False
    on_long_text: Literal["truncate", "error", "split"] = "truncate"

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        if self.engine == "native" and self.source is None:
            raise WrongKey("source", "expected a folder, a hub id, an object-store URL or package:NAME/SUBDIR; the native engine has no default model")
        if self.prompt is not None and self.prompt_name is not None:
            raise WrongKey("prompt", "excludes model.prompt_name: give the text, or the name of one of the model's prompts", "prompt_name")
        if self.engine != "native" and not is_own_code(self.engine):
            raise WrongKey("engine", f"expected `native` or python:module:Class, got {self.engine!r}")
        return self

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Without what would be a credential in the model's address."""
        return ((name, shown_address(value) if name == "source" and isinstance(value, str) else value) for name, value in super().__repr_args__())

    def as_planned(self, planned: AsPlanned) -> ModelConfig:
        """The same, with the precision and the document prompt that a dataset has: what `auto` and no prompt at all mean may change, its vectors may not."""
        fingerprint = planned.fingerprint
        settled: dict[str, Any] = {"precision": planned.precision} if self.precision == "auto" else {}
        if self.cpu_float32 == "auto":
            settled |= {"cpu_float32": planned.config["model.cpu_float32"]}
        if self.engine == "native" and self.prompt is None and self.prompt_name is None:
            settled |= {"prompt": fingerprint["model.prompt"]} if "model.prompt" in fingerprint else {}
        return self.model_copy(update=settled)


class CorpusConfig(Section):
    """Which files are read, which of their columns, and what happens to what cannot be."""

    files: Annotated[Texts, AfterValidator(lambda files: tuple(map(_without_credentials, files))), AfterValidator(_distinct)]
    format: Annotated[str, AfterValidator(_format)] = "auto"
    id_column: str | None = None
    text_columns: Annotated[Texts, AfterValidator(_distinct)] = ("text",)
    text_separator: str = "\n"
    keep_columns: Annotated[tuple[tuple[str, str], ...], BeforeValidator(_kept)] = ()
    types: Annotated[tuple[tuple[str, str], ...], BeforeValidator(_types), IfAbsent([])] = ()
    encoding: Annotated[str | None, AfterValidator(text_encoding), IfAbsent(None)] = None
    delimiter: Annotated[str, AfterValidator(_delimiter), IfAbsent(",")] = ","
    partition_text_bytes: AutoInt = "auto"
    max_text_bytes: Annotated[int, Field(gt=0, le=MOST_TEXT_BYTES)] = 16_777_216
    max_quarantined: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    on_bad_file: Literal["fail", "quarantine"] = "fail"
    complete: Annotated[bool, IfAbsent(False)] = False
    max_deleted_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), IfAbsent(0.05)] = 0.05
    on_duplicate_id: Annotated[Literal["quarantine", "fail"], IfAbsent("quarantine")] = "quarantine"
    on_refused_update: Annotated[Literal["keep", "delete"], IfAbsent("keep")] = "keep"
    on_schema_drift: Annotated[Literal["fail", "cast", "null"], BeforeValidator(lambda value: "null" if value is None else value)] = "fail"  # YAML's null

    @model_validator(mode="after")
    def _check(self) -> CorpusConfig:
        if self.max_quarantined >= 1 and not math.isclose(self.max_quarantined, round(self.max_quarantined)):
            raise WrongKey("max_quarantined", f"expected a share below 1 or a whole number of rows, got {self.max_quarantined}")
        read = {self.id_column or "id", *(source for source, _ in self.keep_columns)}
        for column, kind in self.types:
            if column in self.text_columns and kind != "string":
                raise WrongKey("types", f"{column}: is a text column, and those are strings always; declare id and kept columns alone", "text_columns")
            if column not in read and column not in self.text_columns:
                raise WrongKey("types", f"{column}: is neither corpus.id_column nor one of corpus.keep_columns, so it is not read", "id_column", "keep_columns")
            if column == (self.id_column or "id") and not (kind in ("string", "uuid") or "int" in kind):
                raise WrongKey("types", f"{column}: an id is a string or an integer, got {kind}", "id_column")
        return self


class OutputConfig(Section):
    """Where the dataset goes."""

    uri: Address
    shard_bytes: Annotated[int, Field(gt=0, le=256_000_000)] = 256_000_000
    lease_s: Annotated[float, Field(gt=0, le=3600)] = 60
    on_unconditional_puts: Literal["fail", "accept"] = "fail"
    encoding: Annotated[Literal["compact", "portable"], IfAbsent("compact")] = "compact"
    id: Annotated[Literal["kept", "uuid5"], IfAbsent("kept")] = "kept"
    text: Annotated[bool, IfAbsent(False)] = False
    vectors: Annotated[Vectors, IfAbsent([])] = ()
    compact_at: Annotated[float | None, Field(gt=0, allow_inf_nan=False), IfAbsent(None)] = None


class RayConfig(Section):
    """Which Ray the workers run on."""

    address: Annotated[str | None, AfterValidator(joinable)] = None


class JobConfig(Section):
    """A whole job."""

    model: ModelConfig
    corpus: CorpusConfig
    output: OutputConfig
    workers: WorkersConfig = WorkersConfig()
    ray: RayConfig = RayConfig()
    chunk: ChunkConfig = ChunkConfig()

    @model_validator(mode="after")
    def _check(self) -> JobConfig:
        if self.model.on_long_text != "split" and self.chunk != ChunkConfig():
            said = "says how documents are cut, which is done with model.on_long_text: split alone: set that, or take the section out"
            raise WrongKey("chunk", said, "model.on_long_text")
        if self.model.on_long_text == "split" and self.output.text:
            raise WrongKey("output.text", "with model.on_long_text: split the text of a chunk is kept by chunk.keep_text: true", "model.on_long_text")
        return self

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Without what would be a credential in the model's address."""
        return ((name, shown_address(value) if name == "source" and isinstance(value, str) else value) for name, value in super().__repr_args__())

    def as_planned(self, planned: AsPlanned) -> JobConfig:
        """The same job, where what was left to the model is what it became when the dataset was planned."""
        return self.model_copy(update={"model": self.model.as_planned(planned)})

    def anchored(self, folder: Path) -> JobConfig:
        """The same job with every relative path made absolute under `folder`: a worker has another working directory."""
        model = self.model.model_copy(update={"source": anchored_source(self.model.source, folder)})
        corpus = self.corpus.model_copy(update={"files": tuple(absolute(file, folder) for file in self.corpus.files)})
        output = self.output.model_copy(update={"uri": absolute(self.output.uri, folder)})
        return self.model_copy(update={"model": model, "corpus": corpus, "output": output})


SECTIONS: dict[str, type[Section]] = {
    "model": ModelConfig, "corpus": CorpusConfig, "output": OutputConfig, "workers": WorkersConfig, "ray": RayConfig,
    "chunk": ChunkConfig,
}  # fmt: skip
KEYS = tuple(f"{name}.{key}" for name, section in SECTIONS.items() for key in section.model_fields)


def _if_absent(sections: dict[str, type[Section]]) -> dict[str, object]:
    fields = {f"{name}.{key}": field for name, section in sections.items() for key, field in section.model_fields.items()}
    return {key: mark.value for key, field in fields.items() for mark in field.metadata if isinstance(mark, IfAbsent)}


IF_ABSENT = _if_absent(SECTIONS)
"""Key -> what a plan was made with that lacks it, for the keys that came after version 0.1.0. Stated beside the key: `Annotated[type, IfAbsent(value)]`."""


def flatten(config: JobConfig) -> dict[str, object]:
    """ "section.key" -> value, in the order of the documentation; values are plain JSON."""
    return {f"{name}.{key}": value for name, section in config.model_dump(mode="json").items() for key, value in section.items()}
