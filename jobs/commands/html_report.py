"""`report`, and the reports that `run` and `sync` leave with --report."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from embermill.counts import several
from embermill.jobs.commands.command import Answer, Command, filled, positive_rate
from embermill.jobs.commands.quantities import show_bytes, table
from embermill.jobs.errors import UsageError
from embermill.jobs.wording import units

log = logging.getLogger(__name__)
PRICE = "what a worker (a GPU, or a slice of CPUs) costs an hour, in any currency: the report says what the recorded runs cost"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", type=filled, metavar="OUTPUT", help="the dataset: a folder or an object-store URL")
    parser.add_argument("--out", type=filled, metavar="FILE", help="where the HTML file goes; one that is there is replaced (default: NAME-report.html here)")
    parser.add_argument("--price-per-hour", type=positive_rate, metavar="PRICE", help=PRICE)
    parser.add_argument("--mapped-rows", type=_few, default=800, metavar="N", help="rows on the map of vectors, 0 to 2000 (default: 800)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which rows are drawn for the map (default: 0)")


def _few(text: str) -> int:
    if not text.isdecimal() or int(text) > 2000:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 2000, got {text}")
    return int(text)


def add_report_argument(parser: argparse.ArgumentParser) -> None:
    """Of commands that make a dataset."""
    told = "at the end write an HTML report to FILE, also when the job fails: speed, bottleneck, lengths, refused rows, workers (needs embermill[report])"
    parser.add_argument("--report", type=filled, metavar="FILE", help=told)
    parser.add_argument("--price-per-hour", type=positive_rate, metavar="PRICE", help=f"for --report: {PRICE}")


def report(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.report.account import Options

    if arguments.seed < 0:
        raise UsageError(f"--seed: expected a whole number from 0 up, got {arguments.seed}")
    name = arguments.output.rstrip("/").rpartition("/")[2] or "dataset"
    options = Options(arguments.price_per_hour, arguments.mapped_rows, arguments.seed)
    return _write(arguments.output, _place(arguments.out or f"{name}-report.html", "--out"), options)


def _write(uri: str, file: Path, options: object) -> Answer:
    from embermill.jobs.report.account import Options, account_for
    from embermill.jobs.report.page import render
    from embermill.jobs.report.vega import require_vega

    require_vega()
    assert isinstance(options, Options)
    answer = account_for(uri, options)
    page = render(answer).encode()
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        beside.write_bytes(page)
        beside.replace(file)
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror or error}: free disk space there, or name another file") from error
    finally:
        beside.unlink(missing_ok=True)
    return answer | {"file": str(file), "file_bytes": len(page)}


def _place(file: str, option: str) -> Path:
    """UsageError where nothing can be written there: before the work, not after it."""
    path = Path(file).absolute()
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(f"{option} {file}: cannot be written: expected the name of a file in a folder that is there and writable")
    return path


class AtEnd:
    """output: of the dataset that the report is about, once it is known."""

    def __init__(self, output: str) -> None:
        self.output = output


@contextlib.contextmanager
def report_at_end(arguments: argparse.Namespace, output: str) -> Iterator[AtEnd]:
    """The report that was asked for, however the job ends. A report that cannot be made changes no exit code."""
    about = AtEnd(output)
    if arguments.report is None:
        if arguments.price_per_hour is not None:
            raise UsageError("--price-per-hour is for a report: say with --report FILE where it goes")
        yield about
        return
    from embermill.jobs.report.account import Options
    from embermill.jobs.report.vega import require_vega

    require_vega()
    file = _place(arguments.report, "--report")
    try:
        yield about
    finally:
        try:
            if _has_begun(about.output):  # else the error that ended the job says all there is
                made = _write(about.output, file, Options(arguments.price_per_hour))
                log.info("report: %s (%s)", made["file"], show_bytes(made["file_bytes"]))
        except Exception as error:
            log.warning("no report was written: %s", error)


def _has_begun(output: str) -> bool:
    from embermill.jobs.storage import open_folder

    return next(iter(open_folder(output).list("_embermill/plan")), None) is not None


def show_report(answer: Answer) -> str:
    chunked = answer["documents"] is not None
    (read, unit), refused = units(chunked), answer["refused"]
    by = f" ({refused['rows']:,} refused by the run, {refused['rows_later']:,} by later versions, each time it was)" if refused["rows_later"] else ""
    rows = [
        (f"{read}s", f"{answer['documents'] if chunked else answer['rows']:,}; {refused['rows_in_all']:,} in quarantine{by}"),
        *([("chunks", f"{answer['rows']:,}")] if chunked else []),
        ("tokens", f"{answer['tokens']:,}, and {answer['tokens_dropped']:,} cut off from {several(answer['rows_truncated'], unit)}"),
        ("runs", f"{len(answer['runs']):,} recorded"),
    ]
    if not answer["rows"] and not answer["finished"]:
        rows.append(("no rows", answer["unfinished"]))
    if answer["cost"] is not None:
        rows.append(("cost", f"{answer['cost']['paid']:,.2f} for {answer['cost']['worker_hours']:,.4g} worker-hours"))
    return f"{answer['file']} ({show_bytes(answer['file_bytes'])}): open it in a browser; it loads nothing from elsewhere\n" + table(rows)


COMMANDS = (
    Command("report", "write an HTML page about a dataset and how it was made", _add_arguments, report, show_report),
)
