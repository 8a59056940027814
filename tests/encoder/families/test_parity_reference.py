"""Every family against transformers, token by token, on random models of odd sizes under the hub's names; lengths around every limit that a family has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embermill.encoder import Encoder, InputError
from tests.encoder.families import planned
from tests.encoder.families.cases import FAMILIES, Case, cases

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
    theirs = reference_models.hidden_states(model, documents)
    ours = planned.hidden_states(folder, documents)
    for length, their, our in zip(case.lengths, theirs, ours, strict=True):
        assert np.abs(our - their).max() <= 1e-4, f"length {length}"
        for one, other in ((our.mean(axis=0), their.mean(axis=0)), (our[0], their[0])):
            assert np.abs(unit(one) - unit(other)).max() <= 1e-5, f"length {length}"
            assert unit(one) @ unit(other) >= 0.99999, f"length {length}"


@pytest.mark.parametrize("case", [cases(family, 1)[0] for family in FAMILIES], ids=lambda case: case.name)
def test_one_token_more_than_the_model_has_positions_is_refused(tmp_path: Path, case: Case) -> None:
    from tests.encoder.families import reference_models

    folder = reference_models.save(reference_models.make_model(case), case, tmp_path)
    with Encoder.from_pretrained(str(folder), device="cpu", threads=1) as encoder:
        assert encoder.description.position_limit == case.limit
        assert np.isfinite(encoder.encode_token_ids([[case.first_word] * case.limit])).all()
        with pytest.raises(InputError, match=str(case.limit)):
            encoder.encode_token_ids([[case.first_word] * (case.limit + 1)])
