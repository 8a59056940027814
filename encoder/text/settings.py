"""What the files beside a vocabulary say of how texts become ids, resolved as transformers 5.23 resolves it.

Who has the last word: special_tokens_map.json over tokenizer_config.json, and added_tokens.json and tokenizer.json's own list for the flags of a token,
unless tokenizer_config.json has an added_tokens_decoder: then none of these three is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from embermill.encoder.errors import TokenizerError
from embermill.encoder.text.classes import BACKEND, ROLES, TokenizerClass
from embermill.encoder.text.files import CONFIG, read_object
from embermill.encoder.text.stored import StoredTokenizer

if TYPE_CHECKING:
    import tokenizers

_SPECIAL_TOKENS_MAP = "special_tokens_map.json"
_EXTRA = ("extra_special_tokens", "additional_special_tokens")
_NOT_USED = ["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"]  # CamembertTokenizer's own extra tokens


class AddedToken(NamedTuple):
    """A token that is found in a text before anything else, and kept whole; with the flags of the `tokenizers` library.

    normalized: whether it is looked for in the normalised text. None, where a file does not say: only if it is not special.
    """

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool | None = None
    special: bool = True

    def resolved(self, special: bool) -> AddedToken:
        """As it is added to a tokenizer, special or not."""
        return self._replace(special=special, normalized=not special if self.normalized is None else self.normalized)


class TokenizerSettings(NamedTuple):
    """How a folder's texts become ids, beside the vocabulary. What a class does not use is None."""

    tokenizer_class: str
    lowercase: bool | None
    strip_accents: bool | None
    split_chinese_characters: bool | None
    add_prefix_space: bool | None
    unknown: str | None
    ends: tuple[str, str] | None  # the tokens before and after a text
    added_tokens: tuple[AddedToken, ...]  # in the order in which they get their ids
    split_special_tokens: bool
    truncation_side: str


def resolve_settings(folder: Path, kind: TokenizerClass, stored: StoredTokenizer | None, vocabulary: Vocabulary) -> TokenizerSettings:
    """stored: what tokenizer.json says, where there is one. vocabulary: the model alone, without added tokens.

    Raises TokenizerError for a value that transformers does not take either, and for a special token of every text that has no id of its own.
    """
    values = _Values(folder, stored)
    special = values.special_tokens(kind)
    word_piece, rebuilt = kind.model == "WordPiece", kind.name != BACKEND
    unknown = values.required(special, "unk_token") if word_piece or kind.name == "CamembertTokenizer" else None
    if unknown is not None and vocabulary.token_to_id(unknown) is None:
        raise TokenizerError(f"{folder}: unk_token {unknown!r} is not in the vocabulary, so unknown words have no id; set it in {CONFIG} to one of its tokens.")
    ends = (values.required(special, kind.ends[0]), values.required(special, kind.ends[1])) if rebuilt else None
    if missing := [token for token in ends or () if vocabulary.token_to_id(token) is None and not values.has_id(token)]:
        raise TokenizerError(f"{folder}: {kind.name} puts {' and '.join(missing)} around every text, but the vocabulary has no such token; set "
                             f"{' and '.join(kind.ends)} in {CONFIG} to tokens of the vocabulary.")  # fmt: skip
    return TokenizerSettings(
        kind.name,
        values.flag("do_lower_case", True) if word_piece else None,
        values.flag("strip_accents", None) if word_piece else None,
        values.flag("tokenize_chinese_chars", True) if word_piece else None,
        values.flag("add_prefix_space", kind.model == "Unigram") if kind.model in ("Unigram", "BPE") else None,
        unknown,
        ends,
        tuple(values.tokens_to_add(special, kind)),
        bool(values.flag("split_special_tokens", False)),
        values.truncation_side(),
    )


class Vocabulary(Protocol):
    def token_to_id(self, token: str) -> int | None: ...


class _Values:
    """tokenizer_config.json with what the older files beside it say merged into it."""

    def __init__(self, folder: Path, stored: StoredTokenizer | None) -> None:
        self._folder, self._file, self._stored = folder, folder / CONFIG, stored
        self._values = read_object(self._file)
        self._refuse_unknown_files()
        self._values.pop("tokenizer_class", None)
        if _EXTRA[1] in self._values and not self._values.get(_EXTRA[0]):
            self._values[_EXTRA[0]] = self._values.pop(_EXTRA[1])
        self._model_specific = {key: self._values.pop(key) for key, value in [*self._values.items()] if _is_model_specific(key) and isinstance(value, str)}
        self._move_named_extra_tokens()
        self._added: dict[int, AddedToken] = {}
        if "added_tokens_decoder" in self._values:
            decoder = self._object(self._values.pop("added_tokens_decoder"), self._file, "added_tokens_decoder")
            if not all(index.isdecimal() for index in decoder):
                raise TokenizerError(f"{self._file}: added_tokens_decoder: expected token ids as keys, got {', '.join(map(repr, decoder))}.")
            self._added = {int(index): self._token(token, self._file, f"added_tokens_decoder[{index}]") for index, token in decoder.items()}
        else:
            self._merge_special_tokens_map()
            self._merge_added_tokens()
        self._by_content = {token.content: token for token in self._added.values()}

    def flag(self, key: str, default: bool | None) -> bool | None:
        value = self._values.get(key, default)
        if isinstance(value, bool) or (value is None and default is None):
            return value
        raise TokenizerError(f"{self._file}: {key}: expected true or false, got {value!r}.")

    def truncation_side(self) -> str:
        truncation = self._stored.truncation if self._stored is not None else None
        side = self._values.get("truncation_side", truncation["direction"] if truncation else "right")
        if side not in ("left", "right"):
            raise TokenizerError(f"{self._file}: truncation_side: expected left or right, got {side!r}.")
        return str(side)

    def special_tokens(self, kind: TokenizerClass) -> dict[str, AddedToken | str | None]:
        """The special tokens by role, in transformers' order; then those with names of the model's own."""
        special: dict[str, AddedToken | str | None] = {}
        padding = self._stored.padding if self._stored is not None and kind.name == BACKEND else None
        defaults = kind.special | ({"pad_token": padding["pad_token"]} if padding else {})
        for role in ROLES:
            value = self._text_or_token(self._values[role], role) if role in self._values else defaults.get(role)
            if role in self._values and value is not None:
                value = self._by_content.get(_content(value), value)
            if value is not None:
                special[role] = _mpnet_token(role, value) if kind.name == "MPNetTokenizer" else value
        named = {key: value for key, value in self._values.items() if _is_model_specific(key)}
        for key, value in (named | self._model_specific).items():
            if isinstance(value, (str, AddedToken)) or _is_typed(value):
                special[key] = self._text_or_token(value, key)
        return special

    def has_id(self, content: str) -> bool:
        """Whether a file says which id this added token has."""
        return content in self._by_content

    def required(self, special: Mapping[str, AddedToken | str | None], role: str) -> str:
        value = special.get(role)
        if value is None or not _content(value):
            raise TokenizerError(f"{self._file}: {role}: expected the text of a token, got {self._values.get(role)!r}.")
        return _content(value)

    def tokens_to_add(self, special: Mapping[str, AddedToken | str | None], kind: TokenizerClass) -> Iterable[AddedToken]:
        """Those with an id of their own first, in its order; then special tokens that are not among them."""
        tokens: list[AddedToken | str] = [token for _, token in sorted(self._added.items())]
        known = {token.content for token in self._added.values()}
        if kind.name == BACKEND and self._stored is not None:
            known |= {token.content for token in self._stored.library.get_added_tokens_decoder().values()}
        named = [value for value in special.values() if value is not None]
        for value in [*named, *self._extra_tokens(kind)]:
            if _content(value) not in known and value not in tokens:
                tokens.append(value)
        named_contents = {_content(value) for value in named}
        for token in tokens:
            added = AddedToken(token) if isinstance(token, str) else token
            yield added.resolved(added.special or added.content in named_contents)

    def _extra_tokens(self, kind: TokenizerClass) -> list[AddedToken | str]:
        default = _NOT_USED if kind.name == "CamembertTokenizer" else None
        key = _EXTRA[0] if _EXTRA[0] in self._values else _EXTRA[1]
        extra = self._values.get(key, default) or []
        if not isinstance(extra, list):
            raise TokenizerError(f"{self._file}: {key}: expected a list of tokens, got {extra!r}.")
        return [token for value in extra if (token := self._text_or_token(value, key)) is not None]

    def _refuse_unknown_files(self) -> None:
        if self._values.pop("init_inputs", None):
            raise TokenizerError(f"{self._file}: init_inputs is not supported; name each setting by its key.")
        versioned = [name for name in self._values.get("fast_tokenizer_files") or [] if name != "tokenizer.json"]
        if versioned:
            raise TokenizerError(f"{self._file}: fast_tokenizer_files names {', '.join(map(str, versioned))}: expected tokenizer.json alone; put the file for "
                                 "transformers 5 there under that name, and remove the key.")  # fmt: skip

    def _move_named_extra_tokens(self) -> None:
        if isinstance(self._values.get(_EXTRA[0]), dict):
            self._model_specific |= self._values.pop(_EXTRA[0])

    def _merge_special_tokens_map(self) -> None:
        file = self._folder / _SPECIAL_TOKENS_MAP
        for key, value in read_object(file).items():
            if isinstance(value, dict) and key != _EXTRA[0]:
                value = self._token({**value, "special": True}, file, key)
            elif key == _EXTRA[0] and isinstance(value, list):
                existing = [*(self._values.get(key) or [])]
                tokens = [self._token({**token, "special": True}, file, key) if isinstance(token, dict) else token for token in value]
                value = existing + [token for token in tokens if token not in existing]
            self._values[key] = value
        self._move_named_extra_tokens()

    def _merge_added_tokens(self) -> None:
        file = self._folder / "added_tokens.json"
        special = {_content(value) for role in ROLES if (value := self._text_or_token(self._values.get(role), role))}
        special |= {_content(token) for token in self._values.get(_EXTRA[0]) or [] if isinstance(token, (str, AddedToken))}
        for content, index in read_object(file).items():
            if not isinstance(index, int) or isinstance(index, bool):
                raise TokenizerError(f"{file}: {content}: expected a token id, got {index!r}.")
            self._added[index] = AddedToken(content, normalized=content not in special, special=content in special)
        if self._stored is not None:
            self._added |= {index: _ours(token) for index, token in self._stored.library.get_added_tokens_decoder().items()}

    def _text_or_token(self, value: Any, key: str) -> AddedToken | str | None:
        if value is None or isinstance(value, (str, AddedToken)):
            return value
        if _is_typed(value):
            return self._token(value, self._file, key)
        raise TokenizerError(f"{self._file}: {key}: expected a token's text, got {value!r}.")

    def _token(self, value: Any, file: Path, key: str) -> AddedToken:
        fields = self._object(value, file, key)
        content = fields.get("content")
        if not isinstance(content, str):
            raise TokenizerError(f"{file}: {key}: expected a token's content, got {value!r}.")
        flags = {name: fields.get(name, False) for name in ("single_word", "lstrip", "rstrip", "special")}
        if not all(isinstance(flag, bool) for flag in (*flags.values(), fields.get("normalized", False))):
            raise TokenizerError(f"{file}: {key}: expected flags that are true or false, got {value!r}.")
        return AddedToken(content, **flags, normalized=fields.get("normalized"))

    @staticmethod
    def _object(value: Any, file: Path, key: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise TokenizerError(f"{file}: {key}: expected a JSON object, got {value!r}.")
        return value


def _ours(token: tokenizers.AddedToken) -> AddedToken:
    return AddedToken(token.content, token.single_word, token.lstrip, token.rstrip, token.normalized, token.special)


def _content(token: AddedToken | str) -> str:
    return token if isinstance(token, str) else token.content


def _is_model_specific(key: str) -> bool:
    return key.endswith("_token") and key not in ROLES


def _is_typed(value: Any) -> bool:
    """Whether this is an added token as transformers writes one into tokenizer_config.json."""
    return isinstance(value, dict) and value.get("__type") == "AddedToken"


def _mpnet_token(role: str, value: AddedToken | str) -> AddedToken:
    """MPNetTokenizer gives a special token that is a plain text flags of its own: <mask> takes the blanks before it along."""
    return AddedToken(value, lstrip=role == "mask_token", special=False) if isinstance(value, str) else value
