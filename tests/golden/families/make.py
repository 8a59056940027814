"""Makes the golden files beside it: a tiny model of every family as transformers saves it, and the vectors that transformers computes from it in float64.

    PYTHONPATH=. .venv-reference/bin/python tests/golden/families/make.py

Needs the reference environment (make test-reference). Each folder holds config.json and model.safetensors under the hub's names, and vectors.npz:
token ids of documents of the lengths that decide something, one after another (`ids`, `offsets`), and for each document the normalised mean and the
normalised first row of the hidden states (`mean`, `cls`).
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np

from tests.encoder.families.cases import LENGTHS, Case, Settings
from tests.encoder.families.reference_models import hidden_states, make_model, save
from tests.encoder.families.static_folders import VOCABULARY, write_model2vec

HERE = Path(__file__).parent
HEADS, HEAD_DIM, LIMIT = 2, 8, 133
COMMON: Settings = {
    "hidden_size": HEADS * HEAD_DIM, "num_hidden_layers": 2, "num_attention_heads": HEADS, "intermediate_size": 29, "vocab_size": 53, "hidden_act": "gelu",
}  # fmt: skip
ROPE = {"full_attention": {"rope_type": "default", "rope_theta": 160000.0}, "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}


def roberta_like(family: str, architecture: str, eps: float) -> Case:
    settings = COMMON | {"max_position_embeddings": LIMIT + 2, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": eps}
    return Case(family, architecture, settings, LIMIT)


def modernbert() -> Case:
    settings = {key: value for key, value in COMMON.items() if key != "hidden_act"} | SPECIAL
    settings |= {"num_hidden_layers": 4, "max_position_embeddings": LIMIT, "hidden_activation": "gelu", "local_attention": 128, "rope_parameters": ROPE}
    return Case("modernbert", "ModernBert", settings, LIMIT, seed=5)  # of the first six the one whose vectors float32 rounds least


def gte() -> Case:
    rope = {"rope_type": "linear", "rope_theta": 160000.0, "factor": 8.0 ** (2 / HEAD_DIM)}
    settings = COMMON | {"max_position_embeddings": LIMIT, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-12, "rope_parameters": rope}
    hub = {
        "model_type": "new", "architectures": ["NewModel"], "rope_parameters": None, "rope_theta": 20000.0, "rope_scaling": {"type": "ntk", "factor": 8.0},
        "position_embedding_type": "rope", "pack_qkv": True, "auto_map": {"AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel"},
    }  # fmt: skip
    return Case("gte", "Gte", settings, LIMIT, rewritten=hub)


def nomic_bert() -> Case:
    rope = {"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 2.0}
    settings = COMMON | {"max_position_embeddings": 88, "type_vocab_size": 2, "pad_token_id": 0, "layer_norm_eps": 1e-12, "hidden_act": "silu"}
    return Case("nomic_bert", "NomicBert", settings | {"rope_parameters": rope}, LIMIT)


CASES = [
    Case("bert", "Bert", COMMON | {"max_position_embeddings": LIMIT, "type_vocab_size": 2, "pad_token_id": 0, "layer_norm_eps": 1e-12}, LIMIT),
    roberta_like("roberta", "Roberta", 1e-5),
    roberta_like("xlm-roberta", "XLMRoberta", 1e-5),
    roberta_like("camembert", "Camembert", 1e-5),
    Case("mpnet", "MPNet", COMMON | {"max_position_embeddings": LIMIT + 2, "pad_token_id": 1, "layer_norm_eps": 1e-5}, LIMIT),
    Case(
        "distilbert", "DistilBert",
        {"dim": 16, "n_layers": 2, "n_heads": HEADS, "hidden_dim": 29, "vocab_size": 53, "max_position_embeddings": LIMIT, "pad_token_id": 0}, LIMIT,
    ),
    nomic_bert(),
    modernbert(),
    gte(),
]  # fmt: skip


def make_model2vec() -> None:
    """Its vectors are those of sentence-transformers, which reads such folders as a StaticEmbedding."""
    import torch
    from sentence_transformers import SentenceTransformer

    folder = HERE / "model2vec"
    shutil.rmtree(folder, ignore_errors=True)
    write_model2vec(folder)
    random = np.random.default_rng(7)
    documents = [random.integers(0, len(VOCABULARY), length).tolist() for length in LENGTHS]
    ids, offsets = flat(documents)
    with torch.no_grad():
        rows = SentenceTransformer(str(folder), device="cpu")[0].embedding.double()(torch.tensor(ids), torch.tensor(offsets[:-1])).numpy()
    for name in ("tokenizer.json", "modules.json"):
        (folder / name).unlink()
    np.savez_compressed(folder / "vectors.npz", ids=ids, offsets=offsets, mean=unit(rows))


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def flat(documents: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([np.array(document, np.int32) for document in documents]), np.cumsum([0, *map(len, documents)])


def make(case: Case) -> None:
    folder = HERE / case.family
    shutil.rmtree(folder, ignore_errors=True)
    model = make_model(case)
    save(model, case, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.pop("transformers_version", None)
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "generation_config.json").unlink(missing_ok=True)
    documents = case.documents()
    found = hidden_states(model.double(), documents)
    rows = {"mean": np.stack([x.mean(axis=0) for x in found]), "cls": np.stack([x[0] for x in found])}
    ids, offsets = flat(documents)
    np.savez_compressed(folder / "vectors.npz", ids=ids, offsets=offsets, **{kind: unit(x) for kind, x in rows.items()})
    print(case.family, sum(file.stat().st_size for file in folder.iterdir()), "bytes")


if __name__ == "__main__":
    if not sys.argv[1:] or "model2vec" in sys.argv[1:]:
        make_model2vec()
    for case in CASES:
        if not sys.argv[1:] or case.family in sys.argv[1:]:
            make(case)
