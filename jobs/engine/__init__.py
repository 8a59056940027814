"""The Engine protocol: how the job sees a model. The job does not know BERT.

`native` is ours (embermill.jobs.engine.native); `python:module:Class` is any other: `Class(model: ModelConfig, *, device: str, threads: int)`, with the three
methods of Engine. embermill.jobs.engine.loading finds and makes them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

FINGERPRINT_IF_ABSENT: dict[str, str] = {}
"""Key -> value, for the keys of a fingerprint that came after version 0.1.0: what a dataset made without the key has in its place. An engine may also leave
a key out wherever it says nothing new, as `native` does with model.tokenizer_settings; a key that is on one side alone is a difference."""

WHY_ADDED = {"model.tokenizer_settings": "made with token ids that differ from transformers': embed it again"}
"""Key -> why a dataset made without it cannot be continued, where an engine says the key now, with any value. Nothing can be set back there."""


@dataclass(frozen=True)
class Output:
    """One column that an engine makes. kind: "dense". dtype: "float32". dim: columns of the vector."""

    column: str
    kind: str
    dtype: str
    dim: int


CountTokens = Callable[[Sequence[str]], np.ndarray]
"""Texts -> [B] tokens fed to the model for each, special ones and prompt included."""


@dataclass(frozen=True)
class Shortening:
    """Whether vectors may be cut to their first dimensions. full: dimensions of the model's own vectors, before `model.dimensions`.

    trained: what its files say: () for any number, the numbers that they list, None where they do not say that it was trained for it (Matryoshka).
    layer_norm_eps: of a LayerNorm that a whole vector goes through before it is cut; None: there is none.
    """

    full: int
    trained: tuple[int, ...] | None = None
    layer_norm_eps: float | None = None


@dataclass(frozen=True)
class Preview:
    """What an engine would be, as far as it can say so unmade. max_tokens: of one text at most. shortening: as Engine has it. precision: what it would
    compute in; "" where it does not say.

    For `model.on_long_text: split` count_tokens must not stop at max_tokens, or count_uncut does not. unknown_words: a text -> (start, end) in code points
    of each word that is one unknown token; None where there are none, or it is not known. counts_add_up: of a text of printable ASCII, tabs and line ends
    the count is that of "" and what its words and its punctuation marks add, each counted by itself; chunks of such text are then counted once.
    why_not_late: why `chunk.pooling: late` cannot be; "" where it can.
    """

    outputs: tuple[Output, ...] = ()
    count_tokens: CountTokens | None = None
    max_tokens: int | None = None
    shortening: Shortening | None = None
    count_uncut: CountTokens | None = None
    unknown_words: Callable[[str], Sequence[tuple[int, int]]] | None = None
    counts_add_up: bool = False
    why_not_late: str = "only the engine native gives parts of a text vectors of their own"
    precision: str = ""


@dataclass(frozen=True)
class Prompts:
    """What is put before texts: before each document, and before a query by `embermill search`. others: names of the model's further prompts, unused."""

    document: str
    query: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class StoredRows:
    """Rows of a batch that are stored already, and are copied as they are. rows: [B] bool, which. columns: stored column -> [B, width], meaningful there."""

    rows: np.ndarray
    columns: dict[str, np.ndarray]


@dataclass(frozen=True)
class Embedded:
    """What an engine made of one batch of texts, in the same order.

    columns: output column -> [B, dim]. num_tokens, num_tokens_dropped: [B] int32 (ids fed to the model; text tokens cut off).
    stored: of who copies vectors, never of an engine.
    """

    columns: dict[str, np.ndarray]
    num_tokens: np.ndarray
    num_tokens_dropped: np.ndarray
    stored: StoredRows | None = None

    def take(self, rows: np.ndarray) -> Embedded:
        """Some rows of the batch. rows: their places, [B'] int64."""
        columns = {name: np.asarray(vectors)[rows] for name, vectors in self.columns.items()}
        stored = self.stored
        if stored is not None:
            stored = StoredRows(stored.rows[rows], {name: codes[rows] for name, codes in stored.columns.items()})
        return Embedded(columns, self.num_tokens[rows], self.num_tokens_dropped[rows], stored)


@dataclass(frozen=True)
class Closeness:
    """How near vectors are to those of float32. computed_by: what computes them on this machine, and why that, in words for a person."""

    computed_by: str
    least_cosine: float
    mean_cosine: float


class Engine(Protocol):
    """What a worker drives, from one thread. An engine may have more, and the job uses it where it is there:

    stage_seconds: {"tokenize": …, "encode": …}, busy seconds since it was made; may overlap.
    tokens_computed: of all that it was given, also before it answers; it only rises. A worker whose answers are far apart shows by it that it is not stuck.
    answers_promptly: true where no answer is held back for texts that are still to come, nor an exception or close() until they have come; its stream
    then stays open while there is nothing to do.
    tokenizer_name: library and version that make the token ids, for the record.
    fast_tokenizer_name, tokenize_exactly(bool), differing_texts(texts) -> places: of an engine that has a tokenizer faster than the one whose ids count. It
    begins with the latter; a worker that compares rows of each shard before it is published asks for the fast one (worker/token_check.py).
    warm_up(): what the first batch would have to wait for; a worker calls it while the driver writes the plan.
    precision, device_name, device_uuid, kernel_set: strings, for the record (and precision for the plan).
    shortening: a Shortening; without it vectors are cut to fewer dimensions only where the configuration says model.allow_truncation.
    prompts(model) -> Prompts, a class method too: shown by `plan` and `run`, and what `search` puts before a query.
    describe(model) -> fingerprint, a class method that loads no weights: a finished dataset is then checked before anything else.
    preview(model, device) -> Preview, another: what it could not be on such a device ("cpu" or "gpu") or could not be stored beside the kept columns is
    then refused before a worker starts, and `embermill plan` knows of tokens and bytes.
    closeness(model, device, texts) -> Closeness, another, which loads the model: asked where model.precision is bfloat16 or int8 on a CPU.
    """

    @abstractmethod
    def fingerprint(self) -> dict[str, str]:
        """What changes the vectors: configuration key ("model.max_tokens") or digest ("model.weights") -> value."""
        ...

    @abstractmethod
    def outputs(self) -> tuple[Output, ...]: ...

    @abstractmethod
    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        """Same batches, same order. A stream goes in and comes out, so that an engine overlaps its stages across batches as it likes.

        After an exception it may be called again.
        """
        ...
