"""Which code points are blanks, ends of sentences, and parts of the character before them.

Lists of our own: what `str` and `re` call blank or a word follows the Unicode tables of the Python that runs, and a cut must not.
"""

from __future__ import annotations

BLANKS = "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
LINE_ENDS = "\n\r\x85\u2028\u2029"
FULL_WIDTH_ENDS = "\u3002\uff01\uff1f\uff1b\uff61"  # a sentence ends after them without a blank
SENTENCE_ENDS = ".!?\u2026\u0964\u061f\u06d4" + FULL_WIDTH_ENDS  # the others end one before a blank
CLOSERS = "\"')]}\u00bb\u2019\u201d\u300d\u300f\uff09"  # may stand between the end of a sentence and the blank
JOINER = "\u200d"
MARK_RANGES = (
    (0x0300, 0x036F), (0x0483, 0x0489), (0x0591, 0x05BD), (0x0610, 0x061A), (0x064B, 0x065F), (0x06D6, 0x06DC), (0x0900, 0x0903), (0x093A, 0x094F),
    (0x0981, 0x0983), (0x09BC, 0x09CD), (0x0A3C, 0x0A4D), (0x0ABC, 0x0ACD), (0x0B3C, 0x0B4D), (0x0BBE, 0x0BCD), (0x0C3C, 0x0C4D), (0x0CBC, 0x0CCD),
    (0x0D3B, 0x0D4D), (0x0E31, 0x0E31), (0x0E34, 0x0E3A), (0x0E47, 0x0E4E), (0x0EB1, 0x0EB1), (0x0EB4, 0x0EBC), (0x0EC8, 0x0ECD), (0x1160, 0x11FF),
    (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x200D, 0x200D), (0x20D0, 0x20FF), (0x3099, 0x309A), (0xFE00, 0xFE0F), (0xFE20, 0xFE2F), (0x1F3FB, 0x1F3FF),
    (0xE0020, 0xE007F), (0xE0100, 0xE01EF),
)  # fmt: skip
MARKS = frozenset(chr(point) for first, last in MARK_RANGES for point in range(first, last + 1))  # combining marks, variation selectors, skin tones, joiners


def character_class(letters: str) -> str:
    """For a regular expression, without its brackets."""
    return "".join(f"\\U{ord(letter):08x}" for letter in letters)


MARK_CLASS = "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in MARK_RANGES)


def safe_cut(text: str, at: int, floor: int) -> int:
    """The last place <= `at` and > `floor` where no character is torn apart; `at` itself where there is none."""
    place = at
    while place > floor and place < len(text) and (text[place] in MARKS or text[place - 1] == JOINER):
        place -= 1
    return place if place > floor else at
