"""The command `embermill`: arguments in, one answer out, and an exit code that says what to do next.

Every command makes one answer, a JSON object. With --json that object is all that stdout ever holds; without, stdout gets the same answer in
words. Everything else (progress, logs, errors) goes to stderr. Ray, CuPy and the encoder are imported by the commands that need them, when
they run: asking for help costs nothing.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import cache
from typing import NoReturn

from embermill.credentials import without_credentials
from embermill.jobs.commands import bench, cluster, configuring, export, html_report, index, job, model, versions, weights
from embermill.jobs.commands.command import Command
from embermill.jobs.commands.parser import HelpAsked, Parser
from embermill.jobs.errors import EXIT_DEFECT, EXIT_INTERRUPTED, EXIT_OK, JobError, UsageError
from embermill.jobs.process.allocators import return_memory_at_once
from embermill.jobs.process.standard_output import AnswerLost, claim_standard_output, write_answer

ROOMS = (configuring, job, versions, html_report, cluster, index, export, model, bench, weights)
EPILOG = """exit codes:
  0   done
  2   something you need to fix: arguments, configuration, model, credentials, permissions or disk space; what was committed is kept
  3   bad data in a corpus, a dataset or the given texts; the message says where
  4   another run is working on this dataset: wait until it has ended
  33  interrupted or a transient failure: run the same command again, it resumes from what is committed
  1   a bug in embermill: the traceback is shown
"""


def build_parser() -> argparse.ArgumentParser:
    """All commands. Each sets `command`, which makes the answer, `show`, which puts it into words, and `parser`, its own."""
    return _parser_of(tuple(command for room in ROOMS for command in room.COMMANDS))


@cache
def _parser_of(entries: tuple[Command, ...]) -> argparse.ArgumentParser:
    shared = Parser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print the answer as one JSON object on stdout, and nothing else there")
    shared.add_argument("--verbose", action="store_true", help="log every choice, and show the traceback of every error")
    parser = Parser(
        prog="embermill",
        description="Embed a corpus: turn texts in Parquet, JSONL, CSV or plain text files into Parquet shards of vectors, on every GPU or CPU core available.",
        epilog=EPILOG,
        parents=[shared],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(metavar="COMMAND", dest="name")
    for entry in entries:
        sub = commands.add_parser(entry.name, help=entry.help, description=entry.description or entry.help, parents=[shared], allow_abbrev=False)
        entry.add_arguments(sub)
        sub.set_defaults(command=entry.answer, show=entry.show, parser=sub)
    return parser


def main(arguments: Sequence[str] | None = None, first: Callable[[], object] = lambda: None) -> int:
    """Run one command; its exit code. `arguments` are the process's own unless given. first: called before anything else; an interruption from then on
    is reported as any other error."""
    arguments = sys.argv[1:] if arguments is None else arguments
    as_json, verbose = "--json" in arguments, "--verbose" in arguments
    try:
        first()
        answer, words = _answer(arguments, verbose)
        if as_json or words:
            write_answer(json.dumps(answer) if as_json else words)
    except (Exception, KeyboardInterrupt, SystemExit) as error:  # a library that would end the process is no end of ours
        return _report(error, as_json=as_json, verbose=verbose)
    return EXIT_OK


def _answer(arguments: Sequence[str], verbose: bool) -> tuple[dict[str, object], str]:
    parser = build_parser()
    _check_command(arguments)
    try:
        parsed, unknown = parser.parse_known_args(arguments)
    except HelpAsked as help:
        return {"usage": str(help)}, str(help)
    if unknown:
        parsed.parser.refuse(unknown)
    if parsed.version:
        from importlib.metadata import version

        return {"version": version("embermill")}, f"embermill {version('embermill')}"
    if parsed.name is None:
        return {"usage": parser.format_help().rstrip()}, parser.format_help().rstrip()
    logging.basicConfig(handlers=[_log()], level=logging.WARNING)
    logging.getLogger("embermill.jobs").setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.getLogger("embermill.encoder").setLevel(logging.DEBUG if verbose else logging.WARNING)
    with contextlib.redirect_stdout(sys.stderr):  # stdout belongs to the answer, whatever a library thinks
        answer = parsed.command(parsed)
        return answer, parsed.show(answer)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return without_credentials(super().format(record))


def _log() -> logging.Handler:
    """What a library logs may name an address with credentials as well."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    return handler


def _check_command(arguments: Sequence[str]) -> None:
    """Argparse would list all commands; we name the one that was probably meant."""
    known = [command.name for room in ROOMS for command in room.COMMANDS]
    given = next((argument for argument in arguments if not argument.startswith("-")), None)
    if given is not None and given not in known:
        close = get_close_matches(given, known, n=1)
        raise UsageError(f"unknown command `{given}`: " + (f"did you mean `{close[0]}`?" if close else f"expected one of {', '.join(known)}"))


def _report(error: BaseException, *, as_json: bool, verbose: bool) -> int:
    """Say what went wrong, once, in words on stderr and with --json as an object on stdout; the exit code."""
    if isinstance(error, OSError):
        from embermill.jobs.storage import FULL, disk_failure

        error = disk_failure(error, "a file cannot be written") if error.errno in FULL else error
    kind, message, code = type(error).__name__, without_credentials(str(error)), EXIT_DEFECT
    if isinstance(error, KeyboardInterrupt):
        message = "interrupted; what was committed is kept: `embermill run` resumes from there, other commands start over"
        kind, code = "Interrupted", EXIT_INTERRUPTED
    elif isinstance(error, JobError):
        code = error.exit_code
    else:
        message = f"this is a bug in embermill, please report it: {kind}: {message}"
    _say(message, error if verbose or (code == EXIT_DEFECT and not getattr(error, "elsewhere", False)) else None)
    if as_json and not isinstance(error, AnswerLost):
        found = getattr(error, "report", None)  # what `verify` found, beside what it says of it
        try:
            write_answer(json.dumps({"error": {"kind": kind, "message": message, "exit_code": code}} | (found.to_json() if found else {})))
        except AnswerLost as lost:  # the code stays that of what went wrong first
            _say(str(lost))
    return code


def _say(message: str, traced: BaseException | None = None) -> None:
    with contextlib.suppress(OSError):  # where stderr takes no words either, the exit code says it alone
        if traced is not None:
            print(without_credentials("".join(traceback.format_exception(traced))), end="", file=sys.stderr)
        print(f"embermill: {message}", file=sys.stderr, flush=True)


def _interrupt_on_signals() -> None:
    for number in (signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def _answered() -> int:
    """The exit code of the process's own command."""
    try:
        claim_standard_output()
        return main(first=_interrupt_on_signals)
    except AnswerLost as error:
        return _report(error, as_json=False, verbose=False)


def _heed_no_more() -> None:
    """What comes now would end the way out."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def entry() -> NoReturn:
    """The process's way in. SIGTERM and SIGHUP are Ctrl-C (SIGHUP unless nohup has it ignored). Stdout belongs to the answer down to the file descriptor,
    also in the processes that Ray starts.

    The way out leaves the interpreter standing: a thread of Arrow's that gives a Python buffer back while it is torn down ends the process by SIGABRT
    (before Python 3.14), whatever its exit code was.
    """
    code = EXIT_INTERRUPTED
    try:
        return_memory_at_once()
        code = _answered()
        _heed_no_more()
    except KeyboardInterrupt:  # again, while the first one was being reported, or once it was
        _heed_no_more()
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()  # Ray's and the temporary folders' last words; standard output was flushed by main
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code)
