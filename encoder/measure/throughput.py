"""How fast an encoder is here: tokens/s of the forward pass, tokens/s of tokenising apart, and both together as a user meets them."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embermill.encoder.encoder import Encoder

if TYPE_CHECKING:
    from embermill.encoder.measure.gpu_profile import ShapeProfile

# Each is one token of BERT's vocabularies, so that a text of N words has N tokens and the special ones.
_WORDS = ("time", "year", "people", "way", "day", "thing", "life", "child", "world", "school", "state", "family", "group", "country", "problem", "hand", "part")
_SPECIAL_TOKENS = 2
PARITY_DOCUMENTS = 32
_MIXED_MEDIAN, _MIXED_SIGMA, _MIXED_SHORTEST = 90, 0.8, 8


@dataclass(frozen=True)
class Throughput:
    """Medians over the repeats. Rates are tokens fed to the model, special ones included, per second.

    encode: from token ids to vectors. tokenize: from text to token ids. text: from text to vectors, the two overlapping.
    """

    documents: int
    tokens: int
    tokens_dropped: int
    longest: int
    encode_tokens_per_s: float
    tokenize_tokens_per_s: float
    text_tokens_per_s: float


def synthetic_lengths(kind: str, documents: int, longest: int, seed: int = 0) -> np.ndarray:
    """[documents] int64 token counts. kind: a number, for texts of that length; or "mixed" (log-normal, median 90, from 8 to `longest`)."""
    if kind != "mixed":
        return np.full(documents, min(int(kind), longest))
    drawn = np.exp(np.random.default_rng(seed).normal(math.log(_MIXED_MEDIAN), _MIXED_SIGMA, documents))
    return np.clip(drawn, min(_MIXED_SHORTEST, longest), longest).astype(np.int64)


def synthetic_texts(lengths: Sequence[int] | np.ndarray, seed: int = 0) -> list[str]:
    """Texts of common English words with about so many tokens each, special ones included."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(_WORDS, max(1, int(length) - _SPECIAL_TOKENS))) for length in lengths]


def measure_throughput(encoder: Encoder, texts: list[str], repeats: int = 3) -> Throughput:
    """Embed `texts` so many times (and once before, unmeasured). Needs the model's tokenizer."""
    tokenizer = encoder.description.open_tokenizer()
    tokens = tokenizer.tokenize(texts)
    ids, offsets = tokens.input_ids, tokens.offsets
    return Throughput(
        documents=len(texts),
        tokens=len(ids),
        tokens_dropped=int(tokens.num_tokens_dropped.sum()),
        longest=int(tokens.num_tokens.max(initial=0)),
        encode_tokens_per_s=len(ids) / _median_seconds(lambda: encoder.encode_token_ids(ids, offsets), repeats),
        tokenize_tokens_per_s=len(ids) / _median_seconds(lambda: tokenizer.tokenize(texts), repeats),
        text_tokens_per_s=len(ids) / _median_seconds(lambda: encoder.encode(texts), repeats),
    )


@dataclass(frozen=True)
class ShapeThroughput:
    """From token ids to vectors, medians over the repeats. cosine_min: see `parity`; None where it was not asked for.

    chain_share: tokens_per_s over what the products alone reach on this GPU. ns_per_token: of each kernel family. Both None without a profile.
    """

    shape: str
    lengths: str
    documents: int
    tokens: int
    tokens_per_s: float
    cosine_min: float | None
    chain_share: float | None = None
    ns_per_token: dict[str, float] | None = None


def measure_shape(
    encoder: Encoder, shape: str, lengths: str, tokens: int, repeats: int = 3, reference: Encoder | None = None, profile: ShapeProfile | None = None
) -> ShapeThroughput:
    """About so many random token ids in documents of these lengths (see synthetic_lengths).

    reference: a float32 encoder of the same weights. profile: of the same model, where an NVIDIA GPU is asked for its kernel families.
    """
    mean = 120 if lengths == "mixed" else int(lengths)
    sizes = synthetic_lengths(lengths, max(1, tokens // mean), encoder.max_tokens)
    ids, offsets = _random_ids(sizes)
    seconds = _median_seconds(lambda: encoder.encode_token_ids(ids, offsets), repeats)
    cosine = None if reference is None else parity(encoder, reference, sizes[:PARITY_DOCUMENTS])
    speed = len(ids) / seconds
    if profile is None:
        return ShapeThroughput(shape, lengths, len(sizes), len(ids), speed, cosine)
    families = profile.families(ids, offsets).ns_per_token
    return ShapeThroughput(shape, lengths, len(sizes), len(ids), speed, cosine, speed / profile.chain_tokens_per_s, families)


def parity(encoder: Encoder, reference: Encoder, lengths: np.ndarray) -> float:
    """The smallest cosine of a document's vector with the reference's, around the mean vector: those of random weights are all alike."""
    ids, offsets = _random_ids(lengths)
    expected = reference.encode_token_ids(ids, offsets).astype(np.float64)
    found = encoder.encode_token_ids(ids, offsets).astype(np.float64)
    centre = expected.mean(axis=0)
    found, expected = found - centre, expected - centre
    cosines = np.einsum("be,be->b", found, expected) / (np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1))
    return float(cosines.min())


def _random_ids(lengths: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Flat [T] int32 ids and [B+1] offsets."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.random.default_rng(seed).integers(1000, 30000, int(offsets[-1]), dtype=np.int32), offsets


def _median_seconds(run: Callable[[], object], repeats: int) -> float:
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
