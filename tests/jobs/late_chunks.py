"""A small model whose windows hold several chunks, a corpus for it, and a job with `chunk.pooling: late`."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.config import JobConfig
from embermill.jobs.engine.native import NativeEngine
from tests.encoder.tiny_bert import WORDS, TinyBert, write_sentence_transformers
from tests.jobs.sync.corpus import Row, settings_of

BERT = TinyBert(layers=1, positions=100)
WINDOW, CHUNK = 90, 22


def write_model(folder: Path, **options: Any) -> Path:
    return write_sentence_transformers(BERT.write(folder), BERT.hidden, **options)


def prose(seed: int, words: int) -> str:
    chosen = random.Random(seed)
    known = [word for word in WORDS if word.isalpha()]
    return " ".join(chosen.choice(known) + chosen.choice(["", "", "", "", "", ".", ".\n", ".\n\n"]) for _ in range(words))


def documents(count: int, words: int = 260, first: int = 0) -> list[Row]:
    return [{"id": f"d{number}", "text": prose(number, words), "lang": "en"} for number in range(first, first + count)]


def given_to(root: Path, where: str = "out", /, **sections: dict[str, Any]) -> dict[str, dict[str, Any]]:
    values: dict[str, dict[str, Any]] = {
        "model": {"engine": "native", "source": str(root / "model"), "on_long_text": "split", "max_tokens": WINDOW},
        "chunk": {"pooling": "late", "max_tokens": CHUNK, "keep_text": True},
        "corpus": {"complete": True, "max_deleted_share": 0.9, "partition_text_bytes": 4000}, "output": {"shard_bytes": 8000, "lease_s": 2},
        "workers": {"device": "cpu"},
    }  # fmt: skip
    found = settings_of(root, where)
    for values_of in (values, sections):
        for name, section in values_of.items():
            found[name] = found.get(name, {}) | section
    return found


def settings(root: Path, where: str = "out", /, **sections: dict[str, Any]) -> JobConfig:
    return JobConfig.model_validate(given_to(root, where, **sections))


class Told:
    """Windows that the engine read, each with the spans that were wanted of it."""

    def __init__(self) -> None:
        self.windows: list[tuple[str, list[tuple[int, int]]]] = []

    def taken(self) -> list[tuple[str, list[tuple[int, int]]]]:
        found, self.windows = self.windows, []
        return found


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    kept, embed = Told(), NativeEngine.embed_spans

    def telling(engine: NativeEngine, batches: Any) -> Iterator[Any]:
        def each() -> Iterator[Sequence[Any]]:
            for batch in batches:
                kept.windows += batch
                yield batch

        return embed(engine, each())

    monkeypatch.setattr(NativeEngine, "embed_spans", telling)
    return kept
