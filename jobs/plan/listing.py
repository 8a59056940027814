"""A look at the corpus before the plan: which files there are, of which format, with which columns, rows and bytes of text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import NamedTuple

import pyarrow as pa

from embermill.jobs.config import CorpusConfig
from embermill.jobs.corpus.reading import read_lines
from embermill.jobs.corpus.rows import RefusedRange, RowSchema
from embermill.jobs.errors import DataError, InputChanged, JobError, UsageError
from embermill.jobs.partition import Segment
from embermill.jobs.plan.listing_lines import COMPRESSION_RATIO, sample_lines
from embermill.jobs.plan.listing_parquet import RowGroup, survey_parquet
from embermill.jobs.plan.packing import Piece, cut_bytes, cut_rows
from embermill.jobs.storage import FileInfo, InputFile, is_url, list_inputs, open_input

FORMATS = {".parquet": "parquet", ".pq": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".txt": "text", ".text": "text"}
COMPRESSIONS = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
SAMPLED_JSONL_FILES = 16  # the types of JSONL columns are seen in the first MiB of so many files; of the others only that they can be read
LOOKING_AT_ONCE = 16  # footers of an object store, fetched side by side; a disk answers one at a time as fast, in a tenth of the memory


@dataclass(frozen=True)
class SurveyedFile:
    """What planning knows of one file. types: its columns. mixed: JSONL columns whose values have no common type, and what is in them, in words.
    groups: row groups (Parquet). text_bytes: estimate for the whole file.

    rows: None where only reading would tell; expected_rows: an estimate then. all_columns: a column that is not in `types` is not in the file.
    kept_row_bytes: mean bytes of a row's kept columns. error: why it cannot be read, "" where it can.
    head: only the rows in this range are wanted (--limit): ("bytes", 0, end) or ("head", 0, rows).
    """

    info: FileInfo
    name: str
    format: str
    compression: str | None
    types: dict[str, pa.DataType] = field(default_factory=dict)
    mixed: dict[str, str] = field(default_factory=dict)
    all_columns: bool = True
    rows: int | None = None
    expected_rows: int = 0
    groups: tuple[RowGroup, ...] = ()
    text_bytes: int = 0
    kept_row_bytes: int = 0
    error: str = ""
    head: tuple[str, int, int] | None = None

    @property
    def has_ranges(self) -> bool:
        """Whether its lines can be read by byte range: neither compressed nor CSV, where only reading front to back finds a row."""
        return self.compression is None and self.format in ("jsonl", "text")

    def segment(self, kind: str, start: int, end: int) -> Segment:
        return Segment(self.info.path, self.name, self.format, self.compression, self.info.size, self.info.version, kind, start, end)

    def pieces(self, target_bytes: int) -> Iterator[Piece]:
        """The file cut to ranges of about target_bytes bytes of text; whole where it can only be read front to back."""
        if self.error:
            yield Piece(self.segment("unreadable", 0, 1), 0)
        elif self.format == "parquet":
            first = 0
            for group in self.groups:
                for start, end in cut_rows(group.rows, group.text_bytes, target_bytes):
                    yield Piece(self.segment("rows", first + start, first + end), group.text_bytes * (end - start) // group.rows)
                first += group.rows
        elif self.head is not None:
            yield Piece(self.segment(*self.head), self.text_bytes)
        elif self.has_ranges:
            for start, end in cut_bytes(self.info.size, self.text_bytes, target_bytes):
                yield Piece(self.segment("bytes", start, end), self.text_bytes * (end - start) // self.info.size)
        elif self.info.size:
            yield Piece(self.segment("whole", 0, self.info.size), self.text_bytes)


def list_corpus(config: CorpusConfig) -> list[tuple[str, FileInfo]]:
    """(name, file) of every corpus file, in the order of the entries and sorted within each; a file that two entries match is taken once."""
    listed: dict[str, tuple[str, FileInfo]] = {}
    for entry in config.files:
        for name, info in list_inputs(entry):
            listed.setdefault(info.path, (name, info))
    return list(listed.values())


class CorpusChanges(NamedTuple):
    """Paths, in order. appeared: the plan has no such file. changed: it has one of another size or version."""

    appeared: list[str]
    changed: list[str]


def changes_since(listing: tuple[dict[str, object], ...], config: CorpusConfig) -> CorpusChanges:
    """What the corpus has now and the plan has not; nothing where it cannot be listed, and of files that are gone (a finished dataset needs neither)."""
    planned = {entry["path"]: entry for entry in listing}
    try:
        now = {info.path: info for _, info in list_corpus(config)}
    except JobError:
        now = {}
    appeared = [path for path in now if path not in planned]
    return CorpusChanges(appeared, [path for path, info in now.items() if path in planned and differs(planned[path] | {"identity": None}, info)])


def lost_and_changed(listing: Sequence[Mapping[str, object]], config: CorpusConfig) -> tuple[int, int]:
    """(files that are gone, files that are not as planned). Where the corpus cannot be listed nothing is known, and (0, 0)."""
    try:
        now = {info.path: info for _, info in list_corpus(config)}
    except JobError:
        return 0, 0
    planned = {str(entry["path"]): entry for entry in listing}
    return len(planned.keys() - now.keys()), sum(differs(entry, now[path]) for path, entry in planned.items() if path in now)


def differs(entry: Mapping[str, object], info: FileInfo) -> bool:
    """Whether a file is not what the plan has listed; plans from before files had an identity say nothing of it."""
    return (entry["size"], entry["version"]) != (info.size, info.version) or (entry.get("identity") or info.identity) != info.identity


class ListingDifferences(NamedTuple):
    """Paths that one driver's listing of the corpus has and another's has not, and those of which they saw different states."""

    only_here: list[str]
    only_there: list[str]
    different: list[str]


def compare_listings(ours: Sequence[Mapping[str, object]], theirs: Sequence[Mapping[str, object]]) -> ListingDifferences:
    here, there = ({str(entry["path"]): (entry["size"], entry["version"]) for entry in listing} for listing in (ours, theirs))
    both = here.keys() & there.keys()
    return ListingDifferences(sorted(here.keys() - both), sorted(there.keys() - both), sorted(path for path in both if here[path] != there[path]))


def file_format(path: str, configured: str) -> tuple[str, str | None]:
    """(format, compression) by the name's ending, the format by configuration where one is set. UsageError for an ending that says nothing."""
    suffixes = [suffix.lower() for suffix in PurePosixPath(path).suffixes[-2:]]
    compression = COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    inner = suffixes[:-1] if compression else suffixes
    found = configured if configured != "auto" else FORMATS.get(inner[-1], "") if inner else ""
    if not found:
        raise UsageError(
            f"{path}: its name does not tell its format: expected {', '.join(FORMATS)}, compressed ones also with {', '.join(COMPRESSIONS)}: "
            "name the files by a glob (corpus.files: [folder/*.jsonl]), or set corpus.format"
        )
    if compression and found == "parquet":
        raise UsageError(f"{path}: Parquet compresses inside the file; a compressed Parquet file cannot be read by ranges: unpack it")
    return found, compression


def survey_files(config: CorpusConfig, limit: int | None = None) -> tuple[SurveyedFile, ...]:
    """Look at every file of the corpus, or at as many as hold the first `limit` rows. Files that cannot be read carry their error.

    UsageError where an entry matches no file, or one whose format is unknown.
    """
    listed = list_corpus(config)
    formats = [file_format(info.path, config.format) for _, info in listed]
    lines = [number for number, (form, _) in enumerate(formats) if form == "jsonl"]
    passed_over = set(lines[SAMPLED_JSONL_FILES:])
    looks = [(listed[number], formats[number], number not in passed_over) for number in range(len(listed))]
    if limit is not None:
        return tuple(first_rows((_survey(config, *look) for look in looks), limit, config.max_text_bytes))
    remote = any(is_url(info.path) for _, info in listed)
    with ThreadPoolExecutor(LOOKING_AT_ONCE if remote else 1, thread_name_prefix="survey") as threads:
        return tuple(threads.map(lambda look: _survey(config, *look), looks))


def survey_listed(config: CorpusConfig, listed: Sequence[tuple[str, FileInfo]]) -> tuple[SurveyedFile, ...]:
    """Look at these files, as they were listed, each of them. Files that cannot be read carry their error. InputChanged where one is another now."""
    remote = any(is_url(info.path) for _, info in listed)
    with ThreadPoolExecutor(LOOKING_AT_ONCE if remote else 1, thread_name_prefix="survey") as threads:
        return tuple(threads.map(lambda each: _survey(config, each, file_format(each[1].path, config.format), True), listed))


def survey_paths(config: CorpusConfig, paths: Collection[str]) -> tuple[SurveyedFile, ...]:
    """The same for some files of the corpus, in its order; those that are gone are left out."""
    if not paths:
        return ()
    wanted = [(name, info) for name, info in list_corpus(config) if info.path in paths]
    return tuple(_survey(config, (name, info), file_format(info.path, config.format), True) for name, info in wanted)


def first_rows(files: Iterable[SurveyedFile], limit: int, max_text_bytes: int) -> Iterator[SurveyedFile]:
    """The files that hold the first `limit` rows, the last of them cut. Where a footer tells no number of rows, they are counted by reading them."""
    left = limit
    for file in files:
        if left <= 0:
            return
        file = file if file.error else _first_groups(file, left) if file.format == "parquet" else _first_lines(file, left, max_text_bytes)
        left -= 1 if file.error else file.rows or 0
        yield file


def _first_groups(file: SurveyedFile, limit: int) -> SurveyedFile:
    groups, left = [], limit
    for group in file.groups:
        if left > 0 and group.rows:
            rows = min(group.rows, left)
            groups.append(RowGroup(rows, group.text_bytes * rows // group.rows))
            left -= rows
    rows = sum(group.rows for group in groups)
    return replace(file, groups=tuple(groups), rows=rows, expected_rows=rows, text_bytes=sum(group.text_bytes for group in groups))


def _first_lines(file: SurveyedFile, limit: int, max_text_bytes: int) -> SurveyedFile:
    rows = end = 0
    schema = RowSchema("id", None, pa.string(), ("text",), "", (), max_text_bytes, "null", "quarantine")
    segment = file.segment("bytes" if file.has_ranges else "whole", 0, file.info.size)
    with closing(open_input(segment.path, segment.size, segment.version)) as source:
        for raw in read_lines(source, segment, schema):
            found = raw.row_count if isinstance(raw, RefusedRange) else raw.num_rows
            taken = min(found, limit - rows)
            if taken:
                last = raw.first_byte if isinstance(raw, RefusedRange) or raw.first_byte is None else raw.first_byte[taken - 1]
                end = 0 if last is None else int(last) + 1
            rows += taken
            if rows == limit:
                head = ("bytes", 0, end) if file.has_ranges else ("head", 0, rows)
                text_bytes = end if file.has_ranges else min(file.text_bytes, end)
                return replace(file, rows=rows, expected_rows=rows, head=head, text_bytes=text_bytes)
    return replace(file, rows=rows, expected_rows=rows)


def _survey(config: CorpusConfig, listed: tuple[str, FileInfo], kind: tuple[str, str | None], sampled: bool) -> SurveyedFile:
    name, info = listed
    try:
        if not info.version:
            raise DataError(f"{info.path}: a link to nothing")
        source = open_input(info.path, info.size, info.version)
        try:
            return _look_inside(config, SurveyedFile(info, name, *kind), source, sampled)
        finally:
            source.close()
    except InputChanged:
        raise
    except (DataError, OSError) as error:
        return SurveyedFile(info, name, *kind, error=str(error))


def _look_inside(config: CorpusConfig, file: SurveyedFile, source: InputFile, sampled: bool) -> SurveyedFile:
    kept = tuple(column for column, _ in config.keep_columns)
    if file.format == "parquet":
        types, groups, kept_row_bytes = survey_parquet(source, file.info.path, config.text_columns, kept)
        text_bytes, rows = sum(group.text_bytes for group in groups), sum(group.rows for group in groups)
        return replace(file, types=types, groups=groups, rows=rows, text_bytes=text_bytes, expected_rows=rows, kept_row_bytes=kept_row_bytes)
    expanded = file.info.size * (1 if file.compression is None else COMPRESSION_RATIO)
    if not sampled:
        source.read(1)
        return replace(file, text_bytes=expanded, all_columns=False)
    sample = sample_lines(source, file.info.path, file.format, file.compression, config.text_columns, kept)
    if not sample.size or (file.format == "csv" and not sample.types):
        return replace(file, types=sample.types, rows=0)
    expanded = max(1, expanded if file.compression is None or not sample.whole else sample.size)
    share = min(1.0, max(0.01, sample.text_bytes / sample.size)) if sample.text_bytes else 1.0
    rows = max(1, sample.rows)
    all_columns = bool(sample.whole and sample.types) and not any(map(pa.types.is_null, sample.types.values()))  # a null may become anything further on
    return replace(
        file,
        types=sample.types,
        mixed=sample.mixed,
        text_bytes=int(expanded * share),
        all_columns=all_columns,
        kept_row_bytes=sample.kept_bytes // rows,
        expected_rows=expanded * rows // max(1, sample.size),
    )
