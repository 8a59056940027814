"""Credentials in addresses: the one home of what counts as one, and of leaving it out of what is shown."""

from __future__ import annotations

import re

_USER = re.compile(r"(\b[a-z][a-z0-9+.-]*://)(?:[^\s/]*|[^\s/:]+:(?!\d+[/?#])[^\s@]*)@", re.IGNORECASE)
"""Up to the `@` before a host. A secret key may hold a slash, which belongs percent-encoded; a port before a path is none."""
_BARE = re.compile(r"[^\s/:@'\"`(]+:[^\s/@'\"`]+@(?=[\w\[])")  # user:password@host, with no scheme before it
_OPTION = re.compile(r"([?&](?:[\w.-]*(?:passw|token|secret|key|signature|credential)[\w.-]*|sig|pwd)=)[^\s&#'\"`]+", re.IGNORECASE)
_MARKED = re.compile(r"[?&][\w.-]+=…(?=&|#|$)")
_CONTAINER = re.compile(r"abfss?://[^\s/:@]+@", re.IGNORECASE)  # of Azure: what stands before the `@` is a place


def has_credentials(address: str) -> bool:
    """Whether a URL names a user, or a password."""
    return _USER.match(address) is not None and _CONTAINER.match(address) is None


def without_credentials(text: str, mark: str = "…@") -> str:
    """A text, with every URL in it short of its user, its password and the values of options that look like secrets. mark: what stands for user and `@`."""
    if "@" in text:
        text = _USER.sub(lambda found: found[0] if _CONTAINER.fullmatch(found[0]) else found[1] + mark, text)
        text = _BARE.sub(mark, text)
    return _OPTION.sub(r"\1…", text) if "=" in text else text


def shown_address(address: str) -> str:
    """An address for people and answers: a URL as `without_credentials` gives it. What is no URL stays as it is, as in `without_signature`."""
    return without_credentials(address) if "://" in address else address


def is_signed(address: str) -> bool:
    """Whether an option in the query of a URL looks like a secret, and is given."""
    return without_signature(address) != address


def without_signature(address: str) -> str:
    """A URL, with nothing left out but the values of such options. What is no URL stays as it is: a `?` in a path is a name's or a pattern's."""
    return _OPTION.sub(r"\1…", address) if "://" in address else address


def lacks_signature(address: str) -> bool:
    """Whether that has left something out."""
    return _MARKED.search(address) is not None
