"""`embermill init`: a configuration for a corpus and a model that were looked at, as YAML with a comment for each key."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from embermill.counts import several
from embermill.credentials import shown_address
from embermill.jobs.config import JobConfig
from embermill.jobs.config.explanations import explanations
from embermill.jobs.corpus.formats import document
from embermill.jobs.corpus.formats.csv import Csv, guess_delimiter
from embermill.jobs.corpus.reading import read_rows
from embermill.jobs.corpus.rows import RowBatch
from embermill.jobs.corpus.surveyed import SurveyedFile
from embermill.jobs.errors import DataError, JobError, UsageError
from embermill.jobs.plan.forecast import forecast
from embermill.jobs.plan.listing import survey_files
from embermill.jobs.plan.planning import cut_corpus, row_schema
from embermill.jobs.preflight import find_prompts, look_ahead
from embermill.jobs.shard.names import require_apart
from embermill.jobs.storage import open_folder

SAMPLED_ROWS = 200
SAMPLED_BYTES = 1 << 18  # of text, from the beginning of the first file
BODIES = ("text", "body", "content", "contents", "passage", "document", "abstract", "description", "chunk", "article", "page_content", "summary")
TITLES = ("title", "heading", "headline", "subject")
IDS = re.compile(r"_?id|.*_id|uuid|guid|key|pk|doc(ument)?id|url|uri|path", re.IGNORECASE)
WIDTH = 110
ID_FLAW = "some ids are null or occur twice: a row without an id is refused, and `sync` needs an id for each row"


@dataclass(frozen=True)
class Proposal:
    """config: with its paths as they were given. columns: name -> type, of the files that were looked at. others: columns that are not used.

    id_flaw: what is wrong with the id column.
    """

    config: JobConfig
    columns: dict[str, str]
    others: tuple[str, ...]
    prompt: str | None
    max_tokens: int | None
    forecast: dict[str, Any]
    id_flaw: str

    def to_json(self) -> dict[str, Any]:
        corpus = self.config.corpus
        chosen: dict[str, Any] = {"id_column": corpus.id_column, "id_flaw": self.id_flaw, "text_columns": [*corpus.text_columns]}
        chosen |= {"others": [*self.others], "columns": self.columns}
        return chosen | {"model": shown_address(str(self.config.model.source)), "max_tokens": self.max_tokens, "prompt": self.prompt, "forecast": self.forecast}


def propose(corpus: tuple[str, ...], model: str, output: str, *, keep_text: bool = False) -> Proposal:
    """Look at the beginning of the corpus and at the model. UsageError and DataError as a run would raise them, and where no column holds text."""
    given = JobConfig.model_validate({"model": {"source": model}, "corpus": {"files": list(corpus)}, "output": {"uri": output, "text": keep_text}})
    require_apart(given.anchored(Path.cwd()), open_folder(given.anchored(Path.cwd()).output.uri).root)
    given, files = _surveyed(given)
    config = given.anchored(Path.cwd())
    readable = [file for file in files if not file.error and file.rows != 0]
    if not readable:
        nothing = f"{', '.join(corpus[:3])}: the corpus has no rows to look at: expected at least one"
        raise DataError("; ".join(file.error for file in files[:3] if file.error) or nothing)
    columns = {name: kind for file in readable for name, kind in file.types.items()}
    if not columns and readable[0].format != "text":
        raise DataError(f"{readable[0].info.path}: it has no rows to look at: expected objects with a column of texts")
    texts = _choose_texts(config, readable, columns)
    identity = _choose_id(config, readable, {name: kind for name, kind in columns.items() if name not in texts})
    flaw = ID_FLAW if identity is None and "id" in columns else ""
    identity = "id" if flaw else identity  # which a run takes where none is named
    chosen: dict[str, Any] = {"text_columns": texts, "id_column": identity}
    config, given = (each.model_copy(update={"corpus": each.corpus.model_copy(update=chosen)}) for each in (config, given))
    prospect = look_ahead(config)
    prompts = find_prompts(config, None)
    others = tuple(name for name in columns if name not in texts and name != identity)
    return Proposal(
        given, {name: str(kind) for name, kind in columns.items()}, others, prompts.document if prompts else None, prospect.engine.max_tokens,
        forecast(config, prospect).to_json(), flaw,
    )  # fmt: skip


def _surveyed(given: JobConfig) -> tuple[JobConfig, tuple[SurveyedFile, ...]]:
    """The corpus, with the delimiter that its CSV files seem to have where commas give them one column each."""
    files = survey_files(given.anchored(Path.cwd()).corpus)
    guessed = {guess_delimiter(file) for file in files if file.format == Csv.name and not file.error}
    if len(guessed) != 1 or (delimiter := guessed.pop()) is None:
        return given, files
    given = given.model_copy(update={"corpus": given.corpus.model_copy(update={"delimiter": delimiter})})
    return given, survey_files(given.anchored(Path.cwd()).corpus)


def _choose_texts(config: JobConfig, files: list[SurveyedFile], columns: dict[str, pa.DataType]) -> tuple[str, ...]:
    """A column by a usual name, with a title before it; else the one with the longest texts in the sample."""
    if not columns or files[0].format == document.NAME:
        return ("text",)  # plain text: each line; a file of Markdown begins with its title already
    strings = [name for name, kind in columns.items() if pa.types.is_string(kind) or pa.types.is_large_string(kind)]
    body = next((name for usual in BODIES for name in strings if name.lower() == usual), None)
    if body is None:
        lengths = {name: _mean_length(config, files, name) for name in strings}
        body = max(lengths, key=lambda name: lengths[name], default=None)
    if body is None:
        there = ", ".join(f"{name} ({kind})" for name, kind in columns.items()) or "none"
        raise UsageError(f"no column holds texts; the columns there are: {there}: expected at least one of strings")
    title = next((name for usual in TITLES for name in strings if name.lower() == usual and name != body), None)
    return (body,) if title is None else (title, body)


def _mean_length(config: JobConfig, files: list[SurveyedFile], column: str) -> float:
    batch = _sample(config, files, {"text_columns": (column,)})
    return 0.0 if batch is None or not len(batch.texts) else (pc.mean(pc.binary_length(batch.texts)).as_py() or 0.0)


def _choose_id(config: JobConfig, files: list[SurveyedFile], columns: dict[str, pa.DataType]) -> str | None:
    """A column that is named like an id, and has no value twice and no null in the sample."""
    plain = {name: kind for name, kind in columns.items() if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)}
    named = sorted((name for name in plain if IDS.fullmatch(name)), key=lambda name: (name.lower() != "id", name.lower() not in ("_id", "uuid", "doc_id")))
    for name in named:
        text = next((other for other in columns if other != name), name)
        batch = _sample(config, files, {"text_columns": (text,) if text != name else (name,), "id_column": name, "on_schema_drift": "cast"})
        if batch is not None and not any(refusal.reason == "null_id" for refusal in batch.refused) and len(pc.unique(batch.ids)) == len(batch.ids) > 0:
            return name
    return None


def _sample(config: JobConfig, files: list[SurveyedFile], corpus: dict[str, Any]) -> RowBatch | None:
    """The first rows of the first file, read so; None where that cannot be."""
    looked = config.model_copy(update={"corpus": config.corpus.model_copy(update=corpus)})
    try:
        rows = row_schema(looked, tuple(files))
        return next(read_rows(cut_corpus((files[0],), SAMPLED_BYTES)[0], rows, batch_rows=SAMPLED_ROWS), None)
    except JobError:
        return None


def write_configuration(proposal: Proposal) -> str:
    """YAML. What was found is said in comments, and each key is explained as `config --explain` does."""
    return "\n".join([*_head(proposal), *_sections(proposal)]) + "\n"


def _head(proposal: Proposal) -> Iterator[str]:
    found = proposal.forecast
    about = "" if found["rows_exact"] else "about "
    yield from _comment(f"Written by `embermill init`, which looked at {several(found['files'], 'file')} with {about}{several(found['rows'], 'row')}.", "")
    yield from _comment("Columns: " + (", ".join(f"{name} ({kind})" for name, kind in proposal.columns.items()) or "each line is a text"), "")
    if lengths := found["percentiles"]:
        limit = f" The model takes {proposal.max_tokens:,}." if proposal.max_tokens else ""
        told = f"half up to {lengths['p50']}, 90 % up to {lengths['p90']}, the longest {lengths['max']}"
        yield from _comment(f"Tokens of {several(found['sampled_texts'], 'sampled text')}: {told}.{limit}", "")
    yield from _comment("Keys that are left out have their defaults: `embermill config --explain` lists them all.", "")


def _sections(proposal: Proposal) -> Iterator[str]:
    config, found = proposal.config, proposal.forecast
    corpus = config.corpus
    notes = {
        "model.prompt": f"the model's own: {json.dumps(proposal.prompt, ensure_ascii=False)}" if proposal.prompt else "",
        "corpus.id_column": _about_id(proposal),
        "corpus.keep_columns": f"Not used so far: {', '.join(proposal.others)}" if proposal.others else "",
        "workers.device": f"Found here: {found['device']}",
    }
    held: dict[str, dict[str, Any]] = {
        "model": {"source": config.model.source, "prompt": None, "max_tokens": None, "on_long_text": config.model.on_long_text},
        "corpus": {
            "files": [*corpus.files], "id_column": corpus.id_column, "text_columns": [*corpus.text_columns], "keep_columns": [],
            "max_quarantined": corpus.max_quarantined,
        } | ({} if corpus.delimiter == "," else {"delimiter": corpus.delimiter}),
        "output": {"uri": config.output.uri} | ({"text": True} if config.output.text else {}),
        "workers": {"count": "auto", "device": "auto"},
        "ray": {"address": None},
    }  # fmt: skip
    for section, keys in held.items():
        yield f"\n{section}:"
        for name, value in keys.items():
            key = f"{section}.{name}"
            yield from _comment(explanations()[key].text, "  ")
            if note := notes.get(key):
                yield from _comment(note, "  ")
            yield f"  {name}: {json.dumps(value, ensure_ascii=False)}"


def _about_id(proposal: Proposal) -> str:
    if proposal.id_flaw:
        return f"Among the rows looked at, {proposal.id_flaw}."
    return "" if proposal.config.corpus.id_column else "No column that is named like an id and is unique was found: `sync` needs one."


def _comment(text: str, indent: str) -> list[str]:
    """text: may hold what a corpus says; whatever is no plain line of text is replaced."""
    plain = "".join(character if character.isprintable() else "�" for character in text)
    return textwrap.wrap(plain, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_long_words=False)
