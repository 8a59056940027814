"""Whole folders against sentence-transformers: prompts, every pooling, Dense, Normalize and truncation, its inputs padded and flattened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embermill.encoder import Encoder
from tests.encoder.families.cases import FAMILIES, Case, cases
from tests.encoder.families.folders import texts, write_tokenizer

pytestmark = [
    pytest.mark.reference,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]


@dataclass(frozen=True)
class Modules:
    """What follows the transformer. dense: width and activation of each Dense module."""

    pooling: str = "mean"
    dense: tuple[tuple[int, str, bool], ...] = ()
    normalize: bool = True
    max_tokens: int | None = None
    prompt: str | None = None
    include_prompt: bool = True

    @property
    def name(self) -> str:
        kinds = [f"dense-{activation}" for _, activation, _ in self.dense] + ["normalize"] * self.normalize
        return "-".join([self.pooling, *kinds, *(["prompt"] if self.prompt else []), *([] if self.include_prompt else ["left-out"])])


EVERY_FAMILY = (
    Modules(prompt="query: the "),
    Modules("cls", dense=((9, "Tanh", True),), max_tokens=64),
    Modules("mean", dense=((13, "ReLU", False), (7, "GELU", True)), normalize=False, prompt="how do i ", include_prompt=False),
)
ONE_FAMILY = (
    *(Modules(kind, normalize=False) for kind in ("max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens")),
    *(Modules(kind, prompt="read the ", include_prompt=False) for kind in ("cls", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens")),
    Modules("weightedmean", prompt="read the "),
    Modules("mean", dense=((11, "Identity", True), (5, "GELU", True))),
)
FOLDERS = [
    *((case, modules) for index, family in enumerate(FAMILIES) for case, modules in zip(cases(family, 8)[index % 4 :], EVERY_FAMILY, strict=False)),
    *((cases("xlm-roberta", 1)[0], modules) for modules in ONE_FAMILY),
]


def sentence_transformer(case: Case, modules: Modules, folder: Path) -> Any:
    """The folder as sentence-transformers saves it, and the model."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Dense, Normalize, Pooling, Transformer
    from torch import manual_seed, nn

    from tests.encoder.families import reference_models

    plain = folder / "plain"
    reference_models.save(reference_models.make_model(case), replace(case, rewritten={}), plain)  # transformers' classes know only their own spelling
    write_tokenizer(case, plain)
    transformer = Transformer(str(plain), max_seq_length=modules.max_tokens or case.limit)
    width = transformer.get_embedding_dimension()
    listed: list[Any] = [transformer, Pooling(width, pooling_mode=modules.pooling, include_prompt=modules.include_prompt)]
    manual_seed(case.seed)
    for out, activation, bias in modules.dense:
        listed.append(Dense(width, out, bias=bias, activation_function=getattr(nn, activation)()))
        width = out
    if modules.normalize:
        listed.append(Normalize())
    model = SentenceTransformer(modules=listed, device="cpu", prompts={"query": modules.prompt} if modules.prompt else None)
    model.save(str(folder / "saved"))
    return model


def encoded_alone(model: Any, text: str, prompt: dict[str, Any]) -> np.ndarray:
    """[1, E]. A short text comes first: a theta that was once stretched stays so until a text comes that needs none."""
    model.encode([""])
    found: np.ndarray = model.encode([text], **prompt)
    return found


def assert_equal(ours: np.ndarray, theirs: np.ndarray, modules: Modules) -> None:
    assert np.abs(ours - theirs).max() <= (1e-5 if modules.normalize else 1e-4)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    filled = lengths > 0
    assert (((ours.astype(np.float64) * theirs).sum(axis=1))[filled] / lengths[filled]).min() >= 0.99999


@pytest.mark.parametrize(("case", "modules"), FOLDERS, ids=lambda value: value.name)
def test_folders_of_sentence_transformers(tmp_path: Path, case: Case, modules: Modules, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.encoder.families.flattening import flatten

    model = sentence_transformer(case, modules, tmp_path)
    prompt: dict[str, Any] = {"prompt_name": "query"} if modules.prompt else {}
    ask: dict[str, Any] = {"prompt": "query"} if modules.prompt else {}
    listed = texts(case)
    with Encoder.from_pretrained(str(tmp_path / "saved"), device="cpu", threads=1, **ask) as encoder:
        ours = encoder.encode(listed)
        assert encoder.max_tokens == (modules.max_tokens or case.limit)
    if case.depends_on_batch:
        assert_equal(ours, np.concatenate([encoded_alone(model, text, prompt) for text in listed]), modules)
        return
    assert_equal(ours, model.encode(listed, **prompt), modules)
    if flatten(model, monkeypatch):
        assert_equal(ours, model.encode(listed, **prompt), modules)
    else:
        assert case.family == "mpnet"
