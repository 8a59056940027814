"""Whether a faster way to token ids may be taken: on a few thousand hostile texts it must give the ids of `tokenizers`, every one.

What they said is kept once for a machine, by tokenizer, both ways' versions and processor.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

from embermill.encoder.machine_cache import machine_cache
from embermill.encoder.text.hostile_texts import HostileTexts, every_character
from embermill.encoder.text.library import library_panics
from embermill.encoder.text.whole_rows import RowTokenizer, differing_rows

if TYPE_CHECKING:
    import tokenizers

log = logging.getLogger(__name__)

HOSTILE_TEXTS = 3000
SEED = 20
BASIC_PLANE = 0x3000  # characters asked for one by one; those above are drawn at random


def agrees_here(way: str, library: tokenizers.Tokenizer, exact: RowTokenizer, fast: RowTokenizer) -> bool:
    """What the hostile texts say, from this machine's notes where it is there. way: of `fast`, and the edition of its code."""
    notes = machine_cache(f"{way}-{HOSTILE_TEXTS}-{SEED}", f"{exact.name}, {fast.name}")
    name = hashlib.sha256(library.to_str().encode()).hexdigest()
    found = notes.get(name)
    if found is None:
        found = agrees(exact, fast, HostileTexts(library, SEED).texts(HOSTILE_TEXTS))
        found = found and agrees(exact, fast, every_character("a{}b", last=BASIC_PLANE) + every_character("{}", last=BASIC_PLANE))
        notes.put(name, found)
    return found


def agrees(exact: RowTokenizer, fast: RowTokenizer, texts: list[str]) -> bool:
    """Whether both give the same ids for each of the texts. An exception of either is a difference: whoever makes the ids must say so of the text itself."""
    try:
        with library_panics(f"{exact.name}, {fast.name}"):
            found = fast(texts)
            return len(found.offsets) == len(texts) + 1 and not len(differing_rows(exact(texts), found))
    except Exception as error:
        log.warning("%s: %s", fast.name, error)
        return False
