"""What `convert` writes, in the eyes of real Burn and in our own."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from embermill.encoder.errors import EncoderError, WeightsError
from embermill.encoder.weights import open_weights
from embermill.encoder.weights.burn.record import open_burn_record
from embermill.encoder.weights.convert.convert import convert
from embermill.encoder.weights.inspect import inspect
from tests.encoder.weights.burn_files import BERTS, BURNCHECK, BURNCHECK22, FIXTURES, burn_dump

BERT = FIXTURES / "bert"
# target's name -> what convert is told; names without a dot before the suffix, since Burn replaces everything behind one
FULL: dict[str, dict[str, Any]] = {
    "plain.mpk": {},
    "packed.mpk.gz": {},
    "a64.mpk": {"align": 64},
    "a256.mpk": {"align": 256},
    "a4096.mpk": {"align": 4096},
    "pack.bpk": {},
}
HALF = ("half.mpk", "half.bpk")


def burn_save(kind: str, config: Path, source: Path, target: Path) -> Path:
    """Burn's own half-precision file of `source`."""
    subprocess.run([BURNCHECK, "save", kind, config, source, target, "half"], check=True, capture_output=True)
    return target


def check_in_burn(kind: str, config: Path, source: Path, reference: Path, folder: Path) -> None:
    """Burn prints of whatever we make of `source` what it prints of `reference`, the same model in a file that we did not write."""
    expected = burn_dump(kind, config, reference)
    assert expected
    for name, arguments in FULL.items():
        convert(source, folder / name, mapping=kind, **arguments)
        assert burn_dump(kind, config, folder / name) == expected, name
    (folder / "burn").mkdir()
    for name in HALF:
        convert(source, folder / name, mapping=kind, precision="half")
        burns_own = burn_save(kind, config, reference, folder / "burn" / name)
        assert burn_dump(kind, config, folder / name) == burn_dump(kind, config, burns_own), name
    burns_full = folder / "burn" / "pack.bpk"
    subprocess.run([BURNCHECK, "save", kind, config, reference, burns_full], check=True, capture_output=True)
    for name in ("pack.bpk", "half.bpk"):
        assert burn_dump(kind, config, folder / name, BURNCHECK22) == burn_dump(kind, config, folder / "burn" / name, BURNCHECK22)


def in_burn(*cases: object) -> pytest.MarkDecorator:
    """The cases of a test that needs real Burn; one that is skipped, where Burn is not here."""
    here = cases if BURNCHECK.is_file() else (None,)
    return pytest.mark.parametrize("case", [pytest.param(case, id=str(case), marks=pytest.mark.shared) for case in here])


@in_burn(*product(BERTS, ("bert", "minilm", "st")))
def test_burn_loads_what_we_make_of_hugging_face(tmp_path: Path, case: tuple[str, str]) -> None:
    model, mapping = case
    source = BERT / model / "model.safetensors"
    check_in_burn(mapping, BERT / model / "config.json", source, source, tmp_path)


@in_burn(*product(BERTS, ("mpk", "bpk")))
def test_burn_loads_what_we_make_of_its_masked_models(tmp_path: Path, case: tuple[str, str]) -> None:
    model, suffix = case
    source = BERT / model / f"masked_lm.{suffix}"
    config = BERT / model / "config.json"
    check_in_burn("masked", config, source, source, tmp_path)
    convert(source, tmp_path / "model.safetensors")
    assert burn_dump("masked", config, tmp_path / "model.safetensors") == burn_dump("masked", config, source)


@in_burn(*BERTS)
def test_burn_loads_what_we_make_of_its_safetensors(tmp_path: Path, case: str) -> None:
    folder = BERT / case
    check_in_burn("bert", folder / "config.json", folder / "burn.safetensors", folder / "model.safetensors", tmp_path)


@pytest.mark.parametrize("model", BERTS)
@pytest.mark.parametrize("stem", ["bert", "bert_half", "minilm", "minilm_half", "sentence_transformers_burn", "sentence_transformers_burn_half", "masked_lm"])
def test_burns_records_come_out_byte_for_byte(tmp_path: Path, model: str, stem: str) -> None:
    """Same ids, same bytes: Burn 0.21's own file is the expectation."""
    source = BERT / model / f"{stem}.mpk"
    convert(source, tmp_path / "again.mpk")
    assert (tmp_path / "again.mpk").read_bytes() == source.read_bytes()
    convert(source, tmp_path / "again.bpk")
    convert(tmp_path / "again.bpk", tmp_path / "back.mpk", mapping="minilm" if stem.startswith("minilm") else None)
    assert (tmp_path / "back.mpk").read_bytes() == source.read_bytes(), "ids are kept between record and burnpack"


@pytest.mark.parametrize("name", ["bert.bpk", "bert_half.bpk", "masked_lm.bpk", "sentence_transformers_burn.bpk"])
def test_burns_burnpacks_come_out_byte_for_byte(tmp_path: Path, name: str) -> None:
    source = BERT / BERTS[0] / name
    convert(source, tmp_path / "again.bpk")
    assert (tmp_path / "again.bpk").read_bytes() == source.read_bytes()


def test_gzip_is_burns_bytes_once_decompressed_and_always_the_same(tmp_path: Path) -> None:
    source = BERT / BERTS[0] / "bert.mpk.gz"
    for name in ("one.mpk.gz", "two.mpk.gz"):
        convert(source, tmp_path / name)
    assert gzip.decompress((tmp_path / "one.mpk.gz").read_bytes()) == gzip.decompress(source.read_bytes())
    assert (tmp_path / "one.mpk.gz").read_bytes() == (tmp_path / "two.mpk.gz").read_bytes()


@pytest.mark.parametrize("era", ["0.8/bert_full.mpk.gz", "0.13/bert_full.mpk", "0.13/bert_half.mpk"])
def test_old_eras_become_todays(tmp_path: Path, era: str) -> None:
    source = FIXTURES / "era" / era
    report = convert(source, tmp_path / "new.mpk")
    old, new = open_burn_record(str(source)), open_burn_record(str(tmp_path / "new.mpk"))
    assert report.mapping == "bert" and set(old.tensors) == set(new.tensors)
    assert new.metadata["settings"] == ("HalfPrecisionSettings" if "half" in era else "FullPrecisionSettings")
    for name in old.tensors:
        np.testing.assert_array_equal(old.read(name), new.read(name))
        assert len(new.tensors[name].id or "") == 13
    convert(source, tmp_path / "again.mpk")
    assert (tmp_path / "again.mpk").read_bytes() == (tmp_path / "new.mpk").read_bytes()


def test_to_safetensors_is_what_the_library_writes(tmp_path: Path) -> None:
    source = BERT / BERTS[0] / "model.safetensors"
    convert(source, tmp_path / "a.mpk")
    convert(tmp_path / "a.mpk", tmp_path / "a.safetensors")
    save_file(load_file(source), tmp_path / "library.safetensors", {"format": "pt"})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "library.safetensors").read_bytes()


def test_masked_to_safetensors_has_bert_and_its_head(tmp_path: Path) -> None:
    convert(BERT / BERTS[1] / "masked_lm.mpk", tmp_path / "m.safetensors")
    with safe_open(tmp_path / "m.safetensors", "np") as file:
        names = set(file.keys())
        assert file.get_slice("lm_head.decoder.weight").get_shape() == [61, 24]
    assert {name for name in names if name.startswith("lm_head.")} == {
        f"lm_head.{part}.{kind}" for part in ("dense", "layer_norm", "decoder") for kind in ("weight", "bias")
    }
    assert all(name.startswith(("bert.", "lm_head.")) for name in names)
    assert inspect(tmp_path / "m.safetensors")["architecture"] == "masked"
    convert(tmp_path / "m.safetensors", tmp_path / "m.mpk")
    assert inspect(tmp_path / "m.mpk")["architecture"] == "masked"


def test_a_masked_checkpoint_of_transformers_brings_its_head_and_ties_what_is_left_out(tmp_path: Path) -> None:
    tensors = load_file(BERT / BERTS[0] / "model.safetensors")
    e, v = 32, 97
    head = {"transform.dense.weight": (e, e), "transform.dense.bias": (e,), "transform.LayerNorm.gamma": (e,), "transform.LayerNorm.beta": (e,), "bias": (v,)}
    rng = np.random.default_rng(3)
    tensors = {f"bert.{name}": array for name, array in tensors.items()} | {
        f"cls.predictions.{name}": rng.random(shape, np.float32) for name, shape in head.items()
    }
    tensors["cls.seq_relationship.weight"] = rng.random((2, e), np.float32)
    save_file(tensors, tmp_path / "mlm.safetensors")
    report = convert(tmp_path / "mlm.safetensors", tmp_path / "mlm.mpk", mapping="masked")
    assert report.dropped == ("cls.seq_relationship.weight",)
    record = open_burn_record(str(tmp_path / "mlm.mpk"))
    np.testing.assert_array_equal(record.read("lm_head.decoder.weight"), tensors["bert.embeddings.word_embeddings.weight"].T)
    np.testing.assert_array_equal(record.read("lm_head.dense.weight"), tensors["cls.predictions.transform.dense.weight"].T)
    np.testing.assert_array_equal(record.read("lm_head.layer_norm.gamma"), tensors["cls.predictions.transform.LayerNorm.gamma"])
    plain = convert(tmp_path / "mlm.safetensors", tmp_path / "plain.mpk")
    assert plain.mapping == "bert" and len(plain.dropped) == 6


def test_what_is_dropped_is_listed_and_what_is_missing_is_an_error(tmp_path: Path) -> None:
    folder = BERT / BERTS[0]
    report = convert(folder / "bert.mpk", tmp_path / "m.bpk", mapping="minilm")
    assert report.dropped == ("pooler.dense.weight", "pooler.dense.bias")
    assert "dropped pooler.dense.weight, pooler.dense.bias" in str(report)
    with pytest.raises(WeightsError, match=r"lacks 6 parameters.*lm_head\.dense\.weight.*lm_head\.decoder\.bias"):
        convert(folder / "bert.mpk", tmp_path / "x.mpk", mapping="masked")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.bpk"]
    tensors = load_file(folder / "model.safetensors")
    for gone in ("encoder.layer.1.output.dense.weight", "embeddings.LayerNorm.bias"):
        del tensors[gone]
    save_file(tensors, tmp_path / "holes.safetensors")
    with pytest.raises(WeightsError, match=r"lacks 2 parameters.*embeddings\.LayerNorm\.bias, encoder\.layer\.1\.output\.dense\.weight"):
        convert(tmp_path / "holes.safetensors", tmp_path / "x.mpk")


def test_half_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    tensors = load_file(BERT / BERTS[0] / "model.safetensors")
    name = "encoder.layer.1.intermediate.dense.weight"
    for value, fits in ((65504.0, True), (-65504.0, True), (65505.0, False), (-70000.0, False), (np.inf, False)):
        tensors[name][3, 4] = value
        save_file(tensors, tmp_path / "big.safetensors")
        if fits:
            convert(tmp_path / "big.safetensors", tmp_path / "half.mpk", precision="half")
            assert open_burn_record(str(tmp_path / "half.mpk")).read("encoder.layers.1.pwff.linear_inner.weight")[4, 3] == value
            (tmp_path / "half.mpk").unlink()
            continue
        with pytest.raises(WeightsError, match=r"65,504") as caught:
            convert(tmp_path / "big.safetensors", tmp_path / "half.mpk", precision="half")
        assert caught.value.tensor == name
        assert not (tmp_path / "half.mpk").exists() and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("dtype", "in_mpk", "in_bpk"), [("F32", "F32", "F32"), ("F16", "F16", "F16"), ("BF16", "F32", "BF16"), ("F64", "F64", "F64")])
def test_precision_is_the_sources_own_unless_told(tmp_path: Path, dtype: str, in_mpk: str, in_bpk: str) -> None:
    numpy_type = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "F64": np.float64}[dtype]
    tensors = {name: array.astype(numpy_type) for name, array in load_file(BERT / BERTS[1] / "model.safetensors").items()}
    save_file(tensors, tmp_path / "s.safetensors")
    for target, expected in (("x.mpk", in_mpk), ("x.bpk", in_bpk), ("x.safetensors", dtype)):
        convert(tmp_path / "s.safetensors", tmp_path / target)
        assert {row["dtype"] for row in inspect(tmp_path / target)["tensors"]} == {expected}
    settings = {"F16": "HalfPrecisionSettings", "F64": "DoublePrecisionSettings"}.get(dtype, "FullPrecisionSettings")
    assert inspect(tmp_path / "x.mpk")["metadata"]["settings"] == settings
    convert(tmp_path / "s.safetensors", tmp_path / "full.bpk", precision="full")
    assert {row["dtype"] for row in inspect(tmp_path / "full.bpk")["tensors"]} == {"F32"}


def test_config_beside_the_source_must_fit(tmp_path: Path) -> None:
    shutil.copy(BERT / BERTS[0] / "bert.mpk", tmp_path / "model.mpk")
    shutil.copy(BERT / BERTS[1] / "config.json", tmp_path / "config.json")
    with pytest.raises(WeightsError, match=r"vocab_size is 61 there, 97 in the tensors.*num_hidden_layers is 1 there, 2"):
        convert(tmp_path / "model.mpk", tmp_path / "x.bpk")


def test_shapes_that_do_not_fit_together_are_listed(tmp_path: Path) -> None:
    tensors = load_file(BERT / BERTS[0] / "model.safetensors")
    name = "encoder.layer.0.output.dense.weight"
    tensors[name] = np.ascontiguousarray(tensors[name].T)
    save_file(tensors, tmp_path / "s.safetensors")
    with pytest.raises(WeightsError, match=r"encoder\.layer\.0\.output\.dense\.weight \[72, 32\] instead of \[32, 72\]"):
        convert(tmp_path / "s.safetensors", tmp_path / "x.mpk")


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A sentence-transformers folder as people have them: a Dense module with weights of its own, a second copy of the weights, exports."""
    folder = tmp_path / "model"
    shutil.copytree(BERT / BERTS[0], folder, ignore=shutil.ignore_patterns("*.mpk*", "*.bpk", "burn*"))
    files = {
        "modules.json": json.dumps([{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}, {"idx": 1, "path": "1_Pooling"}]),
        "tokenizer.json": "{}",
        "1_Pooling/config.json": "{}",
        "2_Dense/model.safetensors": "dense weights",
        "pytorch_model.bin": "the same again",
        "onnx/model.onnx": "an export",
        ".cache/huggingface": "bookkeeping",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.mark.parametrize("to", ["mpk", "mpk.gz", "bpk", "safetensors"])
def test_a_folder_goes_along_whole(model_folder: Path, to: str) -> None:
    target = model_folder.parent / "out"
    convert(model_folder, target, to=to)
    files = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert files == {f"model.{to}", "config.json", "ids.json", "modules.json", "tokenizer.json", "1_Pooling/config.json", "2_Dense/model.safetensors"}
    first = (target / f"model.{to}").read_bytes()
    convert(model_folder, target, to=to)
    assert (target / f"model.{to}").read_bytes() == first
    assert sorted(path.name for path in model_folder.parent.iterdir()) == ["model", "out"]


def test_a_folder_with_other_things_in_it_is_left_alone(model_folder: Path) -> None:
    target = model_folder.parent / "out"
    target.mkdir()
    (target / "thesis.docx").write_text("years of work")
    with pytest.raises(EncoderError, match=r"thesis\.docx"):
        convert(model_folder, target, to="mpk")
    assert [path.name for path in target.iterdir()] == ["thesis.docx"]
    assert sorted(path.name for path in model_folder.parent.iterdir()) == ["model", "out"]


def test_weights_in_a_subfolder_stay_there(model_folder: Path) -> None:
    inner = model_folder / "0_Transformer"
    inner.mkdir()
    for name in ("model.safetensors", "config.json"):
        (model_folder / name).rename(inner / name)
    (model_folder / "modules.json").write_text(json.dumps([{"path": "0_Transformer"}]))
    convert(model_folder, model_folder.parent / "out", to="bpk")
    assert (model_folder.parent / "out/0_Transformer/model.bpk").is_file()
    assert inspect(model_folder.parent / "out")["format"] == "bpk"


def test_a_file_from_a_folder_and_a_folder_from_a_file(model_folder: Path) -> None:
    out = model_folder.parent
    convert(model_folder, out / "weights.mpk")
    assert inspect(out / "weights.mpk")["architecture"] == "bert"
    (out / "home").mkdir()
    convert(model_folder / "model.safetensors", out / "home", to="bpk")
    assert sorted(path.name for path in (out / "home").iterdir()) == ["config.json", "model.bpk"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dst": "x"}, "--to safetensors"),
        ({"dst": "x.npz"}, "--to safetensors"),
        ({"dst": "x.bpk", "align": 64}, "always aligns to 256"),
        ({"dst": "x.mpk.gz", "align": 64}, "cannot be mapped"),
        ({"dst": "x.safetensors", "align": 64}, "no gaps"),
        ({"dst": "x.mpk", "align": 100}, "expected one of 64, 256, 4096"),
        ({"dst": "x.mpk", "mapping": "gpt"}, "expected one of bert, minilm, masked, st"),
        ({"dst": "x.mpk", "precision": "quarter"}, "expected one of full, half"),
        ({"dst": "x.mpk", "to": "onnx"}, "expected one of safetensors, mpk"),
    ],
)
def test_arguments_that_make_no_sense(tmp_path: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(EncoderError, match=words):
        convert(BERT / BERTS[0] / "bert.mpk", tmp_path / arguments.pop("dst"), **arguments)
    assert not list(tmp_path.iterdir())


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    convert(BERT / BERTS[0] / "bert.mpk", tmp_path / "x.bpk", precision="half", progress=lambda done, total: seen.append((done, total)))
    assert len({total for _, total in seen}) == 1 and seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_what_cannot_be_read_back_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison is real: a writer that errs leaves nothing behind."""
    import embermill.encoder.weights.burn.burnpack_writer as writer

    honest = writer.raw_bytes  # type: ignore[attr-defined]
    monkeypatch.setattr(writer, "raw_bytes", lambda array: bytes([honest(array)[0] ^ 1]) + bytes(honest(array)[1:]))
    with pytest.raises(WeightsError, match="differs from what was read"):
        convert(BERT / BERTS[0] / "bert.mpk", tmp_path / "x.bpk")
    assert not list(tmp_path.iterdir())


def test_converting_a_file_onto_itself(tmp_path: Path) -> None:
    shutil.copy(BERT / BERTS[0] / "bert.mpk", tmp_path / "b.mpk")
    convert(tmp_path / "b.mpk", tmp_path / "b.mpk", align=256)
    assert open_weights(tmp_path / "b.mpk").tensors
    convert(tmp_path / "b.mpk", tmp_path / "b.mpk")
    assert (tmp_path / "b.mpk").read_bytes() == (BERT / BERTS[0] / "bert.mpk").read_bytes()


def test_a_pipe_is_never_replaced(model_folder: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for source in (model_folder, model_folder / "model.safetensors"):
        with pytest.raises(EncoderError, match="neither a regular file nor a folder"):
            convert(source, pipe, to="bpk")
    assert pipe.is_fifo()


def test_a_target_without_a_name_or_with_the_wrong_suffix(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="expected the name of a file or folder"):
        convert(model_folder, ".", to="mpk")
    with pytest.raises(EncoderError, match="its name says mpk, but bpk was asked for"):
        convert(model_folder, tmp_path / "x.mpk", to="bpk")
    assert not (tmp_path / "x.mpk").exists()
