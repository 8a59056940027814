"""Burn's parameter ids: 64 bits, written as 13 characters in records and as a number in burnpack.

Burn 0.15-0.21 writes the eight little-endian bytes in base 32 (digits and a-v, most significant bit first, no padding);
0.14 did the same with six bytes (10 characters); before that ids were UUIDs, which Burn >= 0.15 hashes and we do not keep.
"""

from __future__ import annotations

from hashlib import blake2b

_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
_DIGITS = {character: value for value, character in enumerate(_ALPHABET)}
_BYTES = {13: 8, 10: 6}  # characters -> bytes that they hold


def id_text(value: int) -> str:
    """The 13 characters of a 64-bit id: 123456 -> "83h0200000000"."""
    bits = int.from_bytes(value.to_bytes(8, "little"), "big") << 1
    return "".join(_ALPHABET[bits >> 5 * place & 31] for place in range(12, -1, -1))


def id_value(text: str) -> int | None:
    """The 64 bits of an id of 13 or 10 characters, or None for a UUID and whatever else Burn could not read as one."""
    if len(text) not in _BYTES or not _DIGITS.keys() >= set(text):
        return None
    bits = 0
    for character in text:
        bits = bits << 5 | _DIGITS[character]
    size = _BYTES[len(text)]
    spare = 5 * len(text) - 8 * size
    if bits & (1 << spare) - 1:
        return None
    return int.from_bytes((bits >> spare).to_bytes(size, "big"), "little")


def derived_id(name: str) -> int:
    """An id for a parameter that has none: always the same for the same name."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
