"""Models on a GPU of which another process holds all but so many bytes: the bits of a free GPU, or a DeviceError with the bytes needed and free.

    python -m tests.bench.gpu_memory [--free 1.2,4,24] [--precision float16]

`before`: the other process holds the memory before the model is opened. `meanwhile`: it takes it between two batches. One JSON object a row;
exit 1 where bits differ or anything else is raised.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cupy as cp
import numpy as np

from embermill.encoder import DeviceError, Encoder
from embermill.encoder.measure.random_model import SHAPES, VOCAB_SIZE, write_random_folder, write_random_model

GB = 1 << 30
LONG = {
    "modernbert-base": dict(
        model_type="modernbert", hidden_size=768, num_hidden_layers=22, num_attention_heads=12, intermediate_size=1152, vocab_size=50368,
        max_position_embeddings=8192,
    ),
    "xlm-roberta-large": dict(
        model_type="xlm-roberta", hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096, vocab_size=250002,
        max_position_embeddings=8194, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1,
    ),
}  # fmt: skip
HOLD = """
import sys, cupy as cp
held, target = [], float(sys.argv[1])
while (spare := cp.cuda.runtime.memGetInfo()[0] - target) > 64 << 20:
    held.append(cp.cuda.runtime.malloc(int(min(spare, 4 << 30))))
print(cp.cuda.runtime.memGetInfo()[0], flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def memory_held(free_bytes: float) -> Iterator[int]:
    """Another process holds all but so many bytes of the GPU. Yields what is free."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(free_bytes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait()


def write_model(name: str, folder: Path) -> int:
    """Returns the tokens of its longest document."""
    if name in SHAPES:
        write_random_model(SHAPES[name], folder)
        return 512
    write_random_folder(LONG[name], folder)
    return 8192


def documents(longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Some 400,000 tokens, of every length up to the longest."""
    random = np.random.default_rng(3)
    lengths = np.concatenate([[longest], random.integers(1, longest, 400_000 // (longest // 2))])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return random.integers(3, VOCAB_SIZE - 1, offsets[-1], dtype=np.int32), offsets


def give_memory_back() -> None:
    cp.get_default_memory_pool().free_all_blocks()
    cp.get_default_pinned_memory_pool().free_all_blocks()


def outcome(folder: str, precision: str, work: tuple[np.ndarray, np.ndarray], expected: bytes, free_bytes: float, meanwhile: bool) -> dict[str, Any]:
    """What happens with so much free; "same bits", "other bits", or the refusal's words."""
    with contextlib.ExitStack() as stack:
        try:
            if not meanwhile:
                stack.enter_context(memory_held(free_bytes))
            with Encoder.from_pretrained(folder, device="gpu", precision=precision) as encoder:
                rows = encoder._ops.max_batch_tokens
                if meanwhile:
                    encoder.encode_token_ids(work[0][: work[1][2]], work[1][:3])
                    stack.enter_context(memory_held(free_bytes))
                found = encoder.encode_token_ids(*work).tobytes()
        except DeviceError as refusal:
            return dict(result="DeviceError", message=str(refusal))
        finally:
            give_memory_back()
    return dict(result="same bits" if found == expected else "other bits", rows_of_a_batch=rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--free", default="1.2,4,24", help="GB")
    parser.add_argument("--precision", default="float16")
    parser.add_argument("--models", default="minilm-l6,bert-large,modernbert-base,xlm-roberta-large")
    arguments = parser.parse_args()
    bad = 0
    for name in arguments.models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            work = documents(write_model(name, Path(folder)))
            with Encoder.from_pretrained(folder, device="gpu", precision=arguments.precision) as encoder:
                expected = encoder.encode_token_ids(*work).tobytes()
            give_memory_back()
            for free in map(float, arguments.free.split(",")):
                for meanwhile in (False, True):
                    found = outcome(folder, arguments.precision, work, expected, free * GB, meanwhile)
                    bad += found["result"] == "other bits"
                    print(json.dumps(dict(model=name, free_gb=free, held="meanwhile" if meanwhile else "before", **found)), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
