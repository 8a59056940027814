"""The families of models that we run, each in a module that is imported when a model of it is opened.

To add one: a module here that offers what family.py says (let it read like its paper), and a line in FAMILIES for each model_type of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from embermill.encoder.models.config_file import ConfigFile
from embermill.encoder.models.family import Family, FamilyConfig
from embermill.encoder.models.refusals import REFUSALS

FAMILIES = {
    "bert": "bert",
    "camembert": "roberta",
    "distilbert": "distilbert",
    "gte": "gte",
    "modernbert": "modernbert",
    "model2vec": "static",
    "mpnet": "mpnet",
    "new": "gte",
    "nomic_bert": "nomic_bert",
    "roberta": "roberta",
    "xlm-roberta": "roberta",
}
"""model_type of a config.json -> module."""


def family_of(model_type: str) -> Family:
    """The module for a model_type of FAMILIES."""
    module: Family = import_module(f"embermill.encoder.models.{FAMILIES[model_type]}")
    return module


def truncation_norm_eps(model_type: str) -> float | None:
    """eps of the LayerNorm that vectors of this family go through before they are cut to fewer dimensions; None: there is none."""
    found: float | None = getattr(family_of(model_type), "TRUNCATION_NORM_EPS", None)
    return found


def read_family_config(values: Mapping[str, Any], path: Path) -> FamilyConfig:
    """A config.json as its family reads it. Raises ModelConfigError for a model_type that we do not run, with the reason, and for what its family refuses."""
    file = ConfigFile(values, path)
    config: FamilyConfig = family_of(_model_type(file)).read_config(file)
    return config


def _model_type(file: ConfigFile) -> str:
    """config.json's model_type, once it is sure that we run it; files of 2019 have only `architectures`, or neither and a BERT's keys."""
    kind, architectures = file.get("model_type"), file.get("architectures") or ["Bert"]
    if kind is None and isinstance(architectures, list) and all(str(name).startswith("Bert") for name in architectures):
        kind = "bert"
    if not isinstance(kind, str):
        raise file.refuse(f"expected a model_type, got {kind!r} with architectures {file.get('architectures')!r}.")
    if kind not in FAMILIES:
        reason = f": {REFUSALS[kind]}" if kind in REFUSALS else ""
        raise file.refuse(f"model_type {kind!r} is not supported{reason}; supported are {', '.join(sorted(FAMILIES))}.")
    return kind
