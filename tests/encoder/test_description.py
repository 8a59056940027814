"""What a model is and how it will be used, from its folder and the options alone; what is none of them is refused at the door."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embermill.encoder import ModelConfigError, SourceError, describe
from tests.encoder.tiny_bert import TinyBert, write_sentence_transformers, write_tokenizer

BERT = TinyBert()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sentence_transformers(BERT.write(tmp_path_factory.mktemp("model")), BERT.hidden, max_seq_length=30)


def test_a_default_prompt_and_a_model_that_pools_without_it(tmp_path: Path) -> None:
    folder = write_sentence_transformers(BERT.write(tmp_path), BERT.hidden, prompts={"d": "the "}, default_prompt="d")
    assert describe(str(folder)).prompt == "the " and describe(str(folder), prompt="").prompt == ""
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text(pooling.read_text().replace("{", '{"include_prompt": false, ', 1))
    without = describe(str(folder))
    assert without.pools_without_prompt and not describe(str(folder), prompt="").pools_without_prompt
    digests = [describe(str(folder), prompt=prompt).fingerprint()["config"] for prompt in ("the ", "")]
    pooling.write_text(pooling.read_text().replace('"include_prompt": false, ', ""))
    assert digests[0] != describe(str(folder)).fingerprint()["config"] == digests[1]


def test_length_limits(tmp_path: Path, folder: Path) -> None:
    plain = BERT.write(tmp_path)
    assert describe(str(plain)).max_tokens == 40  # the positions, since the tokenizer names no limit
    write_tokenizer(plain, BERT.vocab, max_length=25)
    assert describe(str(plain)).max_tokens == 25
    assert describe(str(folder)).max_tokens == 30
    assert describe(str(folder), max_tokens=40).max_tokens == 40
    for wrong in (0, 41):
        with pytest.raises(ModelConfigError, match=f"max_tokens={wrong}: this model has positions for 40 tokens.*: expected 1 to 40"):
            describe(str(folder), max_tokens=wrong)
    write_sentence_transformers(plain, BERT.hidden, max_seq_length=512)
    with pytest.raises(ModelConfigError, match=r"max_seq_length is 512, but .* positions for 40 tokens only; pass max_tokens=40"):
        describe(str(plain))


@pytest.mark.parametrize("source", [None, 3, b"folder", ""])
def test_what_is_no_source(source: Any) -> None:
    with pytest.raises(SourceError, match="expected a folder, a Hugging Face id"):
        describe(source)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": 3}, "weights=3: expected a string, or None for the model's own, got int"),
        ({"prompt": ["a"]}, r"prompt=\['a'\]: expected a string, .* got list"),
        ({"max_tokens": "9"}, "max_tokens='9': expected a whole number, .* got str"),
        ({"max_tokens": 9.0}, "max_tokens=9.0: expected a whole number, .* got float"),
        ({"dimensions": True}, "dimensions=True: expected a whole number, .* got bool"),
        ({"dimensions": -1}, "dimensions=-1: this model makes 30: expected a number from 1 to 30"),
        ({"normalize": "yes"}, "normalize='yes': expected true or false, .* got str"),
        ({"prompt_name": 3}, "prompt_name=3: expected a string, .* got int"),
        ({"prompt_name": "title"}, "prompt_name='title': this model's prompts are: none; give the text itself as prompt="),
        ({"prompt_name": "query", "prompt": "how "}, "prompt='how ' and prompt_name='query' exclude each other"),
    ],
)
def test_options_of_another_type(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelConfigError, match=message):
        describe(str(folder), **options)
    assert describe(str(folder), max_tokens=np.int64(9)).max_tokens == 9  # type: ignore[arg-type]
