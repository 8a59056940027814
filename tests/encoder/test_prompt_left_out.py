"""include_prompt: false: the prompt is fed to the model, and its tokens are left out of pooling."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from embermill.encoder import Encoder
from tests.encoder.plain_bert import hidden_states
from tests.encoder.tiny_bert import TinyBert, write_sentence_transformers

PROMPT, TEXTS = "how do i ", ["open a zip file", "read", ""]
PROMPT_TOKENS = 4  # [CLS] how do i
KINDS = {
    "cls": lambda x: x[0],
    "mean": lambda x: x.mean(axis=0),
    "max": lambda x: x.max(axis=0),
    "last": lambda x: x[-1],
    "weightedmean": lambda x: np.average(x, axis=0, weights=np.arange(PROMPT_TOKENS, PROMPT_TOKENS + len(x)) + 1),
    "mean_sqrt_len_tokens": lambda x: x.sum(axis=0) / len(x) ** 0.5,
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_pooled_begins_behind_the_prompt(tmp_path: Path, kind: str) -> None:
    bert = TinyBert()
    folder = write_sentence_transformers(bert.write(tmp_path), bert.hidden, normalize=False)
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps(json.loads(pooling.read_text()) | {"include_prompt": False}))
    tensors = bert.tensors()
    with Encoder.from_pretrained(str(folder), device="cpu", threads=1, prompt=PROMPT, pooling=kind) as encoder:
        found = encoder.encode(TEXTS)
        ids = [encoder.description.open_tokenizer().tokenize([text]).input_ids.tolist() for text in TEXTS]
        expected = np.stack([KINDS[kind](hidden_states(bert, tensors, document)[PROMPT_TOKENS:]) for document in ids])
        np.testing.assert_allclose(found, expected, atol=2e-5, rtol=0)
        of_ids = encoder.encode_token_ids(ids)  # no prompt was put before them by us
    assert not np.allclose(of_ids, found, atol=1e-3) or kind == "last"
