"""The engine `native`: encoder.Encoder, seen by the job. `encoder` is imported inside functions: nothing else of the job needs it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from embermill.credentials import shown_address
from embermill.jobs.chunking.late import SpannedText
from embermill.jobs.engine import Closeness, Embedded, Output, Preview, Prompts, Shortening
from embermill.jobs.errors import UsageError, model_errors

if TYPE_CHECKING:
    from embermill.encoder import Encoder, ModelDescription
    from embermill.encoder.pipeline.windows import EncodedBatch
    from embermill.jobs.config import ModelConfig

COLUMN = "embedding"
SENTENCE = "The quick brown fox jumps over the lazy dog."


class NativeEngine:
    """Texts -> one dense vector each, on one device."""

    answers_promptly = True

    def __init__(self, model: ModelConfig, *, device: str, threads: int) -> None:
        from embermill.encoder import Encoder

        with model_errors():
            encoder = Encoder.from_pretrained(_source(model), **_options(model), device=device, precision=_precision(model, device), threads=threads)
        self._use(encoder)

    @classmethod
    def around(cls, encoder: Encoder) -> NativeEngine:
        """An engine of one that is loaded already."""
        engine = cls.__new__(cls)
        engine._use(encoder)
        return engine

    @staticmethod
    def import_ahead(device: str) -> None:
        """The encoder, and the libraries of the device, which is opened."""
        from embermill.encoder.device import choose_device

        import_module("embermill.encoder.encoder")
        choose_device(device)

    def _use(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._encoder.tokenize_exactly()  # until somebody who compares rows of what he publishes says otherwise (infra/decisions/0009)
        self.precision: str = self._encoder.precision
        self.kernel_set: str = self._encoder.kernel_set
        self.device_name: str = self._encoder.device.name
        self.device_uuid: str = self._encoder.device.uuid
        self.shortening = _shortening(encoder.description)

    @classmethod
    def describe(cls, model: ModelConfig) -> dict[str, str]:
        """The fingerprint, from the model's folder alone."""
        description = _described(model)
        with model_errors():  # its files are read for their digests
            return _by_configuration_key(description.fingerprint(model.precision))

    @classmethod
    def preview(cls, model: ModelConfig, device: str) -> Preview:
        """From the model's folder alone, the headers of its weights included.

        UsageError for a precision that the device does not have, for weights that are not this model's, and for a tokenizer that could not feed it a text.
        """
        from embermill.encoder.device import resolve_precision
        from embermill.encoder.parameters import require_parameters

        description = _described(model)
        with model_errors():
            precision = resolve_precision(model.precision, device)
            require_parameters(description)
            tokenizer = description.open_tokenizer()
        return Preview(
            outputs=_outputs(description.dimension),
            count_tokens=lambda texts: tokenizer.tokenize(texts).num_tokens,
            max_tokens=description.max_tokens,
            shortening=_shortening(description),
            count_uncut=tokenizer.count,
            unknown_words=tokenizer.unknown_words,
            counts_add_up=tokenizer.adds_up,
            why_not_late=description.why_no_spans and f"{shown_address(str(model.source))}: {description.why_no_spans}",
            precision=precision,
        )

    @classmethod
    def prompts(cls, model: ModelConfig) -> Prompts:
        """As sentence-transformers' encode_document and encode_query have them, unless the configuration says otherwise."""
        with model_errors():
            known = _model_prompts(model)
            document = _described(model).prompt
        query = known.get("query", "") if model.query_prompt is None else model.query_prompt
        return Prompts(document, query, tuple(sorted(name for name, text in known.items() if text and text not in (document, query))))

    @classmethod
    def closeness(cls, model: ModelConfig, device: str, texts: Sequence[str]) -> Closeness:
        """The least and the mean cosine between vectors in model.precision and in float32, each loaded in turn."""
        from embermill.encoder import Encoder

        vectors, words = [], ""
        with model_errors():
            for precision in ("float32", model.precision):
                with Encoder.from_pretrained(_source(model), **_options(model), device=device, precision=precision) as encoder:
                    found = encoder.encode(list(texts), show_progress_bar=False).astype(np.float64)
                    words = encoder.computed_by
                vectors.append(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12))
        cosines = np.where(np.any(vectors[0], axis=1), (vectors[0] * vectors[1]).sum(axis=1), 1.0)
        return Closeness(words, float(cosines.min()), float(cosines.mean()))

    @property
    def stage_seconds(self) -> dict[str, float]:
        return self._encoder.busy_seconds

    @property
    def tokens_computed(self) -> int:
        return self._encoder.tokens_computed

    def warm_up(self) -> None:
        """Open the tokenizer, the fast one's gate included, and let the device embed a sentence: buffers, kernels and graphs are there then."""
        _ = self._encoder.fast_tokenizer_name
        self._encoder.encode([SENTENCE])

    @property
    def tokenizer_name(self) -> str:
        return self._encoder.tokenizer_name

    @property
    def fast_tokenizer_name(self) -> str:
        return self._encoder.fast_tokenizer_name

    def tokenize_exactly(self, exactly: bool) -> None:
        self._encoder.tokenize_exactly(exactly)

    def tokenize_beside(self, count: int) -> None:
        """In processes, where no faster library is at work."""
        self._encoder.tokenize_beside(count)

    def differing_texts(self, texts: Sequence[str]) -> list[int]:
        return self._encoder.differing_texts(texts)

    def fingerprint(self) -> dict[str, str]:
        return _by_configuration_key(self._encoder.fingerprint())

    def outputs(self) -> tuple[Output, ...]:
        return _outputs(self._encoder.dimension)

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        return _answers(self._encoder.encode_stream(texts))

    def embed_spans(self, texts: Iterable[Sequence[SpannedText]]) -> Iterator[Embedded]:
        """Batches of texts -> a row for each span, or for a text without any, in their order; for chunk.pooling: late."""
        from embermill.encoder.pipeline.spans import SpannedText as Given

        return _answers(self._encoder.encode_spans([Given(*each) for each in batch] for batch in texts))


def _answers(batches: Iterable[EncodedBatch]) -> Iterator[Embedded]:
    from embermill.encoder import DeviceError

    try:
        for batch in batches:
            yield Embedded({COLUMN: batch.embeddings}, batch.num_tokens.astype(np.int32, copy=False), batch.num_tokens_dropped.astype(np.int32, copy=False))
    except DeviceError as error:
        raise UsageError(str(error)) from error


def _described(model: ModelConfig) -> ModelDescription:
    from embermill.encoder import describe

    with model_errors():
        return describe(_source(model), **_options(model))


def _outputs(dimension: int) -> tuple[Output, ...]:
    return (Output(COLUMN, "dense", "float32", dimension),)


def _shortening(description: ModelDescription) -> Shortening:
    return Shortening(description.config.dimension, description.trained_dimensions, description.shortening_norm_eps)


def _source(model: ModelConfig) -> str:
    if model.source is None:
        raise UsageError("model.source: expected a folder, a hub id, an object-store URL or package:NAME/SUBDIR: the native engine needs a model")
    return model.source


def _precision(model: ModelConfig, device: str) -> str:
    """What the encoder calls it: a dataset that NumPy began goes on with its bits."""
    by_numpy = model.cpu_float32 == "numpy" and device == "cpu" and model.precision in ("auto", "float32")
    return "float32-numpy" if by_numpy else model.precision


def _options(model: ModelConfig) -> dict[str, Any]:
    prompt = model.prompt if model.prompt is not None else _document_prompt(model) if model.prompt_name is None else _named_prompt(model)
    return {
        "weights": model.weights,
        "pooling": model.pooling,
        "normalize": model.normalize,
        "prompt": prompt,
        "max_tokens": model.max_tokens,
        "dimensions": model.dimensions,
        "revision": model.revision,
    }


def _model_prompts(model: ModelConfig) -> Mapping[str, str]:
    from embermill.encoder import describe

    return describe(_source(model), weights=model.weights, revision=model.revision).config.prompts


def _document_prompt(model: ModelConfig) -> str:
    """What sentence-transformers' encode_document puts before a text: the model's prompt called `document`, and nothing where it has none.

    Neither its default prompt nor one of another name (`passage`) is taken there: prompts called `document` and `query` are always there, empty ones at least.
    """
    return _model_prompts(model).get("document", "")


def _named_prompt(model: ModelConfig) -> str:
    """`model.prompt_name`, once it is sure that the model has a prompt of that name: the encoder would take any other text for the prompt itself."""
    name, prompts = str(model.prompt_name), _model_prompts(model)
    if name not in prompts:
        known = ", ".join(sorted(prompts)) or "none"
        raise UsageError(f"model.prompt_name: {name}: the prompts of this model are: {known}; give the text itself as model.prompt")
    return name


def _by_configuration_key(fingerprint: dict[str, str]) -> dict[str, str]:
    return {"model.engine": "native"} | {f"model.{name}": value for name, value in fingerprint.items()}
