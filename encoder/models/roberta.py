"""RoBERTa (Liu et al., 2019), XLM-RoBERTa and CamemBERT: BERT, but that positions begin after the padding token's.

The n-th token takes row pad_token_id + 1 + n of the position table, so as many rows at its beginning are nobody's. Source of the names: RobertaModel.
"""

from __future__ import annotations

from typing import NamedTuple

from embermill.encoder.models import bert
from embermill.encoder.models.bert import Bert, BertConfig
from embermill.encoder.models.config_file import ConfigFile
from embermill.encoder.ops.base import Ops
from embermill.encoder.weights.loader import NameTable, Parameters

_PREFIXES = ("roberta.",)


class RobertaConfig(NamedTuple):
    """config.json. `bert`: all that is as in a BERT."""

    model_type: str
    bert: BertConfig
    pad_token_id: int

    @property
    def hidden_size(self) -> int:
        return self.bert.hidden_size

    @property
    def vocab_size(self) -> int:
        return self.bert.vocab_size

    @property
    def position_offset(self) -> int:
        """The row of the position table that a document's first token takes."""
        return self.pad_token_id + 1

    @property
    def position_limit(self) -> int:
        return self.bert.max_position_embeddings - self.position_offset

    def fingerprint(self) -> dict[str, object]:
        return self.bert.fingerprint() | {"model_type": self.model_type, "pad_token_id": self.pad_token_id}


def read_config(file: ConfigFile) -> RobertaConfig:
    config = RobertaConfig(str(file.get("model_type")), bert.read_sizes(file), file.natural("pad_token_id", default=1))
    if config.position_limit < 1:
        rows = config.bert.max_position_embeddings
        raise file.refuse(f"max_position_embeddings {rows} leaves no position after the padding token's, {config.pad_token_id}.")
    return config


def name_table(config: RobertaConfig) -> NameTable:
    return bert.name_table(config.bert)._replace(prefixes=_PREFIXES)


def build(config: RobertaConfig, parameters: Parameters, ops: Ops) -> Bert:
    return Bert(config.bert, parameters, ops, config.position_offset)
