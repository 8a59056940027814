"""JSON of ours with half a surrogate pair: it could not be written again, so it is damaged."""

from __future__ import annotations

import pytest

from embermill.jobs.bookkeeping.seal import read_json

BEFORE = ("name",)


def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(ValueError, match="half a surrogate pair"):
        read_json(rb'{"name": "\ud801"}', BEFORE)


@pytest.mark.parametrize(("written", "name"), [(rb'"\ud801\udc37"', "\U00010437"), (rb'"C:\\udata"', "C:\\udata")])
def test_a_whole_one_and_a_path_are(written: bytes, name: str) -> None:
    assert read_json(b'{"name": %s}' % written, BEFORE) == {"name": name}
