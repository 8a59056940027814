"""Texts -> flat token ids, and counts of tokens kept and dropped.

The `tokenizers` library does the work, or for WordPiece a faster one that was seen to give its ids (fast_word_piece.py). The length in tokenizer.json's
truncation and its padding do not apply: the limit is the model's, and nothing is padded. Texts that are too long are truncated here, because neither
library says how many tokens it drops.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from embermill.counts import several
from embermill.encoder.errors import InputError, ModelConfigError, TokenizerError
from embermill.encoder.text.building import open_tokenizer
from embermill.encoder.text.counting import Counting
from embermill.encoder.text.fast_word_piece import choose_row_tokenizer
from embermill.encoder.text.library import library_errors, library_panics
from embermill.encoder.text.prompt_boundary import warn_where_words_are_lost
from embermill.encoder.text.row_processes import RowProcesses, SpreadRows
from embermill.encoder.text.whole_rows import Exact, RowTokenizer, WholeRows, cut_rows, differing_rows
from embermill.encoder.text.word_cache import choose_words

if TYPE_CHECKING:
    import tokenizers

_PROBES = ("a", "0", "。", "\N{ARABIC LETTER ALEF}")  # single characters: every vocabulary has a token for one of them, if only the unknown one


class TokenizedTexts(NamedTuple):
    """Token ids of B texts, one after another.

    input_ids: [N] int32. offsets: [B+1] int64, where each text begins, then N. num_tokens_dropped: [B] int32, tokens of the text (never
    special ones) that did not fit.
    """

    input_ids: np.ndarray
    offsets: np.ndarray
    num_tokens_dropped: np.ndarray

    @property
    def num_tokens(self) -> np.ndarray:
        """[B] int32: ids fed to the model, special tokens and prompt included."""
        return np.diff(self.offsets).astype(np.int32)


class Tokenizer:
    """A model's tokenizer at one length limit and with one prompt. Calls release the GIL and may come from several threads.

    Making one raises TokenizerError; ModelConfigError where special tokens and the prompt fill the limit, so that nothing of any text would be embedded.
    """

    def __init__(
        self, folder: Path, *, max_tokens: int, vocab_size: int, prompt: str = "", lowercase: bool = False, threads: int | None = None, exact: bool = False
    ) -> None:
        """exact: by `tokenizers` alone."""
        size_thread_pool(threads)
        self._tokenizer, _, side = open_tokenizer(folder, lowercase=lowercase)
        self._slow: RowTokenizer
        self._exact = self._slow = Exact(self._tokenizer)
        self._counting = Counting(self._tokenizer, self._exact)
        self._folder, self._max_tokens = folder, max_tokens
        with library_errors(folder):
            probe = self._find_probe(folder)
            self._rows_of = self._chosen = self._exact if exact else choose_row_tokenizer(self._tokenizer, self._exact)
        special = probe.special_tokens_mask
        self._prefix, self._suffix = special.index(0), special[::-1].index(0)
        if any(probe.type_ids):
            raise TokenizerError(f"{folder}: the tokenizer gives a single text token types other than 0, which is not supported.")
        self._probe_tokens = len(probe)
        self._check_vocabulary(folder, vocab_size)
        self._cuts_left = side == "left"
        self._set_prompt(prompt)

    def with_prompt(self, prompt: str) -> Tokenizer:
        """The same tokenizer with another prompt. Raises ModelConfigError where that leaves no room for a text."""
        other = copy.copy(self)
        other._set_prompt(prompt)
        return other

    def _set_prompt(self, prompt: str) -> None:
        self._prompt = prompt
        self._require_room_for_text(self._folder, self._probe_tokens)
        if prompt:
            warn_where_words_are_lost(self._tokenizer, prompt)

    @property
    def name(self) -> str:
        """Which library makes the ids, and its version: for the record, since all of them make the same."""
        return self._rows_of.name

    @property
    def fast_name(self) -> str:
        """The faster library that was found to give the same ids, and its version; "" where there is none. It need not be in use: see exactly()."""
        return "" if self._chosen is self._slow else self._chosen.name

    def exactly(self, exact: bool = True) -> Tokenizer:
        """The same tokenizer by `tokenizers` alone; exact=False: by the faster library again, where there is one."""
        other = copy.copy(self)
        other._rows_of = self._slow if exact else self._chosen
        return other

    def beside(self, count: int) -> tuple[Tokenizer, Callable[[], None]] | None:
        """The same tokenizer with `count` processes for many texts, and what ends them; None where a faster library is there. OSError where none can start."""
        if self._chosen is not self._exact:
            return None
        processes, other = RowProcesses(self._tokenizer, count), copy.copy(self)
        words = choose_words(self._tokenizer, self._exact)
        other._slow = SpreadRows(processes, self._exact)
        other._rows_of = other._chosen = SpreadRows(processes, self._exact, words) if words else other._slow
        return other, processes.close

    def differing(self, texts: Sequence[str]) -> list[int]:
        """Places of the texts to which `tokenizers` gives other ids than the faster library, whichever of them is in use."""
        if self._chosen is self._slow:
            return []
        given = self._prompted(texts)
        try:
            found: list[int] = differing_rows(self._exact(given), self._chosen(given)).tolist()
        except ValueError:  # not as many rows
            return [*range(len(texts))]
        return found

    @property
    def prompt_tokens(self) -> int:
        """Ids that the prompt takes at the start of a text, special ones before it included: as sentence-transformers counts them, by the prompt alone."""
        ids = self._tokenizer.encode(self._prompt).ids
        return len(ids) - 1 if self._suffix else len(ids)

    def _find_probe(self, folder: Path) -> tokenizers.Encoding:
        """A short text's tokens, which show the special ones around them."""
        for self._probe in _PROBES:
            if 0 in (probe := self._tokenizer.encode(self._probe)).special_tokens_mask:
                return probe
        raise TokenizerError(f"{folder}: the tokenizer makes no tokens of {' or '.join(_PROBES)}: expected a vocabulary for texts.")

    def _require_room_for_text(self, folder: Path, probe_tokens: int) -> None:
        """At least one token of a text must be fed to the model, or all texts would get the same vector. probe_tokens: of the probe without the prompt."""
        added = self._prefix + self._suffix
        try:
            prompt_tokens = len(self._tokenizer.encode(self._prompt + self._probe)) - probe_tokens if self._prompt else 0
        except (TypeError, UnicodeEncodeError) as error:
            raise ModelConfigError(f"prompt: not valid Unicode (a lone surrogate): {error}; replace it.") from error
        if added + prompt_tokens < self._max_tokens:
            return
        taken = f"the prompt takes {several(prompt_tokens, 'token')} and special tokens take {added}" if self._prompt else f"special tokens take {added}"
        advice = f"{'shorten the prompt, or ' if self._prompt else ''}give max_tokens={added + prompt_tokens + 1} or more, if the model has as many positions"
        raise ModelConfigError(f"{folder}: {taken}, but max_tokens is {self._max_tokens}: nothing of a text would be left; {advice}.")

    def _check_vocabulary(self, folder: Path, vocab_size: int) -> None:
        """Added tokens may have ids that the model has no row for: such a token is refused where a text holds it."""
        self._vocab_size = vocab_size
        self._may_exceed = self._tokenizer.get_vocab_size(with_added_tokens=True) > vocab_size
        if not self._may_exceed:
            return  # the usual case, without the library's dictionary of all tokens
        each_text_has = self._tokenizer.encode(self._probe).ids
        largest = max([*self._tokenizer.get_vocab(with_added_tokens=False).values(), *each_text_has])
        if largest >= vocab_size:
            raise TokenizerError(f"{folder}: the tokenizer makes ids up to {largest}, but the model's vocabulary has {vocab_size}: they do not match.")

    def _require_rows(self, tokens: TokenizedTexts, first: int) -> None:
        beyond = np.flatnonzero(tokens.input_ids >= self._vocab_size)
        if not len(beyond):
            return
        index = int(tokens.input_ids[beyond[0]])
        text = first + int(np.searchsorted(tokens.offsets, beyond[0], side="right")) - 1
        raise InputError(
            f"text {text}: holds the special token {self._tokenizer.id_to_token(index)!r} with id {index}, but the model's vocabulary has ids up to "
            f"{self._vocab_size - 1}; take the token out of the text, or out of the tokenizer's files if the model was not trained with it."
        )

    def tokenize(self, texts: Sequence[str], first: int = 0) -> TokenizedTexts:
        """Raises InputError, naming the text by its place (the first one's is `first`), for anything that is not text."""
        try:
            with library_panics(self._folder):
                whole = self._rows_of(self._prompted(texts))
        except (TypeError, UnicodeEncodeError) as error:
            raise input_error(texts, first, error) from error
        kept, dropped = cut_rows(whole, self._max_tokens, prefix=self._prefix, suffix=self._suffix, left=self._cuts_left)
        tokens = TokenizedTexts(kept.input_ids, kept.offsets, dropped)
        if self._may_exceed:
            self._require_rows(tokens, first)
        return tokens

    def tokenize_with_places(self, texts: Sequence[str], first: int = 0) -> tuple[TokenizedTexts, np.ndarray]:
        """As tokenize, by `tokenizers` itself, and the place of each id in its text: [N] int64, the code point of the last character that it is of.

        Places ascend within a text. Of special tokens, and of the prompt's, they are below 0, or past every text.
        """
        try:
            with library_panics(self._folder):
                whole, places = self._exact.with_places(self._prompted(texts), self._prefix, self._suffix)
        except (TypeError, UnicodeEncodeError) as error:
            raise input_error(texts, first, error) from error
        kept, dropped = cut_rows(whole, self._max_tokens, prefix=self._prefix, suffix=self._suffix, left=self._cuts_left)
        if dropped.any():
            places, _ = cut_rows(WholeRows(places, whole.offsets), self._max_tokens, prefix=self._prefix, suffix=self._suffix, left=self._cuts_left)[0]
        tokens = TokenizedTexts(kept.input_ids, kept.offsets, dropped)
        if self._may_exceed:
            self._require_rows(tokens, first)
        return tokens, places - len(self._prompt)

    def count(self, texts: Sequence[str]) -> np.ndarray:
        """[B] int64: tokens that `tokenizers` makes of each text, special ones and prompt included, of what is over the limit too. InputError as tokenize."""
        try:
            with library_panics(self._folder):
                return self._counting.count(texts, self._prompt)
        except (TypeError, UnicodeEncodeError) as error:
            raise input_error(texts, 0, error) from error

    def unknown_words(self, text: str) -> list[tuple[int, int]]:
        """(start, end) in code points of each word of two and more that is the unknown token alone. Only WordPiece has such words: what is long is one."""
        return self._counting.unknown_words(text)

    @property
    def adds_up(self) -> bool:
        """Whether `count` of a text of printable ASCII, tabs and line ends is the sum over its words and punctuation marks, and what `count` of "" is."""
        return self._counting.adds_up(self._prompt)

    def _prompted(self, texts: Sequence[str]) -> Sequence[str]:
        return [self._prompt + text for text in texts] if self._prompt else texts


def size_thread_pool(threads: int | None) -> None:
    """Tell `tokenizers` how many threads to use: its pool takes its size from the environment when it is first used, once for a process.

    None leaves it at all that the process may use. TOKENIZERS_PARALLELISM stays the user's own.
    """
    if threads is not None:
        os.environ["RAYON_NUM_THREADS"] = str(threads)


def input_error(texts: Sequence[object], first: int, error: Exception) -> InputError:
    """Which of `texts` could not be tokenised, and why; the first one's place is `first`."""
    for index, text in enumerate(texts, first):
        if not isinstance(text, str):
            return InputError(f"text {index}: expected a string, got {type(text).__name__}.")
        try:
            text.encode()
        except UnicodeEncodeError as reason:
            return InputError(f"text {index}: not valid Unicode (a lone surrogate at character {reason.start}); replace it before embedding.")
    return InputError(f"texts could not be tokenised: {error}.")
