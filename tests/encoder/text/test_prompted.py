"""An encoder whose texts go to processes: the vectors are the same, and the processes end with it."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import numpy as np
import pytest

from embermill.encoder import Encoder, InputError, TokenizerError
from embermill.encoder.machine_cache import machine_cache
from embermill.encoder.measure.random_model import write_random_folder
from embermill.encoder.text import row_processes
from embermill.encoder.text.prompted import PromptedTokenizers
from embermill.encoder.text.tokenizer import Tokenizer
from tests.encoder.text.test_word_cache import hostile, random_unigram

CONFIG = {
    "model_type": "xlm-roberta", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "hidden_act": "gelu",
    "vocab_size": 2000, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "max_position_embeddings": 66, "pad_token_id": 1,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    machine_cache.cache_clear()
    monkeypatch.setattr(row_processes, "FEW_CHARACTERS", 0)
    write_random_folder(CONFIG, tmp_path / "model")
    random_unigram(1).save(str(tmp_path / "model/tokenizer.json"))
    (tmp_path / "model/tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return tmp_path / "model"


def test_it_is_opened_beside_the_weights_and_says_what_is_wrong_with_the_first_text(folder: Path) -> None:
    opened = threading.Event()

    def broken() -> Tokenizer:
        opened.set()
        raise TokenizerError("no such vocabulary")

    tokenizers = PromptedTokenizers("", broken)
    tokenizers.open_ahead()
    assert opened.wait(30)
    with pytest.raises(TokenizerError, match="no such vocabulary"):
        tokenizers()
    with Encoder.from_pretrained(folder, device="cpu", threads=1) as encoder:
        for thread in threading.enumerate():
            if thread.name == "encoder-tokenizer":
                thread.join()
        assert len(encoder._tokenizer) == 1  # before any text


def test_vectors_are_the_same_and_processes_end_with_the_encoder(folder: Path) -> None:
    texts = hostile(random_unigram(1), 3, 20)
    with Encoder.from_pretrained(folder, device="cpu", threads=1) as encoder:
        expected, name = encoder.encode(texts), encoder.tokenizer_name
        encoder.tokenize_beside(2)
        rows = encoder._tokenizer()._rows_of  # type: ignore[union-attr]
        assert isinstance(rows, row_processes.SpreadRows)
        [answer.result() for answer in rows._processes._opened]
        assert encoder.tokenizer_name == encoder.fast_tokenizer_name == f"{name} by words"
        np.testing.assert_array_equal(encoder.encode(texts), expected)
        assert encoder.differing_texts(texts) == []
        encoder.tokenize_exactly()
        assert encoder.tokenizer_name == name
        np.testing.assert_array_equal(encoder.encode(texts), expected)
        pids = rows._processes._processes.pids
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_they_end_with_an_encoder_that_is_dropped(folder: Path) -> None:
    encoder = Encoder.from_pretrained(folder, device="cpu", threads=1)
    encoder.tokenize_beside(1)
    rows = encoder._tokenizer()._rows_of  # type: ignore[union-attr]
    (pid,) = rows._processes._processes.pids  # type: ignore[union-attr]
    del encoder, rows
    gc.collect()
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("count", [0, -1, None, 1.5, True])
def test_a_count_that_is_none_is_refused(folder: Path, count: object) -> None:
    with Encoder.from_pretrained(folder, device="cpu", threads=1) as encoder:
        with pytest.raises(InputError, match="expected a whole number from 1 up"):
            encoder.tokenize_beside(count)  # type: ignore[arg-type]
        assert encoder.encode(["a text"]).shape == (1, 16)
    with pytest.raises(RuntimeError, match="closed"):
        encoder.tokenize_beside(1)
