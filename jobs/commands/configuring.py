"""`config` and `init`: what may be in a configuration, and a first one for a corpus and a model that were looked at."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from embermill.counts import several
from embermill.jobs.commands.command import Answer, Command, filled
from embermill.jobs.commands.quantities import show_bytes, table
from embermill.jobs.errors import UsageError

WIDTH = 100


def _add_config_arguments(parser: argparse.ArgumentParser) -> None:
    told = "explain one key (model.prompt), a section (corpus), or, without a name, every key"
    parser.add_argument("--explain", nargs="?", default=None, const="", metavar="KEY", help=told)


def config(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.config.explanations import explain

    if arguments.explain is None:
        raise UsageError("config: --explain is missing: it explains every key, --explain KEY one; `embermill plan CONFIG` checks a file")
    return {"keys": [each.to_json() for each in explain(arguments.explain or None)]}


def show_config(answer: Answer) -> str:
    return "\n".join(_explain(each) for each in answer["keys"])


def _explain(each: Answer) -> str:
    default = f"default: {each['default']}" if each["default"] is not None else f"no default; for example {each['example']}"
    return f"{each['key']}   ({default})\n{textwrap.fill(each['text'], WIDTH, initial_indent='    ', subsequent_indent='    ')}"


def _add_init_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("corpus", nargs="+", type=filled, metavar="CORPUS", help="files, folders, globs (in quotes) or URLs of Parquet, JSONL, CSV or text")
    parser.add_argument("model", type=filled, metavar="MODEL", help="a Hugging Face id, a folder, an object-store URL, or package:NAME/SUBDIR")
    parser.add_argument("--output", type=filled, default="out/embeddings", metavar="URI", help="where the dataset will go (default: out/embeddings)")
    kept = "keep each row's text in the dataset (output.text: true), so that `embermill search` shows it"
    parser.add_argument("--keep-text", action="store_true", help=kept)
    parser.add_argument("--out", type=filled, default="job.yaml", metavar="FILE", help="the configuration that is written (default: job.yaml)")


def init(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.commands.first_configuration import propose, write_configuration

    file = Path(arguments.out)
    if file.exists():
        raise UsageError(f"--out {file}: is there already, and is not overwritten: name another file with --out, or remove it")
    proposal = propose(tuple(arguments.corpus), arguments.model, arguments.output, keep_text=arguments.keep_text)
    text = write_configuration(proposal)
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise UsageError(f"--out {file}: cannot be written: {error.strerror}: name a file in a folder that is there") from error
    return {"file": str(file)} | proposal.to_json()


NO_ID = "none was found: rows are named by file and position, and `sync` cannot follow them"


def show_init(answer: Answer) -> str:
    found = answer["forecast"]
    about = "" if found["rows_exact"] else "about "
    rows = [
        ("corpus", f"{several(found['files'], 'file')}, {about}{several(found['rows'], 'row')}, {show_bytes(found['input_bytes'])}"),
        ("id", f"{answer['id_column']} ({answer['id_flaw']})" if answer["id_flaw"] else answer["id_column"] or NO_ID),
        ("text", ", ".join(answer["text_columns"])),
        *([("also there", ", ".join(answer["others"]) + " (corpus.keep_columns carries columns along)")] if answer["others"] else []),
        *([("lengths", _lengths(answer))] if found["percentiles"] else []),
        ("device", found["device"].upper()),
    ]
    then = f"Read it, then `embermill plan {answer['file']}` and `embermill run {answer['file']}`."
    return f"{answer['file']} is written\n" + table(rows) + f"\n{then}"


def _lengths(answer: Answer) -> str:
    found = answer["forecast"]["percentiles"]
    limit = f"; the model takes {answer['max_tokens']:,}, the rest is cut" if answer["max_tokens"] and found["max"] >= answer["max_tokens"] else ""
    return f"half of the rows up to {several(found['p50'], 'token')}, 90 % up to {found['p90']:,}, the longest sampled {found['max']:,}{limit}"


COMMANDS = (
    Command("init", "look at a corpus and a model and write a commented configuration", _add_init_arguments, init, show_init),
    Command("config", "explain the keys of a configuration", _add_config_arguments, config, show_config),
)
