"""A look at the corpus before the plan: which files there are, of which format, with which columns, rows and bytes of text."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import PurePosixPath
from typing import NamedTuple

from embermill.counts import agreeing, several
from embermill.jobs.config import CorpusConfig
from embermill.jobs.corpus.formats import FORMATS, suffixes
from embermill.jobs.corpus.formats.format import Wanted
from embermill.jobs.corpus.pieces import Piece
from embermill.jobs.corpus.surveyed import SurveyedFile
from embermill.jobs.errors import DataError, InputChanged, JobError, UsageError
from embermill.jobs.storage import FileInfo, is_folder, is_url, list_inputs, open_input

log = logging.getLogger(__name__)

COMPRESSIONS = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
SAMPLED_FILES = 16  # where types are inferred, columns are seen in the first MiB of so many files; of the others only that they can be read
SHOWN = 3  # files in a message
LOOKING_AT_ONCE = 16  # footers of an object store, fetched side by side; a disk answers one at a time as fast, in a tenth of the memory


def cut_file(file: SurveyedFile, target_bytes: int) -> Iterator[Piece]:
    """A file in ranges of about target_bytes bytes of text; whole where it can only be read front to back."""
    if file.error:
        yield Piece(file.segment("unreadable", 0, 1), 0)
    elif file.head is not None:
        yield Piece(file.segment(*file.head), file.text_bytes)
    else:
        yield from FORMATS[file.format].cut(file, target_bytes)


class CorpusListing(list[tuple[str, FileInfo]]):
    """(name, file) of each corpus file. passed_over: files that lie in a folder of Markdown and are of a kind that nobody asked for."""

    passed_over: tuple[str, ...] = ()


def list_corpus(config: CorpusConfig) -> CorpusListing:
    """Every corpus file, in the order of the entries and sorted within each; a file that two entries match is taken once."""
    found = {entry: list_inputs(entry) for entry in config.files}
    listed: dict[str, tuple[str, FileInfo]] = {}
    for name, info in chain.from_iterable(found.values()):
        listed.setdefault(info.path, (name, info))
    if config.format != "auto" or not (unasked := _beside_markdown(listed)):
        return CorpusListing(listed.values())
    for entry, files in found.items():
        if not is_folder(entry):  # they were named
            unasked.difference_update(info.path for _, info in files)
    kept = CorpusListing(each for path, each in listed.items() if path not in unasked)
    kept.passed_over = tuple(path for path in listed if path in unasked)
    return kept


def _beside_markdown(paths: Collection[str]) -> set[str]:
    """Where there is Markdown, what has no format of its own; and plain text, whose lines have none of a document's columns but `text`."""
    kinds = {path: _known_format(path, "auto")[0] for path in paths}
    return {path for path, kind in kinds.items() if kind in ("", "text")} if "document" in kinds.values() else set()


def tell_passed_over(listed: CorpusListing) -> None:
    if paths := listed.passed_over:
        which, are = several(len(paths), "file"), agreeing(len(paths), "is", "are")
        examples = ", ".join(paths[:SHOWN]) + (", …" if len(paths) > SHOWN else "")
        advice = "corpus.format: document, or a glob that names them, takes text files into a new dataset"
        log.warning("corpus.files: %s in folders of Markdown %s of another kind, and %s passed over: %s; %s", which, are, are, examples, advice)


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
    found, compression = _known_format(path, configured)
    if not found:
        raise UsageError(
            f"{path}: its name does not tell its format: expected {', '.join(suffixes())}, compressed ones also with {', '.join(COMPRESSIONS)}: "
            "name the files by a glob (corpus.files: [folder/*.jsonl]), or set corpus.format"
        )
    if compression and (why := FORMATS[found].not_compressed):
        raise UsageError(f"{path}: {why}")
    return found, compression


def _known_format(path: str, configured: str) -> tuple[str, str | None]:
    """The same; "" for an ending that says nothing."""
    endings = [suffix.lower() for suffix in PurePosixPath(path).suffixes[-2:]]
    compression = COMPRESSIONS.get(endings[-1]) if endings else None
    inner = endings[:-1] if compression else endings
    return configured if configured != "auto" else suffixes().get(inner[-1], "") if inner else "", compression


def survey_files(
    config: CorpusConfig, limit: int | None = None, listed: Sequence[tuple[str, FileInfo]] | None = None
) -> tuple[SurveyedFile, ...]:
    """Look at every file of the corpus, or at as many as hold the first `limit` rows. Files that cannot be read carry their error.

    listed: the corpus, where it has been listed already. UsageError where an entry matches no file, or one whose format is unknown.
    """
    listed = list_corpus(config) if listed is None else listed
    formats = [file_format(info.path, config.format) for _, info in listed]
    if config.format == "auto" and {"document", "text"} <= {form for form, _ in formats}:
        log.warning("corpus.files: each .md file is a document, and each line of a .txt file is one: corpus.format: document makes one of every file")
    inferred = [number for number, (form, _) in enumerate(formats) if FORMATS[form].infers_types]
    passed_over = set(inferred[SAMPLED_FILES:])
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
        file = file if file.error else FORMATS[file.format].first_rows(file, left, max_text_bytes)
        left -= 1 if file.error else file.rows or 0
        yield file


def _survey(config: CorpusConfig, listed: tuple[str, FileInfo], kind: tuple[str, str | None], sampled: bool) -> SurveyedFile:
    name, info = listed
    wanted = Wanted(config.text_columns, tuple(column for column, _ in config.keep_columns), config.delimiter)
    try:
        if not info.version:
            raise DataError(f"{info.path}: a link to nothing")
        source = open_input(info.path, info.size, info.version)
        try:
            file = SurveyedFile(info, name, *kind, delimiter=config.delimiter)
            return FORMATS[file.format].survey(source, file, wanted, sampled=sampled)
        finally:
            source.close()
    except InputChanged:
        raise
    except (DataError, OSError) as error:
        return SurveyedFile(info, name, *kind, error=str(error))
