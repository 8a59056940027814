"""Every family at its maximum length on a GPU: how near our vectors in float16 and bfloat16 are to transformers' in float32, beside torch's own in 16 bits.

    python -m tests.bench.gpu_long_accuracy [--families gte,modernbert] [--documents 12]
Published shapes with random weights, drawn as for the reference tests: attention is not uniform, norms are not identities. Each document draws its words
from its own part of the vocabulary, as documents have subjects. One JSON object a row: minimum cosines of the mean-pooled vectors as they are, and around
the mean of all documents, which is stricter; whether all is finite. Exit 1 where float16 as it is falls below 0.9999, or bfloat16 below torch's less 0.0005.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from embermill.encoder.backends import get_ops
from embermill.encoder.device import choose_device
from tests.encoder.families import planned, reference_models
from tests.encoder.families.cases import Case

SHARED = dict(num_hidden_layers=12, num_attention_heads=12, hidden_size=768, intermediate_size=3072)
ROPE = {"full_attention": {"rope_type": "default", "rope_theta": 160000.0}, "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}
MODERN = dict(
    num_hidden_layers=22, intermediate_size=1152, vocab_size=50368, max_position_embeddings=8192, local_attention=128, rope_parameters=ROPE,
    layer_types=["sliding_attention" if layer % 3 else "full_attention" for layer in range(22)],
)  # fmt: skip
DISTIL = dict(dim=768, n_layers=6, n_heads=12, hidden_dim=3072, vocab_size=30522, max_position_embeddings=512)
CASES = {
    "bert": Case("bert", "Bert", SHARED | dict(vocab_size=30522, max_position_embeddings=512), 512),
    "xlm-roberta": Case("xlm-roberta", "XLMRoberta", SHARED | dict(vocab_size=50000, max_position_embeddings=8194, pad_token_id=1, type_vocab_size=1), 8192),
    "camembert": Case("camembert", "Camembert", SHARED | dict(vocab_size=32005, max_position_embeddings=514, pad_token_id=1, type_vocab_size=1), 512),
    "mpnet": Case("mpnet", "MPNet", SHARED | dict(vocab_size=30527, max_position_embeddings=514, pad_token_id=1), 512),
    "distilbert": Case("distilbert", "DistilBert", DISTIL, 512),
    "modernbert": Case("modernbert", "ModernBert", SHARED | MODERN, 8192),
    "nomic_bert": Case(
        "nomic_bert", "NomicBert",
        SHARED | dict(
            vocab_size=30528, max_position_embeddings=2048, type_vocab_size=2, hidden_act="silu",
            rope_parameters={"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 4.0},
        ),
        8192,
    ),
    "gte": Case(
        "gte", "Gte",
        SHARED | dict(
            vocab_size=30528, max_position_embeddings=8192, type_vocab_size=0, hidden_act="gelu",
            rope_parameters={"rope_type": "linear", "rope_theta": 1000000.0, "factor": 2.0 ** (2 / 64)},
        ),
        8192,
    ),
}  # fmt: skip


def documents_of(case: Case, count: int) -> list[list[int]]:
    random = np.random.default_rng(11)
    words = range(case.first_word, int(case.settings["vocab_size"]))
    return [random.choice(random.choice(words, 400, replace=False), case.limit).tolist() for _ in range(count)]


@torch.inference_mode()
def torch_vectors(model: Any, documents: list[list[int]], dtype: torch.dtype) -> np.ndarray:
    """One document at a time; pooled in float32. Tables of frequencies stay in float32, as `from_pretrained` leaves them."""
    model.cuda()
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    found = []
    for document in documents:
        states = model(input_ids=torch.tensor([document], device="cuda")).last_hidden_state[0]
        found.append(torch.nn.functional.normalize(states.float().mean(0), dim=0).cpu().numpy())
    return np.stack(found)


def minimum_cosine(found: np.ndarray, expected: np.ndarray, centre: np.ndarray | float = 0.0) -> float:
    a, b = found.astype(np.float64) - centre, expected.astype(np.float64) - centre
    return round(float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min()), 6)


def row_of(family: str, count: int) -> dict[str, Any]:
    case = CASES[family]
    if not hasattr(transformers, f"{case.architecture}Config"):
        return dict(family=family, passes=True, skipped=f"transformers {transformers.__version__} has no {case.architecture}")
    model, documents = reference_models.make_model(case), documents_of(case, count)
    with tempfile.TemporaryDirectory() as scratch:
        folder = reference_models.save(model, case, Path(scratch))
        bare = reference_models.bare(model)
        expected = torch_vectors(bare, documents, torch.float32)
        found = {name: planned.embeddings(folder, documents, get_ops(choose_device("gpu"), name, 1), "mean") for name in ("float16", "bfloat16")}
    found |= {f"torch {name}": torch_vectors(bare, documents, getattr(torch, name)) for name in ("bfloat16",)}
    centre = expected.astype(np.float64).mean(0)
    plain = {name: minimum_cosine(vectors, expected) for name, vectors in found.items()}
    centred = {name: minimum_cosine(vectors, expected, centre) for name, vectors in found.items()}
    finite = all(bool(np.isfinite(vectors).all()) for vectors in found.values())
    passes = finite and plain["float16"] >= 0.9999 and plain["bfloat16"] >= plain["torch bfloat16"] - 0.0005
    return dict(family=family, tokens=case.limit, documents=count, cosine=plain, around_the_mean=centred, finite=finite, passes=passes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default=",".join(CASES))
    parser.add_argument("--documents", type=int, default=12)
    arguments = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    bad = 0
    for family in arguments.families.split(","):
        row = row_of(family, arguments.documents)
        bad += not row["passes"]
        print(json.dumps(row), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
