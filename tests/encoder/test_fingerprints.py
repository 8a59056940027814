"""A fingerprint is for ever: datasets hold it, and a model whose fingerprint changes is refused by them."""

from __future__ import annotations

import json

from embermill.encoder import EncoderError, describe
from embermill.encoder.models import FAMILIES
from tests.encoder.frozen_fingerprints import FROZEN, fingerprints


def test_fingerprints_are_those_of_21abdb6() -> None:
    frozen = json.loads(FROZEN.read_text(encoding="utf-8"))
    found = fingerprints(describe, EncoderError)
    assert set(found) >= {name for name in frozen if not name.startswith("MiniLM")}
    assert found == {name: frozen[name] for name in found}
    assert len({value["config"] for value in frozen.values() if isinstance(value, dict)}) > 15, "digests that cannot differ would show nothing"


def test_a_family_names_what_enters_the_fingerprint() -> None:
    """Not its configuration class: a field that is added there changes no digest by itself."""
    from embermill.encoder.models.bert import BertConfig

    assert "bert" in FAMILIES
    config = BertConfig("bert", 30, 2, 3, 52, 40, 2, 40, "gelu", 1e-12)

    class Wider(BertConfig):
        new_field = True

    assert Wider(*config).fingerprint() == config.fingerprint()
