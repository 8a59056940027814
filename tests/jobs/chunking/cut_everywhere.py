"""Cuts of texts on which Pythons might differ, as JSON: `python -m tests.jobs.chunking.cut_everywhere`, in an environment with tokenizers and markdown-it-py.

Text is made by arithmetic alone, so that each Python cuts the same.
"""

from __future__ import annotations

import json
import platform
import unicodedata
from dataclasses import astuple

from embermill.jobs.chunking.cutter import Cutter, Document, Settings
from tests.jobs.chunking.tokenizers_to_cut_by import KINDS, measure_of

LIMITS = (32, 128)
YOUNG = "\u0cf3\u0ece\U00010efd\U00011f00\U00011f41\U0001e4d0\U0001e4ec\U0001fae8\u2ffc\u31ef\U0002ebf0\u1c89\U000105c0\U00010d4a\U00016100"
"""Assigned by Unicode 15.0, 15.1 and 16.0: to Python 3.11 they are no letters, marks or symbols yet."""
BLANK_TO_SOME = "\x1c\x1d\x85\xa0\u1680\u180e\u2028\u200b\u202f\u205f\u3000\ufeff\x0b\x0c"
BITS = [
    "The quick fox. ", "word ", "\n\n", "\n", "\r\n", "# Heading\n\n", "## Next \u3000\n", "```\n# no\n```\n", "\u6f22\u5b57\u3002", "\u0e44\u0e17\u0e22",
    "e\u0301", "\U0001f469\u200d\U0001f467", "\u0416" * 70, "a" * 120, "Abc123+/", "\u0130\u0131\u1e9e\ufb01", "\u0661\u0662.\u0663", *YOUNG, *BLANK_TO_SOME,
]  # fmt: skip


def numbers(seed: int, count: int) -> list[int]:
    """A linear congruential generator's: `random` promises the same numbers for random() alone."""
    found = []
    for _ in range(count):
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
        found.append(seed >> 33)
    return found


def texts() -> list[str]:
    of_bits = ["".join(BITS[number % len(BITS)] * (1 + number % 5) for number in numbers(seed, 150)) for seed in range(40)]
    points = [[number % 0x30000 for number in numbers(seed, 600)] for seed in range(100, 110)]
    of_points = ["".join(chr(point) for point in each if not 0xD800 <= point < 0xE000) for each in points]
    return [*of_bits, *of_points, "\n\n".join(f"# {letter} title\n\ntext of it {letter}word" for letter in YOUNG + BLANK_TO_SOME)]


def cuts() -> list[object]:
    documents = [Document(text, ("A title",) if place % 3 == 0 else (), markdown=place % 2 == 0) for place, text in enumerate(texts())]
    cutters = [Cutter(measure_of(kind), Settings(limit, overlap_tokens=limit // 8, headings=True)) for kind in KINDS for limit in LIMITS]
    return [[astuple(cut) for cut in cutter.cut(documents)] for cutter in cutters]


if __name__ == "__main__":
    print(json.dumps({"python": platform.python_version(), "unicode": unicodedata.unidata_version, "cuts": cuts()}))
