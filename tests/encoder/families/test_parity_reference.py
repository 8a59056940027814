"""Every family against transformers, token by token, on random models of odd sizes under the hub's names; lengths around every limit that a family has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embermill.encoder import Encoder, InputError
from tests.encoder.families import planned
from tests.encoder.families.cases import FAMILIES, Case, cases, long_cases

pytestmark = [
    pytest.mark.reference,
    # torch and transformers warn about themselves; this project's own warnings stay errors
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

ALL = [case for family in FAMILIES for case in cases(family)]


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_hidden_states(tmp_path: Path, case: Case) -> None:
    from tests.encoder.families import reference_models

    model = reference_models.make_model(case)
    folder = reference_models.save(model, case, tmp_path)
    documents = case.documents()
    # In float64: of a model four wide transformers' own float32 is up to 5e-5 from it, and which way depends on the processor, as ours does.
    require_equal(planned.hidden_states(folder, documents), reference_models.hidden_states(model.double(), documents))


@pytest.mark.parametrize("case", long_cases(), ids=lambda case: case.name)
def test_hidden_states_at_8192_positions(tmp_path: Path, case: Case) -> None:
    """And at 4,097, where a theta that depends on the length is another."""
    from tests.encoder.families import reference_models

    model = reference_models.make_model(case)
    folder = reference_models.save(model, case, tmp_path)
    ids = np.random.default_rng(case.seed).integers(case.first_word, case.settings["vocab_size"], case.limit).tolist()
    documents = [ids[: case.limit // 2 + 1], ids]  # in this order: in transformers a theta that was once stretched stays so for shorter documents
    require_equal(planned.hidden_states(folder, documents), reference_models.hidden_states(model, documents))


def require_equal(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    """Hidden states [L, E] of documents: within 1e-4, and what is pooled of them within 1e-5 at length 1."""
    for our, their in zip(ours, theirs, strict=True):
        assert np.abs(our - their).max() <= 1e-4, f"length {len(our)}"
        for one, other in ((our.mean(axis=0), their.mean(axis=0)), (our[0], their[0])):
            assert np.abs(unit(one) - unit(other)).max() <= 1e-5, f"length {len(our)}"
            assert unit(one) @ unit(other) >= 0.99999, f"length {len(our)}"


@pytest.mark.parametrize("case", [cases(family, 1)[0] for family in FAMILIES], ids=lambda case: case.name)
def test_one_token_more_than_the_model_has_positions_is_refused(tmp_path: Path, case: Case) -> None:
    from tests.encoder.families import reference_models

    folder = reference_models.save(reference_models.make_model(case), case, tmp_path)
    with Encoder.from_pretrained(str(folder), device="cpu", threads=1) as encoder:
        assert encoder.description.position_limit == case.limit
        assert np.isfinite(encoder.encode_token_ids([[case.first_word] * case.limit])).all()
        with pytest.raises(InputError, match=str(case.limit)):
            encoder.encode_token_ids([[case.first_word] * (case.limit + 1)])
