"""Documents that wait for a window: the oldest go first, as many as fit."""

from __future__ import annotations

import hypothesis
import numpy as np
from hypothesis import strategies as st

from embermill.encoder.pipeline.windows import Batch, Documents, WaitingDocuments


@hypothesis.given(st.lists(st.lists(st.integers(1, 9), max_size=6), max_size=8), st.integers(1, 12), st.integers(1, 5))
def test_waiting_documents_come_out_in_order_as_many_as_fit(pieces: list[list[int]], max_tokens: int, max_documents: int) -> None:
    waiting = WaitingDocuments()
    lengths = [length for piece in pieces for length in piece]
    ids = iter(range(sum(lengths)))
    for piece in pieces:
        flat = np.array([next(ids) for _ in range(sum(piece))], np.int32)
        waiting.add(Documents(Batch(), len(piece), flat, np.concatenate([[0], np.cumsum(piece)]).astype(np.int64)))
    came: list[int] = []
    while waiting:
        assert (waiting.num_documents, waiting.num_tokens) == (len(lengths), sum(lengths))
        taken = waiting.take(max_tokens, max_documents)
        count, tokens = sum(part.num_documents for part in taken), sum(part.num_tokens for part in taken)
        assert [int(length) for part in taken for length in np.diff(part.offsets)] == lengths[:count]
        assert count == 1 or (count <= max_documents and tokens <= max_tokens)
        assert count == max_documents or count == len(lengths) or tokens + lengths[count] > max_tokens
        came += [int(token) for part in taken for token in part.input_ids]
        del lengths[:count]
    assert came == list(range(len(came)))
    assert not lengths
