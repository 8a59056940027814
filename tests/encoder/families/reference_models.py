"""Models of transformers with random weights, saved as the hub has them. Needs torch: for tests marked `reference` and the script of the golden files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.encoder.families.cases import Case


def make_model(case: Case, **changes: Any) -> Any:
    """transformers' model with its head, if it has one, in evaluation mode, its weights drawn so that attention is not uniform and gates not linear."""
    import torch
    import transformers

    config = getattr(transformers, f"{case.architecture}Config")(**case.settings | changes)
    model = getattr(transformers, f"{case.architecture}{case.head or 'Model'}")(config).eval()
    draw_weights(model, torch.Generator().manual_seed(case.seed))
    return model


def draw_weights(model: Any, random: Any) -> None:
    """Norms around 1 and 0; products that keep the size of what comes in, queries and keys half as large again; small embeddings, so that eps counts."""
    import torch
    from torch import nn

    def fill(parameter: Any, std: float, mean: float = 0.0) -> None:
        parameter.copy_(mean + std * torch.randn(parameter.shape, generator=random))

    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.LayerNorm):
                fill(module.weight, 0.2, mean=1.0)
                if module.bias is not None:
                    fill(module.bias, 0.2)
            elif isinstance(module, nn.Embedding):
                fill(module.weight, 1.0 if "relative_attention_bias" in name else 0.05)
            elif isinstance(module, nn.Linear):
                sharp = any(part in name.lower() for part in ("query", "key", "q_lin", "k_lin", "q_proj", "k_proj", "attn.q", "attn.k", "wqkv"))
                fill(module.weight, (1.5 if sharp else 1.0) * module.in_features**-0.5)
                if module.bias is not None:
                    fill(module.bias, 0.2)
        model.tie_weights()


def bare(model: Any) -> Any:
    """The encoder inside a model with a head."""
    return getattr(model, model.base_model_prefix, model)


def save(model: Any, case: Case, folder: Path) -> Path:
    """The folder as the hub has it: the hub's names, and config.json in the spelling of the case."""
    model.save_pretrained(folder)
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | case.rewritten
    file.write_text(json.dumps({key: value for key, value in config.items() if key not in case.rewritten or value is not None}), encoding="utf-8")
    return folder


def hidden_states(model: Any, documents: list[list[int]]) -> list[np.ndarray]:
    """[S, E] of each document, computed alone: nothing is padded, and a length decides nothing but its own document's vectors."""
    import torch

    with torch.no_grad():
        return [bare(model)(input_ids=torch.tensor([document])).last_hidden_state[0].numpy() for document in documents]
