"""The real all-mpnet-base-v2 against sentence-transformers on real text: the one family beside BERT whose published weights a package holds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from embermill.encoder import Encoder
from tests.encoder.test_parity_reference import docstrings

pytestmark = [
    pytest.mark.reference,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

MPNET = Path(sys.prefix) / "models" / "all-mpnet-base-v2"  # put there by infra/install_reference.sh
SHORT, OF_ALL_LENGTHS = 1900, 100


def two_thousand() -> list[str]:
    """The shortest docstrings of the standard library, and a hundred of the others up to those that the model cuts: what two cores can embed in minutes."""
    by_length = sorted(docstrings(1_000_000), key=len)
    longer = by_length[SHORT:]
    return by_length[:SHORT] + longer[:: len(longer) // OF_ALL_LENGTHS][:OF_ALL_LENGTHS]


@pytest.mark.skipif(not MPNET.is_dir(), reason=f"{MPNET} is not there: run `make test-reference`")
def test_all_mpnet_on_real_text() -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)  # two would spend more time spinning at barriers than they save wherever another process wants the cores
    texts = two_thousand()
    assert len(texts) == 2000
    with Encoder.from_pretrained(str(MPNET), device="cpu") as encoder:
        ours = encoder.encode(texts)
        assert encoder.max_tokens == 384
    theirs = SentenceTransformer(str(MPNET), device="cpu").encode(texts, batch_size=16)
    assert np.abs(ours - theirs).max() <= 1e-5
    assert (ours.astype(np.float64) * theirs).sum(axis=1).min() >= 0.99999
