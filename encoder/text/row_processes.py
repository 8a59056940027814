"""Token ids by several processes beside this one: the lists that `tokenizers` answers with hold the interpreter that feeds a GPU, and a cache of words is
one thread's. Ids follow from the text alone, so they are the same for any number of processes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

import numpy as np

from embermill.encoder.text.whole_rows import Exact, RowTokenizer, WholeRows
from embermill.encoder.text.word_cache import CachedWords
from embermill.side_process import SideProcesses, SideProcessLost

if TYPE_CHECKING:
    import tokenizers

log = logging.getLogger(__name__)
PART_CHARACTERS = 48 << 10  # of one question: some 15 ms
FEW_CHARACTERS = 8 << 10  # less is tokenized here


class RowProcesses:
    """`count` processes with one tokenizer. OSError where one cannot be started. They end with whoever made them, or by close()."""

    def __init__(self, library: tokenizers.Tokenizer, count: int) -> None:
        opener = "embermill.encoder.text.row_processes:open_rows"
        self._processes = SideProcesses(opener, (library.to_str(), library.encode_special_tokens), count, name="tokenizing")
        self._opened = [self._processes.ask([""], False) for _ in range(count)]  # until then texts are tokenized here
        self.close = self._processes.close

    @property
    def ready(self) -> bool:
        self._opened = [answer for answer in self._opened if not answer.done()]
        return not self._opened

    def ask(self, texts: list[str], by_words: bool) -> Future[WholeRows]:
        return self._processes.ask(texts, by_words)


class SpreadRows:
    """A RowTokenizer that spreads texts over processes."""

    def __init__(self, processes: RowProcesses, inside: RowTokenizer, words: CachedWords | None = None) -> None:
        """inside: the same ids by this process. words: what was seen to give them, word by word; without it the processes, too, have the library alone."""
        self._processes, self._inside, self._by_words = processes, inside, words is not None
        self.name = inside.name if words is None else words.name

    def __call__(self, texts: Sequence[str]) -> WholeRows:
        given = texts if isinstance(texts, list) else list(texts)
        if not set(map(type, given)) <= {str} or sum(map(len, given)) <= FEW_CHARACTERS or not self._processes.ready:
            return self._inside(given)
        asked = [(part, self._processes.ask(part, self._by_words)) for part in _parts(given)]
        rows = [self._answered(part, answer) for part, answer in asked]
        lengths = np.concatenate([np.diff(row.offsets) for row in rows])
        return WholeRows(np.concatenate([row.input_ids for row in rows]), np.concatenate([[0], np.cumsum(lengths)]))

    def _answered(self, part: list[str], answer: Future[WholeRows]) -> WholeRows:
        try:
            return answer.result()
        except SideProcessLost as lost:
            log.warning("a process that tokenizes ended %s; another one takes its place, and %d texts are tokenized here", lost.how, len(part))
            return self._inside(part)


def _parts(texts: list[str]) -> Iterator[list[str]]:
    """Consecutive texts of PART_CHARACTERS together, or one."""
    part, size = list[str](), 0
    for text in texts:
        if part and size + len(text) > PART_CHARACTERS:
            yield part
            part, size = [], 0
        part.append(text)
        size += len(text)
    if part:
        yield part


def open_rows(library: str, split_special_tokens: bool) -> Callable[[list[str], bool], WholeRows]:
    """In each process: what answers."""
    from tokenizers import Tokenizer

    opened = Tokenizer.from_str(library)
    opened.encode_special_tokens = split_special_tokens
    exact, words = Exact(opened), CachedWords(opened)
    return lambda texts, by_words: words(texts) if by_words else exact(texts)
