"""Parameter ids in Burn's spellings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.encoder.weights.burn.burnpack import open_burnpack
from embermill.encoder.weights.burn.ids import derived_id, id_text, id_value
from embermill.encoder.weights.burn.record import open_burn_record
from tests.encoder.weights.burn_files import FIXTURES


def test_burns_own_example() -> None:
    assert id_text(123456) == "83h0200000000"
    assert id_text(1) == "0400000000000"


@given(st.integers(0, (1 << 64) - 1))
def test_text_and_value_are_inverse(value: int) -> None:
    assert id_value(id_text(value)) == value


@pytest.mark.parametrize("text", ["459922a0-c33b-418d-8be7-2a292c59c444", "", "0400000000001", "04000000000000", "j163htdi21", "0400000W00000"])
def test_what_burn_would_not_read_as_an_id(text: str) -> None:
    assert id_value(text) is None


def test_ten_characters_are_six_bytes() -> None:
    value = id_value("j163htdi20")
    assert value is not None and value < 1 << 48


def test_derived_ids_depend_on_the_name_alone() -> None:
    assert derived_id("a.weight") == derived_id("a.weight") != derived_id("b.weight")
    assert derived_id("a.weight") < 1 << 64


def test_burnpack_and_record_spell_the_same_id() -> None:
    """Seen in Burn's own two files of one module: ids of 0.22's burnpack are those of 0.21's."""
    folder = FIXTURES / "bert" / "bert_2x32"
    old, new = open_burnpack(str(folder / "bert.bpk")), open_burnpack(str(folder / "bert_0.22.1.bpk"))
    assert [info.id for info in old.tensors.values()] == [info.id for info in new.tensors.values()]
    assert all(id_value(info.id or "") is not None for info in open_burn_record(str(folder / "bert.mpk")).tensors.values())
