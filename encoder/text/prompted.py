"""A model's tokenizer with every prompt that calls bring: opened by a thread of its own while weights are read, or when the first text comes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from embermill.encoder.text.static_tokenizer import StaticTokenizer
from embermill.encoder.text.tokenizer import Tokenizer

PROMPTS_KEPT = 64  # tokenizers for prompts that were given with a call; they share all but the prompt


class PromptedTokenizers:
    """Called with a prompt. Safe for several threads."""

    def __init__(self, own_prompt: str, open_tokenizer: Callable[[], Tokenizer | StaticTokenizer]) -> None:
        """open_tokenizer: with the model's own prompt."""
        self._own, self._open = own_prompt, open_tokenizer
        self._lock = threading.Lock()
        self._by_prompt: dict[str, Tokenizer | StaticTokenizer] = {}
        self._exactly = self._closed = False
        self._end_processes: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self._by_prompt)

    def __call__(self, prompt: str | None = None) -> Tokenizer | StaticTokenizer:
        """prompt: None for the model's own."""
        prompt = self._own if prompt is None else prompt
        with self._lock:
            if self._own not in self._by_prompt:
                opened = self._open()
                self._by_prompt[self._own] = opened.exactly() if self._exactly else opened
            if prompt not in self._by_prompt:
                if len(self._by_prompt) > PROMPTS_KEPT:
                    self._by_prompt = {self._own: self._by_prompt[self._own]}
                self._by_prompt[prompt] = self._by_prompt[self._own].with_prompt(prompt)
            return self._by_prompt[prompt]

    def open_ahead(self) -> None:
        """Begins to open the model's own; the next call waits for it. What is wrong with it, the next call says: it opens it again."""

        def opened() -> None:
            with contextlib.suppress(Exception):
                self()

        threading.Thread(target=opened, name="encoder-tokenizer").start()

    def exactly(self, exactly: bool) -> None:
        """From the next call on."""
        with self._lock:
            self._exactly = exactly
            self._by_prompt = {prompt: tokenizer.exactly(exactly) for prompt, tokenizer in self._by_prompt.items()}

    def beside(self, count: int) -> None:
        """From the next call on by processes, as Tokenizer.beside has it. OSError where none can be started."""
        if self._closed:
            raise RuntimeError("this encoder is closed")
        own = self()
        if isinstance(own, StaticTokenizer) or (found := own.beside(count)) is None:
            return
        tokenizer, self._end_processes = found
        with self._lock:
            self._by_prompt = {self._own: tokenizer.exactly(self._exactly)}

    def close(self) -> None:
        """End the processes, if there are any."""
        self._closed = True
        self._end_processes()
