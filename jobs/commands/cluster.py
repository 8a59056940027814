"""The commands about jobs on a cluster: submit, jobs, logs, stop."""

from __future__ import annotations

import argparse
import time

from embermill.jobs.commands import answers_run
from embermill.jobs.commands.command import Answer, Command, filled
from embermill.jobs.commands.quantities import show_seconds


def _add_address(parser: argparse.ArgumentParser) -> None:
    told = "the dashboard of the cluster's head; RAY_API_SERVER_ADDRESS unless given"
    parser.add_argument("--address", type=filled, metavar="http://HEAD:8265", help=told)


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", type=filled, metavar="NAME", help="of the job, as `embermill jobs` lists it; the id of one submission is taken, too")
    _add_address(parser)


def _add_follow(parser: argparse.ArgumentParser) -> None:
    told = "follow log and progress until the job ends, whose exit code becomes this command's; Ctrl-C leaves the job running (default: --follow)"
    parser.add_argument("--follow", action=argparse.BooleanOptionalAction, default=True, help=told)


def _add_submit_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=filled, metavar="CONFIG", help="the job's YAML file, on this machine; its paths must be URLs or absolute")
    example = "override one key, for example --set workers.count=4; may be given several times"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help=example)
    _add_address(parser)
    parser.add_argument("--name", type=filled, metavar="NAME", dest="job", help="the job's name; that of its dataset unless given")
    _add_follow(parser)
    code = "send this folder along: the code of a python: engine (not what .gitignore names, nor .env)"
    parser.add_argument("--working-dir", type=filled, metavar="DIR", dest="working_dir", help=code)


def submit(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.driver.display import open_display
    from embermill.jobs.submit.cluster import resolve_address
    from embermill.jobs.submit.submitting import submit as send

    return send(
        arguments.config, arguments.overrides, resolve_address(arguments.address),
        name=arguments.job, working_dir=arguments.working_dir, followed=arguments.follow, display=open_display(),
    )  # fmt: skip


def jobs(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.submit.cluster import resolve_address
    from embermill.jobs.submit.submitting import list_jobs

    return list_jobs(resolve_address(arguments.address))


def _add_logs_arguments(parser: argparse.ArgumentParser) -> None:
    _add_name(parser)
    _add_follow(parser)


def logs(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.driver.display import open_display
    from embermill.jobs.submit.cluster import resolve_address
    from embermill.jobs.submit.submitting import logs as come_back

    return come_back(arguments.job, resolve_address(arguments.address), followed=arguments.follow, display=open_display())


def stop(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.submit.cluster import resolve_address
    from embermill.jobs.submit.submitting import stop as end

    return end(arguments.job, resolve_address(arguments.address))


def show_watched(answer: Answer) -> str:
    """A job that was followed to its end, or that goes on without us."""
    if "log" in answer:
        return str(answer["log"]).rstrip("\n")
    if answer["summary"] is not None:
        return answers_run.show_run(answer["summary"])
    if answer["exit_code"] == 0:
        return f"{answer['name']} ({answer['id']}) is done"
    at = f"{answer['name']} --address {answer['address']}"
    state = "keeps running" if answer["detached"] else "is running"
    return f"{answer['name']} {state} as {answer['id']}\n  come back to it:  embermill logs {at}\n  stop it:          embermill stop {at}"


def show_jobs(answer: Answer) -> str:
    if not answer["jobs"]:
        return f"no job of embermill was submitted to {answer['address']} since it was started"
    now_s = time.time()
    rows = [("NAME", "ID", "STATUS", "EXIT", "TOOK", "OUTPUT"), *(_job_row(job, now_s) for job in answer["jobs"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _job_row(job: Answer, now_s: float) -> tuple[str, ...]:
    took = "" if job["submitted_s"] is None else show_seconds((job["ended_s"] or now_s) - job["submitted_s"])
    return job["name"], job["id"], job["status"].lower(), "" if job["exit_code"] is None else str(job["exit_code"]), took, job["output"]


def show_stopped(answer: Answer) -> str:
    if not answer["was_running"]:
        return f"{answer['name']} ({answer['id']}) was not running: it had ended with exit code {answer['exit_code']}"
    if answer["status"] != "STOPPED":  # it came to its own end first
        return f"{answer['name']} ({answer['id']}) ended by itself, with exit code {answer['exit_code']}"
    return f"{answer['name']} ({answer['id']}) was stopped: what is committed stays, and submitting it again resumes from there"


COMMANDS = (
    Command("submit", "run a job on a Ray cluster, through its dashboard, and follow it", _add_submit_arguments, submit, show_watched),
    Command("jobs", "list the jobs submitted to a cluster", _add_address, jobs, show_jobs),
    Command("logs", "show the log of a submitted job and keep following it", _add_logs_arguments, logs, show_watched),
    Command("stop", "stop a submitted job cleanly; submitting it again resumes it", _add_name, stop, show_stopped),
)
