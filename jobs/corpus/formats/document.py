"""A file that is one document: Markdown by itself, any text or HTML file where corpus.format says `document`. Its id is its path below the corpus entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from embermill.jobs.chunking.markdown import outline
from embermill.jobs.corpus.columns import ColumnFitter, check_file
from embermill.jobs.corpus.formats.format import BatchSize, Wanted
from embermill.jobs.corpus.formats.line_sample import COMPRESSION_RATIO
from embermill.jobs.corpus.html import extract
from embermill.jobs.corpus.lines import DamagedStream, open_text
from embermill.jobs.corpus.pieces import Piece
from embermill.jobs.corpus.rows import Fault, RawRows, RefusedRange, RowSchema
from embermill.jobs.corpus.surveyed import SurveyedFile
from embermill.jobs.errors import UsageError
from embermill.jobs.partition import Segment
from embermill.jobs.storage import InputFile

NAME = "document"
MARKDOWN = (".md", ".markdown")
COLUMNS = {"id": pa.string(), "path": pa.string(), "size": pa.int64(), "title": pa.string(), "text": pa.string()}
MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
NOT_TEXT = {
    ".pdf": "a PDF", ".doc": "an Office file", ".docx": "an Office file", ".ppt": "an Office file", ".pptx": "an Office file", ".xls": "an Office file",
    ".xlsx": "an Office file", ".odt": "an Office file", ".epub": "an e-book",
}  # fmt: skip
READ_BYTES = 1 << 20
HTML = (".html", ".htm", ".xhtml")
BYTES_PER_POINT = 4  # UTF-16 and other encodings may take so many bytes for what UTF-8 says in one


class Unreadable(Exception):
    """Why a file is no document."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.error)
        self.fault = fault


def decode(data: bytes, encoding: str) -> str:
    """By its byte order mark, else by `encoding`; never by a guess. Line ends stay as they are. Unreadable, with the place of what does not fit."""
    mark, by_mark = next(((mark, name) for mark, name in MARKS if data.startswith(mark)), (b"", encoding))
    try:
        text = data[len(mark) :].decode(by_mark)
        text.encode()
    except UnicodeError as error:
        if not mark and b"\0" in data and "\0".encode(encoding) == b"\0":
            raise Unreadable(_holds_nul(f"byte {data.index(0)}", data)) from None
        at = f" at byte {error.start + len(mark)}" if isinstance(error, UnicodeDecodeError) else ""
        advice = "" if mark or encoding != "utf-8" else ": name the encoding of all files as corpus.encoding, latin-1 for example, or fix the file"
        raise Unreadable(Fault("invalid_utf8", f"the file is no {by_mark.upper()}{at}{advice}", len(data))) from None
    if "\x00" in text:
        raise Unreadable(_holds_nul(f"character {text.index(chr(0))}", data))
    return text


def _holds_nul(at: str, data: bytes) -> Fault:
    said = "it is no text, or in an encoding that neither a byte order mark nor corpus.encoding tells"
    return Fault("binary_file", f"the file holds a NUL at {at}: {said}", len(data))


def hive_columns(path: str) -> dict[str, str]:
    """`…/section=games/a.md` -> {"section": "games"}."""
    pairs = (part.partition("=") for part in PurePosixPath(path).parts[:-1])
    return {key: unquote(value) for key, equals, value in pairs if equals and key and value and key not in COLUMNS}


def is_markdown(path: str) -> bool:
    return _without_compression(path).endswith(MARKDOWN)


def is_html(path: str) -> bool:
    return _without_compression(path).endswith(HTML)


def _without_compression(path: str) -> str:
    return path.lower().removesuffix(".gz").removesuffix(".zst")


class Document:
    """Small files are packed whole, many to a partition; none of them is looked into before it is read."""

    name = NAME
    suffixes: tuple[str, ...] = MARKDOWN
    not_compressed = ""
    infers_types = False

    def survey(self, source: InputFile, file: SurveyedFile, wanted: Wanted, *, sampled: bool) -> SurveyedFile:
        if what := NOT_TEXT.get(PurePosixPath(file.info.path).suffix.lower()):
            raise UsageError(
                f"{file.info.path}: is {what}, and a document is a text file: extract its text first (docling, pandoc or trafilatura write Markdown), "
                "and name the files that they make"
            )
        types = COLUMNS | dict.fromkeys(hive_columns(file.info.path), pa.string())
        expanded = file.info.size * (1 if file.compression is None else COMPRESSION_RATIO)
        kept = sum(len(file.name) for column in wanted.kept if column != "size")
        return replace(file, types=types, rows=1, expected_rows=1, text_bytes=max(1, expanded), kept_row_bytes=kept)

    def first_rows(self, file: SurveyedFile, limit: int, max_text_bytes: int) -> SurveyedFile:
        return file

    def cut(self, file: SurveyedFile, target_bytes: int) -> Iterator[Piece]:
        yield Piece(file.segment("whole", 0, file.info.size), file.text_bytes)

    def read(self, source: InputFile, segment: Segment, schema: RowSchema, batch: BatchSize) -> Iterator[RawRows | RefusedRange]:
        check_file(schema, segment.path, COLUMNS | dict.fromkeys(hive_columns(segment.path), pa.string()))
        try:
            data = _read(source, segment, BYTES_PER_POINT * schema.max_text_bytes)
            source.check()
            text, title = decode(data, schema.encoding or "utf-8"), None
            if is_html(segment.path):
                text, title = extract(text, segment.path, schema.html_extractor)
            elif is_markdown(segment.path):
                title = outline(text, front_matter=schema.finds_front_matter).title if "title" in schema.columns else None
        except Unreadable as error:
            yield _row(segment, schema, "", None, 0, error.fault)
            return
        except DamagedStream as error:
            if schema.on_bad_file == "fail":
                raise
            yield RefusedRange(1, 0, None, Fault("unreadable_file", str(error)))
            return
        yield _row(segment, schema, text, title, len(data), None)

    def has_byte_ranges(self, compression: str | None) -> bool:
        return False

    def rows_lost(self, source: InputFile, entry: Mapping[str, object]) -> str:
        """It is one row, whatever is in it."""
        return ""


def _read(source: InputFile, segment: Segment, most: int) -> bytes:
    stream, parts, size = open_text(source, segment.compression, segment.path), list[bytes](), 0
    while data := stream.read(READ_BYTES):
        parts.append(data)
        size += len(data)
        if size > most:
            raise Unreadable(Fault("text_too_long", f"a file of more than {most} bytes, {BYTES_PER_POINT} times corpus.max_text_bytes", None))
    return b"".join(parts)


def _row(segment: Segment, schema: RowSchema, text: str, title: str | None, size: int, fault: Fault | None) -> RawRows:
    make: dict[str, Callable[[], object]] = {
        "id": lambda: segment.name,
        "path": lambda: segment.name,
        "size": lambda: size,
        "title": lambda: title,
        "text": lambda: text,
    }
    hive = hive_columns(segment.path)
    columns = {name: pa.array([make[name]()], COLUMNS[name]) for name in schema.columns if name in make}
    columns |= {name: pa.array([hive[name]], pa.string()) for name in schema.columns if name in hive}
    ids, texts, kept, faults = ColumnFitter(schema).fit(1, columns)
    return RawRows(1, ids, texts, kept, np.zeros(1, np.int64), None, faults if fault is None else {0: fault})
