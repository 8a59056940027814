"""A model folder's configuration, frozen: modules.json and the folders that it names; config.json is read by the family (encoder/models).

Two layouts are read: sentence-transformers' (modules.json: a Transformer, a Pooling, then Dense and Normalize modules) and a plain
Hugging Face folder, which means mean pooling and no normalisation, as sentence-transformers itself takes it.
What we cannot honour exactly is a ModelConfigError; nothing is skipped with a shrug.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from embermill.encoder.errors import ModelConfigError
from embermill.encoder.models import read_family_config
from embermill.encoder.models.family import FamilyConfig
from embermill.encoder.ops.base import POOLINGS
from embermill.encoder.prompts import named_prompt, names_of
from embermill.encoder.similarity import SIMILARITIES

STATIC = "model2vec"
"""The model_type of a table of token vectors: what model2vec's config.json says. sentence-transformers' StaticEmbedding has no config.json."""

# sentence-transformers' names for the ways of pooling, in the spelling of 6.x and in the older one of a boolean each.
_POOLING_MODES = {
    "cls": "cls",
    "mean": "mean",
    "max": "max",
    "lasttoken": "last",
    "weightedmean": "weightedmean",
    "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
}
_POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
_DENSE_ACTIVATIONS = {
    "torch.nn.modules.activation.Tanh": "tanh",
    "torch.nn.modules.activation.ReLU": "relu",
    "torch.nn.modules.activation.GELU": "gelu",
    "torch.nn.modules.linear.Identity": None,
}
# Of the Transformer module's own settings: these change nothing at inference here, whatever they say.
_HARMLESS_TRANSFORMER_KEYS = {"max_seq_length", "do_lower_case", "unpad_inputs", "query_length", "document_length"}


SENTENCE_BERT_CONFIG = "sentence_bert_config.json"
# Where sentence-transformers looks for the Transformer module's settings: the first of these files that holds any.
_SETTINGS_FILES = (SENTENCE_BERT_CONFIG, *(f"sentence_{kind}_config.json" for kind in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")))


class DenseConfig(NamedTuple):
    """A Dense module: folder (holding its weights), widths, bias, activation ("tanh", "relu", "gelu" or None)."""

    folder: Path
    in_features: int
    out_features: int
    bias: bool
    activation: str | None


class Normalize(NamedTuple):
    """An L2 normalisation between or after Dense modules."""


class ModelConfig(NamedTuple):
    """Everything that a model folder says about itself. `head`: what follows pooling, in order, the last normalisation included."""

    transformer: FamilyConfig
    transformer_folder: Path  # holds config.json, the tokenizer and the weights
    pooling: str
    include_prompt: bool  # False: the prompt's tokens are left out of pooling
    head: tuple[DenseConfig | Normalize, ...]
    max_seq_length: int | None
    lowercase: bool
    settings_file: Path  # says max_seq_length and lowercase
    prompts: Mapping[str, str]
    default_prompt_name: str | None
    similarity: str  # of embeddings: "cosine", "dot", "euclidean" or "manhattan"
    static: bool = False  # a table of token vectors: tokenizer.json as it is, no special tokens, any length

    @property
    def normalizes(self) -> bool:
        """Whether the model's own last step is L2."""
        return bool(self.head) and isinstance(self.head[-1], Normalize)

    @property
    def dimension(self) -> int:
        """Columns of an embedding before any truncation."""
        widths = [module.out_features for module in self.head if isinstance(module, DenseConfig)]
        return widths[-1] if widths else self.transformer.hidden_size


def read_model_config(folder: Path, pooling: str | None = None) -> ModelConfig:
    """Read a model folder of either layout; `pooling` replaces the model's own. Raises ModelConfigError, naming the file and what in it we cannot honour."""
    if pooling is not None and pooling not in POOLINGS:
        raise ModelConfigError(f"pooling={pooling!r}: expected one of {', '.join(POOLINGS)}.")
    modules_file = folder / "modules.json"
    if not modules_file.is_file() and _is_static(folder):
        return _read_static(folder, folder, (Normalize(),) if _read_object(folder / "config.json").get("normalize") else (), pooling)
    if not modules_file.is_file():
        return ModelConfig(_read_transformer(folder), folder, pooling or "mean", True, (), None, False, folder / SENTENCE_BERT_CONFIG, **_read_prompts(folder))
    modules = [(_class_name(entry, modules_file), folder / entry.get("path", "")) for entry in _read_list(modules_file)]
    kinds = [kind for kind, _ in modules]
    if kinds[:1] == ["StaticEmbedding"]:
        static = read_family_config({"model_type": STATIC}, modules[0][1] / "config.json")
        return _read_static(folder, modules[0][1], _read_head(modules[1:], static.hidden_size, modules_file), pooling)
    if kinds[:2] != ["Transformer", "Pooling"]:
        raise ModelConfigError(f"{modules_file}: expected a Transformer, then a Pooling, then Dense or Normalize modules; got {', '.join(kinds) or 'none'}.")
    transformer_folder, pooling_folder = modules[0][1], modules[1][1]
    transformer = _read_transformer(transformer_folder)
    settings_file, settings = _read_transformer_settings(transformer_folder)
    pooling, include_prompt = _read_pooling(pooling_folder / "config.json", transformer.hidden_size, pooling)
    return ModelConfig(
        transformer,
        transformer_folder,
        pooling,
        include_prompt,
        _read_head(modules[2:], transformer.hidden_size, modules_file),
        settings.get("max_seq_length"),
        bool(settings.get("do_lower_case", False)),
        settings_file,
        **_read_prompts(folder),
    )


def _is_static(folder: Path) -> bool:
    """A folder of model2vec, which needs no modules.json: that only says again what its config.json says."""
    file = folder / "config.json"
    return file.is_file() and _read_object(file).get("model_type") == STATIC


def _read_static(folder: Path, table_folder: Path, head: tuple[DenseConfig | Normalize, ...], pooling: str | None) -> ModelConfig:
    """folder: of the model. table_folder: holds the table and tokenizer.json."""
    if pooling not in (None, "mean"):
        raise ModelConfigError(f"pooling={pooling!r}: a static model is the mean of its tokens' vectors; leave pooling out.")
    static = read_family_config({"model_type": STATIC}, table_folder / "config.json")
    return ModelConfig(static, table_folder, "mean", True, head, None, False, table_folder / SENTENCE_BERT_CONFIG, **_read_prompts(folder), static=True)


def _read_head(modules: list[tuple[str, Path]], width: int, modules_file: Path) -> tuple[DenseConfig | Normalize, ...]:
    head: list[DenseConfig | Normalize] = []
    for kind, folder in modules:
        if kind == "Normalize":
            head.append(Normalize())
        elif kind == "Dense":
            dense = _read_dense(folder)
            if dense.in_features != width:
                raise ModelConfigError(f"{folder / 'config.json'}: in_features is {dense.in_features}, but what comes in has {width} columns.")
            width = dense.out_features
            head.append(dense)
        elif kind != "Dropout":  # the identity at inference
            raise ModelConfigError(f"{modules_file}: a module of type {kind} after Pooling is not supported; supported are Dense, Normalize and Dropout.")
    return tuple(head)


def _class_name(entry: object, file: Path) -> str:
    """The module's class. Only sentence-transformers' own: a model's own Python code is never run."""
    fields = entry if isinstance(entry, dict) else {}
    kind, path = fields.get("type"), fields.get("path", "")
    if not isinstance(kind, str) or not isinstance(path, str) or not _stays_inside(path):
        raise ModelConfigError(f"{file}: expected objects with a type and a path inside the model's folder, got {entry!r}.")
    if not kind.startswith("sentence_transformers."):
        raise ModelConfigError(f"{file}: module type {kind} is code of the model's own, which is never run.")
    return kind.rsplit(".", 1)[1]


def _stays_inside(path: str) -> bool:
    return not Path(path).is_absolute() and ".." not in Path(path).parts


def _read_transformer(folder: Path) -> FamilyConfig:
    file = folder / "config.json"
    if not file.is_file():
        raise ModelConfigError(f"{file}: not there; a model folder holds config.json, the weights and, for text, a tokenizer.")
    return read_family_config(_read_object(file), file)


def _read_transformer_settings(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The file, and what it says: nothing where there is none, and then sentence_bert_config.json is named."""
    found = ((file, raw) for name in _SETTINGS_FILES if (file := folder / name).is_file() and (raw := _read_object(file)))
    file, raw = next(found, (folder / SENTENCE_BERT_CONFIG, {}))
    for key, value in raw.items():
        neutral = key in _HARMLESS_TRANSFORMER_KEYS or not value
        as_usual = (
            (key == "transformer_task" and value == "feature-extraction")
            or (key == "module_output_name" and value == "token_embeddings")
            or (key == "modality_config" and set(value) <= {"text"})
        )
        if not neutral and not as_usual:
            raise ModelConfigError(f"{file}: {key} {value!r} is not supported; leave it out, or pass max_tokens= where it is about length.")
    length = raw.get("max_seq_length")
    if length is not None:
        _positive(raw, "max_seq_length", file)
    return file, raw


def _read_pooling(file: Path, hidden_size: int, override: str | None) -> tuple[str, bool]:
    raw = _read_object(file)
    width = raw.get("embedding_dimension", raw.get("word_embedding_dimension", hidden_size))
    if width != hidden_size:
        raise ModelConfigError(f"{file}: pools {width} columns, but the transformer makes {hidden_size}.")
    include_prompt = bool(raw.get("include_prompt", True))
    if override is not None:
        return override, include_prompt
    if "pooling_mode" in raw:
        given = raw["pooling_mode"]
        modes = [given] if isinstance(given, str) else list(given)
    else:
        modes = [mode for flag, mode in _POOLING_FLAGS.items() if raw.get(flag)] or ["mean"]
    unknown = [key for key, value in raw.items() if key.startswith("pooling_mode_") and key not in _POOLING_FLAGS and value]
    if unknown or len(modes) != 1 or modes[0] not in _POOLING_MODES:
        raise ModelConfigError(
            f"{file}: pooling mode {' + '.join(map(str, modes + unknown))} is not supported; expected one of {', '.join(_POOLING_MODES)}. "
            "pooling= overrides it, at the price of other vectors than the model's."
        )
    return _POOLING_MODES[modes[0]], include_prompt


def _read_dense(folder: Path) -> DenseConfig:
    file = folder / "config.json"
    raw = _read_object(file)
    activation = raw.get("activation_function", "torch.nn.modules.activation.Tanh")
    if activation not in _DENSE_ACTIVATIONS:
        raise ModelConfigError(f"{file}: activation_function {activation} is not supported; supported are {', '.join(_DENSE_ACTIVATIONS)}.")
    for key in ("module_input_name", "module_output_name"):
        if raw.get(key, "sentence_embedding") not in ("sentence_embedding", None):
            raise ModelConfigError(f"{file}: {key} {raw[key]!r} is not supported; expected sentence_embedding.")
    if raw.get("use_residual"):
        raise ModelConfigError(f"{file}: use_residual is not supported.")
    in_features, out_features = _positive(raw, "in_features", file), _positive(raw, "out_features", file)
    return DenseConfig(folder, in_features, out_features, bool(raw.get("bias", True)), _DENSE_ACTIVATIONS[activation])


def _read_prompts(folder: Path) -> dict[str, Any]:
    file = folder / "config_sentence_transformers.json"
    raw = _read_object(file) if file.is_file() else {}
    kind = raw.get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        raise ModelConfigError(f"{file}: a {kind} does not make one dense vector for each text; expected a SentenceTransformer.")
    prompts = raw.get("prompts") or {}
    default = raw.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values() if text is not None):
        raise ModelConfigError(f"{file}: expected prompts as an object of names and texts, got {prompts!r}.")
    prompts = {name: text or "" for name, text in prompts.items()}
    if default is not None and (not isinstance(default, str) or named_prompt(prompts, default) is None):
        raise ModelConfigError(f"{file}: default_prompt_name {default!r} is not among the prompts ({names_of(prompts)}).")
    similarity = raw.get("similarity_fn_name") or "cosine"
    if similarity not in SIMILARITIES:
        raise ModelConfigError(f"{file}: similarity_fn_name {similarity!r}: expected one of {', '.join(SIMILARITIES)}.")
    return {"prompts": prompts, "default_prompt_name": default, "similarity": similarity}


def _positive(raw: Mapping[str, Any], key: str, file: Path) -> int:
    value = raw.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ModelConfigError(f"{file}: {key}: expected a positive whole number, got {value!r}.")
    return value


def _read_object(file: Path) -> dict[str, Any]:
    value = _read_json(file)
    if not isinstance(value, dict):
        raise ModelConfigError(f"{file}: expected a JSON object, got {type(value).__name__}.")
    return value


def _read_list(file: Path) -> list[Any]:
    value = _read_json(file)
    if not isinstance(value, list):
        raise ModelConfigError(f"{file}: expected a JSON list of modules, got {type(value).__name__}.")
    return value


def _read_json(file: Path) -> object:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelConfigError(f"{file}: cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise ModelConfigError(f"{file}: not valid JSON: {error}.") from None
