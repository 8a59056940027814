"""From Burn's names to Hugging Face's and back, by the structure found in a file.

A reader sees which of the four layouts a file has; from there on both directions come from that layout alone (burn_layouts.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from embermill.encoder.errors import WeightsError
from embermill.encoder.weights.burn.layouts import LAYOUTS, Place, places
from embermill.encoder.weights.burn.record import BurnRecord
from embermill.encoder.weights.burn.tensor_source import LeafSource
from embermill.encoder.weights.source import RenamedSource, WeightSource

HEAD = "lm_head."  # what only a masked language model has

# Patterns are compiled when first used: a reader needs one of them.
_BURN_QUERY = r"^(bert\.)?encoder\.layers\.(\d+)\.(mha|attention\.self_attention)\.query\.weight$"
_HF_QUERY = r"^encoder\.layer\.(\d+)\.attention\.self\.query\.weight$"
_ONNX = r"^(linear|matmul|gemm|conv\dd|layernormalization|batchnormalization|constant)\d+(\.|$)"
_NORM_ALIAS = r"(LayerNorm|layer_norm)\.(gamma|beta)$"
_BERT_HEAD = (  # transformers' BertForMaskedLM and RobertaForMaskedLM -> the head of Burn's BertMaskedLM
    (r"^cls\.predictions\.transform\.dense\.", f"{HEAD}dense."),
    (r"^cls\.predictions\.transform\.LayerNorm\.", f"{HEAD}layer_norm."),
    (r"^(cls\.predictions|lm_head)\.bias$", f"{HEAD}decoder.bias"),
    (r"^cls\.predictions\.decoder\.", f"{HEAD}decoder."),
)


class Architecture(NamedTuple):
    """A BERT found in a file. mapping: "bert", "minilm", "masked" or "st"; prefix: what comes before Burn's path of the bare model."""

    mapping: str
    num_layers: int
    pooler: bool
    prefix: str = ""

    def places(self) -> dict[str, Place]:
        """The file's path -> Place."""
        found = places(LAYOUTS[self.mapping](self.num_layers, self.pooler))
        return {self.prefix + path: place for path, place in found.items()}


def find_burn_architecture(source: WeightSource) -> Architecture | None:
    """The BERT behind Burn's names, or None. A layout without pooler that is bert's and minilm's alike counts as bert, unless the record's nil fields tell."""
    matches = [match for name in source.tensors if (match := re.match(_BURN_QUERY, name))]
    if not matches:
        return None
    prefix, attention = matches[0][1] or "", matches[0][3]
    num_layers = len({match[2] for match in matches})
    pooler = f"{prefix}pooler.output.weight" in source.tensors
    if prefix and any(name.startswith(HEAD) for name in source.tensors):
        return Architecture("masked", num_layers, pooler)
    if attention != "mha":
        return Architecture("st", num_layers, pooler=False, prefix=prefix)
    return Architecture("minilm" if _is_minilm(source) else "bert", num_layers, pooler, prefix)


def _is_minilm(source: WeightSource) -> bool:
    """True where a record shows by its nil fields that the module has neither bert-burn's pooler nor its constants."""
    item = source.tree["item"] if isinstance(source, BurnRecord) else None
    embeddings = item.get("embeddings") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(embeddings, dict):
        return False
    return "pooler" not in item and not {"pad_token_idx", "max_position_embeddings"} & embeddings.keys()


def is_burn_safetensors(source: WeightSource) -> bool:
    """A SafeTensors file whose producer is Burn and whose names are Burn's paths."""
    return source.format == "safetensors" and source.metadata.get("producer") == "burn" and find_burn_architecture(source) is not None


def to_hugging_face(source: WeightSource) -> WeightSource:
    """`source` under Hugging Face names without prefix, Linear weights as [out, in] (transposed views of what Burn stored).

    A SafeTensors file that Burn did not write is returned as it is. A masked model's head is left out; tensors that the layout does not know
    keep their own names, for the reader to account for. Raises WeightsError for a record that is not a BERT.
    """
    if source.format == "safetensors" and not is_burn_safetensors(source):
        return source
    names = {new: old for new, old in burn_names(source).items() if not new.startswith(HEAD)}
    return RenamedSource(source, names)


def burn_names(source: WeightSource) -> dict[str, tuple[str, bool]]:
    """Hugging Face name without prefix -> (Burn's path, transposed) for every tensor of a Burn file, its own name where the layout has none for it."""
    architecture = find_burn_architecture(source)
    if architecture is None:
        raise _not_a_bert(source)
    known = architecture.places()
    if _from_pytorch_adapter(source, known):
        known = {_adapted(path): Place(place.name) for path, place in known.items()}
    names = {place.name: (path, place.transposed) for path, place in known.items() if path in source.tensors}
    return names | {name: (name, False) for name in source.tensors if name not in known}


def _from_pytorch_adapter(source: WeightSource, known: Iterable[str]) -> bool:
    """Burn's BurnToPyTorchAdapter keeps the paths but writes Linear as [out, in] and calls gamma and beta weight and bias."""
    norms = [path for path in known if path.endswith(".gamma")]
    return source.format == "safetensors" and not any(path in source.tensors for path in norms) and any(_adapted(path) in source.tensors for path in norms)


def _adapted(path: str) -> str:
    return re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", path))


def hugging_face_names(names: Iterable[str]) -> dict[str, str]:
    """Name without prefix, `weight/bias` for `gamma/beta` and Burn's own name for the parts of a head -> the name in the file."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"^(bert|roberta)\.", "", name)
        plain = re.sub(_NORM_ALIAS, lambda match: f"{match[1]}.{'weight' if match[2] == 'gamma' else 'bias'}", plain)
        for pattern, replacement in _BERT_HEAD:
            plain = re.sub(pattern, replacement, plain)
        found[name if plain in found else plain] = name  # a second spelling (a tied bias) keeps its own name
    return found


def find_hugging_face_architecture(names: Iterable[str]) -> Architecture | None:
    """The BERT behind Hugging Face names, or None: masked where Burn's own head is there too (as `convert` writes it), else bert."""
    listed = list(names)
    plain = hugging_face_names(listed)
    layers = {match[1] for name in plain if (match := re.match(_HF_QUERY, name))}
    if not layers:
        return None
    burn_head = f"{HEAD}decoder.weight" in listed and f"{HEAD}dense.weight" in listed
    return Architecture("masked" if burn_head else "bert", len(layers), "pooler.dense.weight" in plain)


def find_architecture(source: WeightSource) -> Architecture | None:
    """The BERT in any file, or None."""
    return find_burn_architecture(source) or (find_hugging_face_architecture(source.tensors) if source.format == "safetensors" else None)


def _not_a_bert(source: WeightSource) -> WeightsError:
    first = next(iter(source.tensors), "")
    offset = source.leaves[first][1].offset if isinstance(source, LeafSource) and first else None
    if any(re.match(_ONNX, name) for name in source.tensors):
        problem = "these are names that burn-import generated from an ONNX graph; they do not say which layer is which, so the file cannot be mapped to BERT"
    else:
        problem = f"expected a BERT as bert-burn, minilm-burn, BertMaskedLM or sentence-transformers-burn nest it, came {len(source.tensors)} other tensors"
    return WeightsError(f"{problem} (`embermill inspect` lists them)", file=source.path, offset=offset, tensor=first)
