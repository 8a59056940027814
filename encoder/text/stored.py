"""tokenizer.json as the `tokenizers` library reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from embermill.encoder.errors import TokenizerError

if TYPE_CHECKING:
    import tokenizers


class StoredTokenizer(NamedTuple):
    """What a tokenizer.json says. library: without truncation and padding, whose settings lie beside it."""

    library: tokenizers.Tokenizer
    truncation: dict[str, Any] | None
    padding: dict[str, Any] | None

    @property
    def model(self) -> str:
        """"WordPiece", "BPE", "Unigram" or "WordLevel"."""
        return type(self.library.model).__name__


def read_tokenizer_json(folder: Path) -> StoredTokenizer | None:
    """None where there is no such file. Raises TokenizerError for a damaged one."""
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    try:
        library = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain Exception for whatever is wrong with the file
        raise TokenizerError(f"{file}: not a tokenizer that this version of `tokenizers` reads: {error}.") from error
    stored = StoredTokenizer(library, library.truncation, library.padding)
    library.no_truncation()
    library.no_padding()
    return stored
