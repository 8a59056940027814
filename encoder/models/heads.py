"""What lies beside an encoder in the files of models that were trained for a task: known by name, and left out. Whatever is not known stays an error."""

from __future__ import annotations

HEADS = (
    r"(.*\.)?pooler\..*",  # tanh of the first token: no pooling of sentence-transformers uses it
    r"(.*\.)?(position_ids|token_type_ids|inv_freq)",  # buffers, not parameters
    r"cls\..*",  # pre-training and masked language models of BERT's kind
    r"lm_head\..*",  # masked language models of RoBERTa's kind
    r"vocab_(transform|layer_norm|projector)\..*",  # DistilBERT's masked language model
    r"(pre_)?classifier\..*",  # classes of texts or tokens
    r"qa_outputs\..*",  # spans that answer a question
    r"(head|decoder)\..*",  # ModernBERT's classifiers and masked language model
    r"linear\.weight",  # ColBERT's vectors for each token
)
"""Patterns of whole names, the family's prefix taken off."""
