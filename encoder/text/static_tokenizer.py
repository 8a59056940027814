"""Token ids of a static model: tokenizer.json as it is, without special tokens, as sentence-transformers' StaticEmbedding takes it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embermill.encoder.errors import TokenizerError
from embermill.encoder.text.stored import read_tokenizer_json
from embermill.encoder.text.tokenizer import TokenizedTexts, input_error, size_thread_pool


class StaticTokenizer:
    """A text that has no tokens gets one id, `vocab_size`: the model's row of zeros. A truncation saved in tokenizer.json counts, as it does there."""

    prompt_tokens = 0  # nothing of a prompt is left out

    def __init__(self, folder: Path, *, max_tokens: int, vocab_size: int, prompt: str = "", threads: int | None = None) -> None:
        size_thread_pool(threads)
        stored = read_tokenizer_json(folder)
        if stored is None:
            raise TokenizerError(f"{folder}: no tokenizer.json; without a tokenizer it can embed token ids (encode_token_ids) but no text.")
        tokenizer, saved = stored.library, stored.truncation or {}
        largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        if largest >= vocab_size:
            raise TokenizerError(f"{folder}: the tokenizer makes ids up to {largest}, but the model's table has {vocab_size} rows: they do not match.")
        self._tokenizer, self._prompt, self._empty = tokenizer, prompt, vocab_size
        self._max_tokens = min(max_tokens, saved.get("max_length", max_tokens))
        self._cuts_left = saved.get("direction") == "left"

    @property
    def name(self) -> str:
        """Which library makes the ids, and its version."""
        import tokenizers

        return f"tokenizers {tokenizers.__version__}"

    @property
    def fast_name(self) -> str:
        return ""

    def exactly(self, exact: bool = True) -> StaticTokenizer:
        return self

    def differing(self, texts: Sequence[str]) -> list[int]:
        """Places of the texts to which `tokenizers` gives other ids: none, since it makes them."""
        return []

    def with_prompt(self, prompt: str) -> StaticTokenizer:
        """The same tokenizer with another prompt."""
        other = copy.copy(self)
        other._prompt = prompt
        return other

    def tokenize(self, texts: Sequence[str], first: int = 0) -> TokenizedTexts:
        """Raises InputError, naming the text by its place (the first one's is `first`), for anything that is not text."""
        with_prompt = [self._prompt + text for text in texts] if self._prompt else list(texts)
        try:
            encodings = self._tokenizer.encode_batch_fast(with_prompt, add_special_tokens=False)
        except (TypeError, UnicodeEncodeError) as error:
            raise input_error(texts, first, error) from error
        found = [encoding.ids for encoding in encodings]
        kept = [self._cut(ids) or [self._empty] for ids in found]
        offsets = np.cumsum([0, *map(len, kept)], dtype=np.int64)
        dropped = np.array([max(0, len(ids) - self._max_tokens) for ids in found], np.int32)
        return TokenizedTexts(np.fromiter((token for ids in kept for token in ids), np.int32, int(offsets[-1])), offsets, dropped)

    def count(self, texts: Sequence[str]) -> np.ndarray:
        """[B] int64: tokens of each text, of what is over the limit too."""
        found = self.tokenize(texts)
        counts: np.ndarray = found.num_tokens.astype(np.int64) + found.num_tokens_dropped
        return counts

    @property
    def adds_up(self) -> bool:
        return False

    def unknown_words(self, text: str) -> list[tuple[int, int]]:
        """None: a vector is the mean of what is known."""
        return []

    def _cut(self, ids: list[int]) -> list[int]:
        if len(ids) <= self._max_tokens:
            return ids
        return ids[-self._max_tokens :] if self._cuts_left else ids[: self._max_tokens]
