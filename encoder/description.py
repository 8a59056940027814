"""What a model is and how it will be used, known from its folder alone: no weights, no ops, no device.

The job asks this of a finished dataset's model before it does anything else, so it must cost no more than reading a few JSON files;
digests are computed, and the tokenizer is read, only when the fingerprint is asked for.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import NamedTuple, TypedDict, Unpack

from embermill.credentials import shown_address
from embermill.encoder.config import SENTENCE_BERT_CONFIG, DenseConfig, ModelConfig, Normalize, read_model_config
from embermill.encoder.errors import ModelConfigError, SourceError, refused_files
from embermill.encoder.matryoshka import trained_dimensions
from embermill.encoder.models import truncation_norm_eps
from embermill.encoder.prompts import named_or_text, named_prompt, names_of
from embermill.encoder.sources import LocalModel, fetch_model, files_digest
from embermill.encoder.text.digest import settings_digest
from embermill.encoder.text.files import tokenizer_files, tokenizer_limit, truncation_side
from embermill.encoder.text.static_tokenizer import StaticTokenizer
from embermill.encoder.text.tokenizer import Tokenizer
from embermill.encoder.weights import MOVE_OTHERS, find_weights, weight_files

ANY_LENGTH = 2**31 - 1
"""Tokens of the longest document of a model without positions."""


@dataclass(frozen=True)
class ModelDescription:
    """A model with every option resolved. prompt: the text itself. max_tokens: ids of a document at most, special ones and prompt included.

    dimension: columns of an embedding, fewer than the model makes where it is truncated.
    """

    model: LocalModel
    config: ModelConfig
    weights_file: Path
    pooling: str
    normalize: bool
    prompt: str
    max_tokens: int
    dimension: int
    weights_asked_for: str | None = None

    @property
    def truncated_to(self) -> int | None:
        """`dimension`, where that is fewer columns than the model makes."""
        return self.dimension if self.dimension < self.config.dimension else None

    @property
    def truncation_norm_eps(self) -> float | None:
        """eps of the LayerNorm before truncation, where the family has one and the embedding is cut."""
        return None if self.truncated_to is None else truncation_norm_eps(self.config.transformer.model_type)

    @property
    def shortening_norm_eps(self) -> float | None:
        """The same for who cuts an embedding that is whole yet."""
        return truncation_norm_eps(self.config.transformer.model_type)

    @property
    def trained_dimensions(self) -> tuple[int, ...] | None:
        """What the first columns of an embedding may be cut to, by the model's files: (): any number; None: they do not say that it was trained for it."""
        return trained_dimensions(self.model.folder)

    @property
    def pools_without_prompt(self) -> bool:
        """Whether there is a prompt whose tokens the model leaves out of pooling (include_prompt: false)."""
        return bool(self.prompt) and not self.config.include_prompt

    @property
    def why_no_spans(self) -> str:
        """Why parts of a text cannot have vectors of their own out of one pass over the text; "" where they can."""
        if self.config.static:
            return "a static model gives a word the same vector in every text"
        return "" if self.pooling == "mean" else f"its pooling is {self.pooling}, and they are made for mean alone"

    @property
    def position_limit(self) -> int:
        """Tokens of the longest document that the model can take at all."""
        return position_limit(self.config)

    @property
    def head(self) -> tuple[DenseConfig | Normalize, ...]:
        """The modules between pooling and truncation: the model's own, less the last normalisation, which comes after truncation."""
        return self.config.head[:-1] if self.config.normalizes else self.config.head

    def fingerprint(self, precision: str | None = None) -> dict[str, str]:
        """What changes the vectors, by name. Digests are SHA-256 in hexadecimal, of the files as they are now. precision: left out where it is None."""
        values = self._digests | {
            "pooling": self.pooling,
            "normalize": str(self.normalize).lower(),
            "prompt": self.prompt,
            "max_tokens": str(self.max_tokens),
            "dimensions": str(self.dimension),
        }
        return values if precision is None else values | {"precision": precision}

    def open_tokenizer(self) -> Tokenizer | StaticTokenizer:
        """What of a text is fed to the model, as token ids. Raises TokenizerError; ModelConfigError where nothing of a text would be left."""
        config = self.config
        if config.static:
            vocab_size = config.transformer.vocab_size
            return StaticTokenizer(config.transformer_folder, max_tokens=self.max_tokens, vocab_size=vocab_size, prompt=self.prompt)
        return Tokenizer(
            config.transformer_folder,
            max_tokens=self.max_tokens,
            vocab_size=config.transformer.vocab_size,
            prompt=self.prompt,
            lowercase=config.lowercase,
        )

    def reopening(self) -> Reopening:
        """Everything resolved, the source pinned to its revision: what `reopen` takes."""
        pinned = self.model.source if self.model.revision is not None or self.model.source.startswith("package:") else str(self.model.folder)
        options = ModelOptions(
            weights=self.weights_asked_for,
            pooling=self.pooling,
            normalize=self.normalize,
            prompt="",
            max_tokens=self.max_tokens,
            dimensions=self.dimension,
            revision=self.model.revision,
        )
        return Reopening(pinned, options, self.prompt, self.fingerprint())

    @cached_property
    def _digests(self) -> dict[str, str]:
        import hashlib

        folder, config = self.model.folder, self.config
        dense = [module.folder for module in self.head if isinstance(module, DenseConfig)]
        weights = [*weight_files(self.weights_file), *(file for module in dense for file in weight_files(find_weights(module, advice=MOVE_OTHERS)))]
        tokenizer = tokenizer_files(config.transformer_folder)
        other_ids = None
        if not config.static:
            other_ids = settings_digest(config.transformer_folder, lowercase=config.lowercase, lowercase_in_config=self._lowercase_in_config)
        digests = {
            "weights": files_digest(folder, weights),
            "tokenizer": files_digest(folder, tokenizer) if tokenizer else "",
            "config": hashlib.sha256(json.dumps(self._settings, sort_keys=True).encode()).hexdigest(),
        }
        return digests if other_ids is None else digests | {"tokenizer_settings": other_ids}

    @property
    def _lowercase_in_config(self) -> bool:
        """do_lower_case, where it was read before the fingerprint had `tokenizer_settings`: there it is part of `config`, and stays so."""
        return self.config.lowercase and self.config.settings_file.name == SENTENCE_BERT_CONFIG

    @property
    def _settings(self) -> dict[str, object]:
        """What config.json and its like say beside the keys that the fingerprint names one by one."""
        head = [(module.in_features, module.out_features, module.bias, module.activation) if isinstance(module, DenseConfig) else "l2" for module in self.head]
        settings = self.config.transformer.fingerprint() | {
            "head": head,
            "lowercase": self._lowercase_in_config,
            "truncation_side": truncation_side(self.config.transformer_folder),
        }
        if self.pools_without_prompt:
            settings["include_prompt"] = False
        if self.truncation_norm_eps is not None:
            settings["truncation_norm_eps"] = self.truncation_norm_eps
        return settings


class ModelOptions(TypedDict, total=False):
    """What of a model a caller may say otherwise than the model itself does. None: the model's own.

    weights: a file name, where the folder holds several. pooling: "cls", "mean", "max", "last", "weightedmean" or "mean_sqrt_len_tokens".
    prompt: text to put before each text, or the name of one of the model's prompts ("": none). prompt_name: a name and nothing else, in place of
    `prompt`. max_tokens: cut texts there, up to the model's positions. dimensions: keep the first so many columns, at length 1 again where the model
    normalises. revision: of the source.
    """

    weights: str | None
    pooling: str | None
    normalize: bool | None
    prompt: str | None
    prompt_name: str | None
    max_tokens: int | None
    dimensions: int | None
    revision: str | None


_OPTION_TYPES: dict[str, tuple[type, str]] = {
    "weights": (str, "a string"),
    "pooling": (str, "a string"),
    "normalize": (bool, "true or false"),
    "prompt": (str, "a string"),
    "prompt_name": (str, "a string"),
    "max_tokens": (Integral, "a whole number"),
    "dimensions": (Integral, "a whole number"),
    "revision": (str, "a string"),
}


@refused_files("opening the model")
def describe(source: str | os.PathLike[str], **options: Unpack[ModelOptions]) -> ModelDescription:
    """Find the model (see sources.py) and resolve every option of ModelOptions. Raises SourceError, ModelConfigError, WeightsError."""
    for name, value in options.items():
        _require_option(name, value)
    weights, normalize, dimensions = options.get("weights"), options.get("normalize"), options.get("dimensions")
    model = fetch_model(source, revision=options.get("revision"), weights=weights)
    config = read_model_config(model.folder, options.get("pooling"))
    text = _resolve_prompt(options.get("prompt"), options.get("prompt_name"), config)
    if dimensions is not None and not 1 <= dimensions <= config.dimension:
        raise ModelConfigError(f"dimensions={dimensions}: this model makes {config.dimension}: expected a number from 1 to {config.dimension}.")
    return ModelDescription(
        model,
        config,
        find_weights(config.transformer_folder, weights),
        config.pooling,
        config.normalizes if normalize is None else normalize,
        text,
        _resolve_max_tokens(options.get("max_tokens"), config),
        config.dimension if dimensions is None else dimensions,
        weights,
    )


class Reopening(NamedTuple):
    """What another process needs to open the same model with the same options. digests: of the files as they were here."""

    source: str
    options: ModelOptions
    prompt: str
    digests: dict[str, str]

    def __repr__(self) -> str:
        return f"Reopening(source={shown_address(self.source)!r}, options={self.options!r}, prompt={self.prompt!r}, digests={self.digests!r})"


def reopen(reopening: Reopening) -> ModelDescription:
    """The same model, found again; SourceError where its files are others by their digests."""
    found = replace(describe(reopening.source, **reopening.options), prompt=reopening.prompt)
    here = found.fingerprint()
    if changed := [name for name, digest in reopening.digests.items() if here.get(name) != digest]:
        raise SourceError(
            f"model source {shown_address(reopening.source)}: this is another model than the one that this Encoder was pickled with "
            f"({', '.join(changed)} differ): put the same files there, or load the model here with Encoder.from_pretrained."
        )
    return found


def _require_option(name: str, value: object) -> None:
    """An option is known, and None or of its kind; that a bool is an int is Python's affair."""
    if name not in _OPTION_TYPES:
        raise TypeError(f"unexpected option {name!r}: expected one of device, precision, threads, {', '.join(_OPTION_TYPES)}")
    kind, expected = _OPTION_TYPES[name]
    if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
        raise ModelConfigError(f"{name}={value!r}: expected {expected}, or None for the model's own, got {type(value).__name__}.")


def position_limit(config: ModelConfig) -> int:
    """Tokens of the longest document that the model can take at all."""
    limit = config.transformer.position_limit
    return ANY_LENGTH if limit is None else limit


def _resolve_prompt(prompt: str | None, name: str | None, config: ModelConfig) -> str:
    if prompt is not None and name is not None:
        raise ModelConfigError(f"prompt={prompt!r} and prompt_name={name!r} exclude each other: give the text, or the name of one of the model's prompts.")
    if prompt is not None:
        return named_or_text(config.prompts, prompt)
    if name is None:
        return "" if config.default_prompt_name is None else named_prompt(config.prompts, config.default_prompt_name) or ""
    found = named_prompt(config.prompts, name)
    if found is None:
        raise ModelConfigError(f"prompt_name={name!r}: this model's prompts are: {names_of(config.prompts)}; give the text itself as prompt=.")
    return found


def _resolve_max_tokens(wanted: int | None, config: ModelConfig) -> int:
    """sentence-transformers' limit: max_seq_length, else the smaller of the tokenizer's and the model's; or `wanted`, up to the model's."""
    folder, positions = config.transformer_folder, position_limit(config)
    if wanted is not None:
        if not 1 <= wanted <= positions:
            raise ModelConfigError(f"max_tokens={wanted}: this model has positions for {positions} tokens, special ones included: expected 1 to {positions}.")
        return wanted
    if config.static:
        return positions
    if config.max_seq_length is None:
        return min(tokenizer_limit(folder) or positions, positions)
    if config.max_seq_length > positions:
        raise ModelConfigError(
            f"{config.settings_file}: max_seq_length is {config.max_seq_length}, but config.json has positions for {positions} tokens only; "
            f"pass max_tokens={positions} or less."
        )
    return config.max_seq_length

