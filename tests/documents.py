"""README and guides taken apart: their blocks of code, the commands in them, their links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
GUIDES = sorted((ROOT / "infra/guides").glob("*.md"))
DOCUMENTS = (README, *GUIDES)


@dataclass(frozen=True)
class Block:
    """language: as the fence says, "" without one. line: of its first line, from 1."""

    file: Path
    language: str
    text: str
    line: int

    @property
    def name(self) -> str:
        """How the lists of tests call it: its file and its first line."""
        return f"{self.file.name}: {self.text.splitlines()[0] if self.text else ''}"


def blocks(file: Path) -> Iterator[Block]:
    text = file.read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(file, found[1], found[2], text.count("\n", 0, found.start()) + 2)


def commands(shell: str) -> Iterator[list[str]]:
    """The words of each command of `embermill` in a shell script; here-documents and other commands are passed over."""
    ends = ""
    for line in shell.replace("\\\n", " ").splitlines():
        if ends:
            ends = "" if line == ends else ends
            continue
        if found := re.search(r"<<'?(\w+)'?", line):
            ends = found[1]
        elif re.match(r"(\w+=\S+ )*embermill ", line):
            words = shlex.split(line.split(" | ")[0].split(" > ")[0], comments=True)
            yield words[words.index("embermill") + 1 :]


def inline_commands(file: Path) -> Iterator[list[str]]:
    """The same of code within sentences and tables, where an argument may be left out."""
    text = re.sub(r"^```.*?^```$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for found in re.findall(r"`embermill ([a-z][^`]*)`", text):
        yield shlex.split(found.replace("…", "x").replace("'", " "), comments=True)


def links(file: Path) -> Iterator[tuple[Path, str]]:
    """(file, anchor) of each relative link."""
    for target in re.findall(r"\]\(([^)\s]+)\)", file.read_text(encoding="utf-8")):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            yield (file.parent / path if path else file), anchor


def anchors(file: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
