"""Families whose tokenizers have no fast way (Unigram, byte-BPE), text in: `tokenizers` alone, the forward pass alone, the whole job (issue 20).

    python -m tests.bench.text_families --unigram FILE --bpe FILE [--models xlmr-base,multilingual-minilm,modernbert-base] [--corpus /dev/shm/pace/mixed]

FILE is a tokenizer.json of at most 50,000 pieces (tests.bench.bench_text.trained makes one of docstrings); models have random weights. The corpus is that of
tests.bench.gpu_pace. One JSON line for each figure, and one a model with the job's share of the slower of the two (bar 0.95).
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from embermill.encoder.measure.random_model import write_random_folder
from tests.bench.gpu_pace import job
from tests.bench.gpu_stream import BATCH_ROWS, DEVICE, PRECISION, batches_of, ids_in, say

LAYERS = {"num_hidden_layers": 12, "num_attention_heads": 12, "hidden_act": "gelu"}
BASE, SMALL = LAYERS | {"hidden_size": 768, "intermediate_size": 3072}, LAYERS | {"hidden_size": 384, "intermediate_size": 1536}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "xlmr-base": ("unigram", BASE | {
        "model_type": "xlm-roberta", "vocab_size": 250002, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "max_position_embeddings": 514, "pad_token_id": 1,
    }),
    "multilingual-minilm": ("unigram", SMALL | {
        "model_type": "bert", "vocab_size": 250037, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "pad_token_id": 0,
    }),
    "modernbert-base": ("bpe", {
        "model_type": "modernbert", "vocab_size": 50368, "hidden_size": 768, "num_hidden_layers": 22, "num_attention_heads": 12, "intermediate_size": 1152,
        "hidden_activation": "gelu", "norm_eps": 1e-5, "norm_bias": False, "attention_bias": False, "mlp_bias": False, "max_position_embeddings": 8192,
        "local_attention": 128, "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0,
    }),
}  # fmt: skip
TOKENIZER_CONFIG = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512}


def folder_of(name: str, file: Path, place: Path) -> Path:
    folder = place / name
    if not folder.exists():
        write_random_folder(CONFIGS[name][1], folder)
        shutil.copy(file, folder / "tokenizer.json")
        (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG), encoding="utf-8")
    return folder


def alone(file: Path, texts: list[str], seconds: float) -> float:
    """Million tokens/s of `tokenizers` on all cores: the best of four sizes of batch, of passes of at least a fourth of the seconds each."""
    from tokenizers import Tokenizer

    library = Tokenizer.from_file(str(file))
    library.enable_truncation(512)
    best = 0.0
    for size in (512, 1024, 4096, BATCH_ROWS):
        tokens, begin = 0, time.perf_counter()
        for part in _around([texts[at : at + size] for at in range(0, len(texts), size)]):
            tokens += sum(map(len, library.encode_batch_fast(part)))
            if (took := time.perf_counter() - begin) > seconds / 4:
                break
        best = max(best, tokens / took / 1e6)
    return best


def _around(parts: list[list[str]]) -> Iterator[list[str]]:
    while True:
        yield from parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unigram", type=Path, required=True)
    parser.add_argument("--bpe", type=Path, required=True)
    parser.add_argument("--models", default=",".join(CONFIGS))
    parser.add_argument("--corpus", type=Path, default=Path("/dev/shm/pace/mixed"))
    parser.add_argument("--files", default="part-0[0-1].parquet")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm/text-families"))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    texts = pq.read_table(sorted(args.corpus.glob("*.parquet"))[0], columns=["text"])["text"].to_pylist()
    by_library: dict[str, float] = {}
    for name in args.models.split(","):
        kind = CONFIGS[name][0]
        file = args.unigram if kind == "unigram" else args.bpe
        if kind not in by_library:
            by_library[kind] = alone(file, texts, args.seconds)
            say(row="tokenizers alone", kind=kind, mtok_s=round(by_library[kind], 3))
        folder = folder_of(name, file, args.folder)
        forward = forward_alone(name, folder, args.corpus, args.seconds)
        stored = job(name, folder, args.corpus, args.files, "exact", args.folder, False, {"partition_text_bytes": 4 << 20})
        share = stored.mtok_s / min(by_library[kind], forward)
        rates = dict(job=stored.mtok_s, tokenizers=by_library[kind], forward=forward)
        say(row="share", model=name, share=round(share, 3), **{way: round(rate, 3) for way, rate in rates.items()})


def forward_alone(name: str, folder: Path, corpus: Path, seconds: float) -> float:
    from embermill.encoder import Encoder

    with Encoder.from_pretrained(folder, device=DEVICE, precision=PRECISION) as encoder:
        encoder.encode(["warm"] * 64)
        return ids_in(name, encoder, corpus.name, batches_of(corpus), seconds)


if __name__ == "__main__":
    main()
