"""Files as an attacker or a failing disk would make them, and what becomes of each. What is damaged: tests/jobs/hostile_subjects.py."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from embermill.jobs.bookkeeping.seal import BEGIN, BLANK, DIGITS, END, seal
from embermill.jobs.errors import JobError
from tests.jobs.hostile_edits import edit_document, edit_lines, edit_table

TOKENS = [
    b"", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"{", b"}", b"[", b"]", b'"', b"\\", b"\\ud800", b",", b":", b"\n", b"\r", b"\r\n", b"- ", b"&a ", b"*a", b"<<: ",
    b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-0", b"18446744073709551616", b"9223372036854775808", b"-1", b"0", b"0.5", b"1" * 400, b"[" * 300,
    b"{\"a\":" * 300, b"../../etc/passwd", b"/dev/zero", b"!!python/object:os.system", b"PAR1",
    b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\x28\xb5\x2f\xfd", b"\x7f" * 9,
]  # fmt: skip


OUTCOMES = ("read", "refused")
ALLOWED = (2, 3, 4, 33)  # exit codes of what is refused
EDITS = {".json": edit_document, ".yaml": edit_document, ".jsonl": edit_lines, ".parquet": edit_table, ".pq": edit_table}
NAMED_BY_CONTENT = re.compile(r"(.*-)([0-9a-f]{32})(\.(?:parquet|pq))")


@dataclass(frozen=True)
class Subject:
    """name -> file, of which one is damaged at a time; `look` opens what is there as a command would, and may return an exit code.

    damaged: names of those that are. edits: some keep their form, and say something else.
    forged: what is damaged gets a checksum that fits, and so does what names it by its content.
    """

    files: dict[str, bytes]
    look: Callable[[Path], int | None]
    damaged: tuple[str, ...] = ()
    edits: bool = False
    forged: bool = False

    def pick(self, draw: random.Random) -> str:
        return draw.choice(self.damaged or sorted(self.files))

    def _edited(self, draw: random.Random, name: str) -> bytes:
        edit = next((edit for ending, edit in EDITS.items() if name.endswith(ending)), mutate)
        return edit(draw, self.files[name])

    def damage(self, draw: random.Random) -> tuple[str, dict[str, bytes | None]]:
        """(name of the file that is damaged, files that differ; None: it is gone)."""
        name = self.pick(draw)
        data = self._edited(draw, name) if self.edits and draw.random() < 0.6 else mutate(draw, self.files[name], tail=name.endswith((".parquet", ".pq")))
        return name, forge(self.files, name, data) if self.forged and draw.random() < 0.8 else {name: data}


def mutate(draw: random.Random, data: bytes, *, tail: bool = False) -> bytes:
    """One to six edits. tail: most of them near the end, where a Parquet file keeps its footer."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
        low = max(0, len(found) - 1500) if tail and draw.random() < 0.9 else 0
        at = draw.randint(low, len(found))
        match draw.randrange(8):
            case 0 | 1 if found and at < len(found):
                found[at] ^= 1 << draw.randrange(8)
            case 2:
                found[at : at + draw.choice((1, 2, 8, 64))] = b""
            case 3:
                found[at:at] = draw.choice(TOKENS)
            case 4:
                found[at : at + draw.choice((1, 4, 8, 16))] = draw.choice(TOKENS)
            case 5:
                found[at:at] = found[at : at + draw.choice((1, 16, 200))]
            case 6 if draw.random() < 0.3:
                del found[at:]
            case _ if at < len(found):
                found[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
    return bytes(found)


def forge(files: dict[str, bytes], name: str, data: bytes) -> dict[str, bytes | None]:
    """What somebody would change who wants a damaged file to be believed."""
    changed: dict[str, bytes | None] = {name: sealed_again(data)}
    if (match := NAMED_BY_CONTENT.fullmatch(name)) is not None:
        new = hashlib.sha256(data).hexdigest()[:32]
        changed = {name: None, f"{match[1]}{new}{match[3]}": data}
        for other, content in files.items():
            if other.endswith("root.json") and match[2].encode() in content:
                changed[other] = sealed_again(content.replace(match[2].encode(), new.encode()))
    return changed


def sealed_again(data: bytes) -> bytes:
    begin, end = data.rfind(BEGIN), data.rfind(END)
    if begin < 0 or end != begin + len(BEGIN) + DIGITS:
        return data
    return seal(data[:begin] + BLANK.encode() + data[end + len(END) :])


def outcome(subject: Subject, folder: Path) -> str:
    """One of OUTCOMES; anything else that happens is raised."""
    try:
        code = subject.look(folder)
    except JobError as error:
        assert error.exit_code in ALLOWED and len(str(error)) < 20_000, f"{type(error).__name__} of {len(str(error))} characters: {str(error)[:300]}"
        return "refused"
    assert not code or code in ALLOWED, code
    return "refused" if code else "read"


def write(subject: Subject, folder: Path) -> None:
    for name, data in subject.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@contextlib.contextmanager
def damaged(subject: Subject, folder: Path, changed: dict[str, bytes | None]) -> Iterator[None]:
    """The folder with the files that differ, and afterwards as it was."""
    try:
        for name, data in changed.items():
            if data is None:
                (folder / name).unlink()
            else:
                (folder / name).write_bytes(data)
        yield
    finally:
        for name in changed:
            if name in subject.files:
                (folder / name).write_bytes(subject.files[name])
            else:
                (folder / name).unlink(missing_ok=True)


def try_one(subjects: dict[str, Subject], folders: dict[str, Path], seed: int, kind: str | None = None) -> tuple[str, str]:
    """(subject and file, outcome) of one mutation; the file is put back. kind: of the subject, else the seed decides."""
    draw = random.Random(seed)
    kind = kind or sorted(subjects)[seed % len(subjects)]
    subject, folder = subjects[kind], folders[kind]
    name, changed = subject.damage(draw)
    with damaged(subject, folder, changed):
        return f"{kind}: {name}", outcome(subject, folder)
