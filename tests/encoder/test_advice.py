"""What a refusal of the encoder advises, done: it helps."""

from __future__ import annotations

import gzip
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from embermill.encoder import Encoder
from embermill.encoder.backends.cupy import gpu
from embermill.encoder.description import describe
from embermill.encoder.device import choose_device
from embermill.encoder.errors import DeviceError, EncoderError
from embermill.encoder.weights import find_weights, open_weights
from embermill.encoder.weights.convert.convert import convert
from tests.encoder.families.static_folders import write_static_embedding
from tests.encoder.text.test_refused_folders import REFUSED, open_case
from tests.encoder.text.tokenizer_folders import BERT, FAST, ROBERTA, Case
from tests.encoder.tiny_bert import TinyBert, write_json, write_sentence_transformers

TEXTS = ["open a zip file", "read it"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = TinyBert()
    return write_sentence_transformers(model.write(tmp_path / "model"), model.hidden)


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in BERT.items() if name != key}


CORRECTED: dict[str, Case] = {
    "AlbertTokenizerFast": Case("xlm-roberta", "bert", FAST),
    "auto_map": Case("bert", "bert", without("auto_map")),
    "init_inputs": Case("bert", "bert", BERT | {"do_lower_case": True}),
    "fast_tokenizer_files": Case("bert", "bert", without("fast_tokenizer_files")),
    "vocab.txt for PreTrainedTokenizerFast": Case("bert", "bert", BERT, vocabulary="vocab.txt"),
    "cls_token unknown": Case("bert", "bert", BERT | {"cls_token": "[CLS]", "sep_token": "[SEP]"}),
    "unk_token unknown": Case("bert", "bert", BERT | {"unk_token": "[UNK]"}),
    "BPE with suffixes": Case("roberta", "roberta", ROBERTA | {"tokenizer_class": "PreTrainedTokenizerFast"}, edit=REFUSED["BPE with suffixes"][0].edit),
}


@pytest.mark.parametrize("name", CORRECTED)
def test_a_tokenizer_folder_as_the_refusal_wants_it(tmp_path: Path, name: str) -> None:
    case, message = REFUSED[name]
    with pytest.raises(EncoderError, match=message):
        open_case(tmp_path / "refused", case)
    assert len(open_case(tmp_path / "corrected", CORRECTED[name]).tokenize(["open a zip file"]).num_tokens) == 1


def test_what_users_of_sentence_transformers_are_told_to_write(folder: Path) -> None:
    with Encoder.from_pretrained(folder, device="cpu", threads=1, max_tokens=9) as encoder:
        expected = encoder.encode(TEXTS)
        assert encoder.max_tokens == 9 and encoder.dimension == expected.shape[1]
        np.testing.assert_allclose((expected * expected).sum(axis=1), encoder.similarity(expected, expected).diagonal(), rtol=1e-6)
        for made in (encoder.encode_query(TEXTS), encoder.encode_document(TEXTS)):
            np.testing.assert_array_equal(made, expected)
        (batch,) = encoder.encode_stream([TEXTS])
        assert len(batch.num_tokens) == len(batch.num_tokens_dropped) == 2
        np.testing.assert_array_equal(np.packbits(expected > 0, axis=-1).shape, (2, -(-encoder.dimension // 8)))


def test_prompts(folder: Path) -> None:
    write_json(folder / "config_sentence_transformers.json", {"prompts": {"query": "how "}, "default_prompt_name": None})
    refused: list[dict[str, Any]] = [{"prompt_name": "title"}, {"prompt_name": "query", "prompt": "how "}]
    for options in refused:
        with pytest.raises(EncoderError, match="give the text"):
            describe(str(folder), **options)
    assert describe(str(folder), prompt="how ").prompt == describe(str(folder), prompt_name="query").prompt == "how "


def test_a_static_model_has_one_pooling(tmp_path: Path) -> None:
    write_static_embedding(tmp_path / "static")
    with pytest.raises(EncoderError, match="leave pooling out"):
        describe(str(tmp_path / "static"), pooling="cls")
    describe(str(tmp_path / "static"))


@pytest.mark.parametrize("how", ["put back", "loaded here"])
def test_a_pickle_of_another_model(folder: Path, how: str) -> None:
    with Encoder.from_pretrained(folder, device="cpu", threads=1) as encoder:
        pickled, expected = pickle.dumps(encoder), encoder.encode(TEXTS)
    file = folder / "model.safetensors"
    before, tensors = file.read_bytes(), load_file(file)
    tensors["embeddings.LayerNorm.bias"] += 1
    save_file(tensors, file)
    with pytest.raises(EncoderError, match=r"put the same files there, or load the model here with Encoder\.from_pretrained"):
        pickle.loads(pickled)
    if how == "put back":
        file.write_bytes(before)
        with pickle.loads(pickled) as again:
            np.testing.assert_array_equal(again.encode(TEXTS), expected)
    else:
        with Encoder.from_pretrained(folder, device="cpu", threads=1) as other:
            assert not np.array_equal(other.encode(TEXTS), expected)


def test_without_a_gpu_the_cpu_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    with pytest.raises(DeviceError, match="or use device='cpu'"):
        choose_device("gpu")
    with Encoder.from_pretrained(folder, device="cpu", threads=1) as encoder:
        assert encoder.encode(TEXTS).shape == (2, encoder.dimension)


def test_several_weight_files(folder: Path) -> None:
    convert(folder / "model.safetensors", folder / "model.bpk")
    with pytest.raises(EncoderError, match="several weight files"):
        find_weights(folder)
    with pytest.raises(EncoderError, match="name one of them in place of the folder, or move the others away"):
        convert(folder, folder.parent / "x.mpk")
    convert(folder / "model.bpk", folder.parent / "x.mpk")
    (folder / "model.bpk").unlink()
    convert(folder, folder.parent / "y.mpk")
    assert open_weights(folder.parent / "x.mpk").tensors.keys() == open_weights(folder.parent / "y.mpk").tensors.keys()


def test_a_gzip_that_grows_too_much(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert(folder / "model.safetensors", folder.parent / "x.mpk")
    data = (folder.parent / "x.mpk").read_bytes()
    packed = folder.parent / "x.mpk.gz"
    packed.write_bytes(gzip.compress(data))
    monkeypatch.setattr("embermill.encoder.weights.burn.gunzip.GZIP_FREE_BYTES", 100)
    monkeypatch.setattr("embermill.encoder.weights.burn.gunzip.GZIP_RATIO_LIMIT", 1)
    with pytest.raises(EncoderError, match=r"decompress it with gunzip and use the \.mpk"):
        open_weights(packed)
    (folder.parent / "y.mpk").write_bytes(gzip.decompress(packed.read_bytes()))
    assert open_weights(folder.parent / "y.mpk").tensors


def test_places_for_a_copy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder.parent
    (root / "full").mkdir()
    (root / "full/thesis.docx").write_text("years of work")
    os.mkfifo(root / "pipe")
    refused: list[tuple[str | Path, str, str]] = [
        (root / "full", "mpk", "name another or move them away"), (".", "mpk", "name one inside it"), (root / "pipe", "bpk", "name another place"),
        (root / "x.mpk", "bpk", r"name it \.bpk, or leave --to bpk away"),
    ]  # fmt: skip
    monkeypatch.chdir(root)
    for target, to, words in refused:
        with pytest.raises(EncoderError, match=words):
            convert(folder, target, to=to)
    for target, to in ((root / "another", "mpk"), (root / "another-place", "bpk"), (root / "x.bpk", "bpk")):
        convert(folder, target, to=to)
        assert target.exists()
    convert(folder, root / "x.mpk")
    shutil.move(root / "full/thesis.docx", root)
    convert(folder, root / "full", to="mpk")

    def refuse(*_: object, **__: object) -> Callable[..., None]:
        raise PermissionError(13, "Permission denied", str(root / "locked.mpk"))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", refuse)
        with pytest.raises(EncoderError, match="make room or get permission there, or choose another place"):
            convert(folder / "model.safetensors", root / "locked.mpk")
    convert(folder / "model.safetensors", root / "locked.mpk")
