"""What a user would pick instead on a CPU: sentence-transformers (torch, float32 or bfloat16) or ONNX Runtime (float32 or dynamic int8). Text in, vectors out.

    python peers_cpu.py PEER MODEL_DIR TEXTS --threads 2        PEER: sentence-transformers | onnxruntime

Loads, then waits: each line on standard input makes it embed all texts once and print one JSON line {"s": wall, "cpu_s": processor time}, so that
bench_cpu.py can let it take turns with others. Needs torch (CPU build) and sentence-transformers, or torch, transformers, onnx and onnxruntime.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

Encode = Callable[[Sequence[str]], np.ndarray]
BATCH = 32  # sentence-transformers' default


def read_texts(path: Path) -> list[str]:
    """JSONL with a "text" in every object, or a document a line."""
    lines = path.read_text("utf-8").split("\n")
    return [json.loads(line)["text"] if path.suffix == ".jsonl" else line for line in lines if line]


def serve(encode: Encode, texts: Sequence[str], vectors: Path | None) -> None:
    """One timed run for each line that comes in; the first, untimed, warms up and leaves its vectors."""
    made = encode(texts)
    if vectors is not None:
        np.save(vectors, made)
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        started, processor = time.perf_counter(), time.process_time()
        encode(texts)
        print(json.dumps({"s": time.perf_counter() - started, "cpu_s": time.process_time() - processor}), flush=True)


def sentence_transformers(model_dir: str, threads: int, precision: str) -> Encode:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    model = SentenceTransformer(model_dir, device="cpu")
    if precision == "bfloat16":
        model = model.bfloat16()
    return lambda texts: model.encode(list(texts), batch_size=BATCH, show_progress_bar=False, convert_to_numpy=False, convert_to_tensor=True).float().numpy()


def onnxruntime(model_dir: str, threads: int, precision: str) -> Encode:
    """The transformer exported as it is; texts sorted by length and padded per batch, mean pooling and L2 in NumPy: as fastembed does it."""
    import onnxruntime as ort
    from tokenizers import Tokenizer

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    model = quantized(exported(model_dir)) if precision == "int8" else exported(model_dir)
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    limit = json.loads(Path(model_dir, "sentence_bert_config.json").read_text())["max_seq_length"]
    tokenizer = Tokenizer.from_file(f"{model_dir}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit)

    def encode(texts: Sequence[str]) -> np.ndarray:
        encoded = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
        order = sorted(range(len(encoded)), key=lambda i: -len(encoded[i]))
        vectors: list[np.ndarray] = [np.empty(0)] * len(encoded)
        for first in range(0, len(order), BATCH):
            rows = order[first : first + BATCH]
            ids = np.zeros((len(rows), len(encoded[rows[0]])), np.int64)
            for row, document in zip(ids, rows, strict=True):
                row[: len(encoded[document])] = encoded[document]
            mask = np.arange(ids.shape[1]) < np.array([len(encoded[document]) for document in rows])[:, None]
            hidden = session.run(None, {"ids": ids, "mask": mask.astype(np.int64)})[0]
            pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
            pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
            for document, vector in zip(rows, pooled, strict=True):
                vectors[document] = vector
        return np.stack(vectors).astype(np.float32)

    return encode


def quantized(path: str) -> str:
    """Dynamic int8, as ONNX Runtime's own tool makes it by default."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    smaller = path.replace(".onnx", ".int8.onnx")
    quantize_dynamic(path, smaller, weight_type=QuantType.QInt8)
    return smaller


def exported(model_dir: str) -> str:
    import torch
    from transformers import AutoModel

    class LastHidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = AutoModel.from_pretrained(model_dir)

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            hidden: torch.Tensor = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
            return hidden

    path = str(Path(tempfile.mkdtemp()) / "model.onnx")
    example = torch.ones(2, 8, dtype=torch.long)
    axes = {name: {0: "batch", 1: "tokens"} for name in ("ids", "mask", "hidden")}
    torch.onnx.export(LastHidden().eval(), (example, example), path, input_names=["ids", "mask"], output_names=["hidden"], dynamic_axes=axes, dynamo=False)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=["sentence-transformers", "onnxruntime"])
    parser.add_argument("model_dir")
    parser.add_argument("texts", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["float32", "bfloat16", "int8"], default="float32")
    parser.add_argument("--part", type=int, nargs=2, default=[0, 1], metavar=("I", "N"), help="every N-th text from the I-th on")
    parser.add_argument("--vectors", type=Path, help="save what was computed here (.npy)")
    args = parser.parse_args()
    load = sentence_transformers if args.peer == "sentence-transformers" else onnxruntime
    serve(load(args.model_dir, args.threads, args.precision), read_texts(args.texts)[args.part[0] :: args.part[1]], args.vectors)


if __name__ == "__main__":
    main()
