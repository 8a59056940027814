"""The commands about a job and its dataset: run, plan, status, verify."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from embermill.counts import several
from embermill.jobs.commands import answers, answers_run, answers_sync
from embermill.jobs.commands.command import Answer, Command, filled, positive, positive_rate, progress_bar
from embermill.jobs.commands.html_report import add_report_argument, report_at_end
from embermill.jobs.process.interruptions import uninterrupted

if TYPE_CHECKING:
    from embermill.jobs.config import JobConfig


def _add_config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=filled, metavar="CONFIG", help="the job's YAML file; every key is explained in configs/reference.yaml")
    example = "override one key, for example --set workers.count=4; may be given several times"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help=example)


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    _add_config_arguments(parser)
    parser.add_argument("--limit", type=positive, metavar="N", help="embed only the first N rows, into a dataset of their own")
    parser.add_argument("--events", type=filled, metavar="FILE", help="append a JSON line to FILE for each shard that is committed, or superseded by a redrive")
    _add_watching_arguments(parser)


def _add_watching_arguments(parser: argparse.ArgumentParser) -> None:
    told = "how progress is told on stderr: auto is a bar on a terminal and lines elsewhere, record adds each line as JSON, for a program that follows the log"
    file = "write metrics to FILE in Prometheus' text format, every few seconds; name it *.prom for node_exporter's textfile collector"
    parser.add_argument("--metrics", type=filled, metavar="FILE", help=file)
    add_report_argument(parser)
    parser.add_argument("--progress", choices=("auto", "record"), default="auto", help=told)


def run(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.config import load_config
    from embermill.jobs.pool.ray_ahead import ray_ahead

    config = load_config(arguments.config, arguments.overrides)
    with contextlib.nullcontext() if arguments.limit else ray_ahead(config):
        with uninterrupted():
            from embermill.jobs.driver.display import open_display
            from embermill.jobs.driver.start_steps import start_steps
            from embermill.jobs.metrics.opening import open_ledger
            from embermill.jobs.run import run as run_job

        steps = start_steps()
        with open_ledger(config, arguments.metrics) as ledger, report_at_end(arguments, config.output.uri) as about:
            progress = open_display(arguments.progress)
            summary = run_job(config, limit=arguments.limit, events_file=arguments.events, progress=progress, ledger=ledger, steps=steps)
            about.output = summary.output
            return summary.to_json()


def _add_sync_arguments(parser: argparse.ArgumentParser) -> None:
    _add_config_arguments(parser)
    parser.add_argument("--rescan", action="store_true", help="read every file, also those that are listed as they were")
    parser.add_argument("--retry-quarantined", action="store_true", help="read files again of which rows were refused, though they did not change")
    parser.add_argument("--allow-deletes", type=positive, metavar="N", help="delete up to N rows, whatever corpus.max_deleted_share says")
    reuse = "take vectors of texts from that dataset too, which must be of the same model and settings; may be given several times"
    parser.add_argument("--reuse", action="append", default=[], type=filled, metavar="URI", help=reuse)
    given = "take vectors that were made elsewhere with this model: Parquet files with the corpus's columns of ids and texts, and of vectors (embedding)"
    parser.add_argument("--import-vectors", nargs="+", default=[], type=filled, metavar="FILE", dest="imports", help=given)
    bound = "accept them from this cosine with vectors that are embedded here of 1,000 of their texts (default: 0.999; at least 0.99)"
    parser.add_argument("--import-bound", type=positive_rate, default=0.999, metavar="COSINE", help=bound)
    told = "append one JSON line to FILE that says what the sync did (of the first one, which is a run, one for each committed shard)"
    parser.add_argument("--events", type=filled, metavar="FILE", help=told)
    _add_watching_arguments(parser)


def sync(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.config import load_config
    from embermill.jobs.pool.ray_ahead import ray_ahead

    config = load_config(arguments.config, arguments.overrides)
    with contextlib.nullcontext() if arguments.imports or arguments.reuse else ray_ahead(config):
        return _sync(arguments, config)


def _sync(arguments: argparse.Namespace, config: JobConfig) -> Answer:
    with uninterrupted():
        from embermill.jobs.driver.display import open_display
        from embermill.jobs.driver.start_steps import start_steps
        from embermill.jobs.metrics.opening import open_ledger
        from embermill.jobs.sync.job import SyncOptions
        from embermill.jobs.sync.job import sync as sync_job

    steps = start_steps()
    chosen = SyncOptions(arguments.rescan, arguments.retry_quarantined, arguments.allow_deletes, tuple(arguments.reuse))
    chosen = replace(chosen, imports=tuple(arguments.imports), import_bound=arguments.import_bound)
    with open_ledger(config, arguments.metrics) as ledger, report_at_end(arguments, config.output.uri):
        progress = open_display(arguments.progress)
        return sync_job(config, chosen, events_file=arguments.events, progress=progress, ledger=ledger, steps=steps).to_json()


def _show_sync(answer: Answer) -> str:
    return answers_sync.show_sync(answer) if answer["run"] is None else answers_run.show_run(answer["run"])


def _add_redrive_arguments(parser: argparse.ArgumentParser) -> None:
    _add_output_argument(parser)
    example = "override one key that may change, for example --set workers.count=4 or --set corpus.max_quarantined=0.02; may be given several times"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help=example)
    parser.add_argument("--events", type=filled, metavar="FILE", help="append a JSON line to FILE for each shard that is committed, or superseded by a redrive")


def redrive(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.maintenance.redrive import redrive as read_again

    return read_again(arguments.output, arguments.overrides, events_file=arguments.events).to_json()


def _add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    _add_config_arguments(parser)
    parser.add_argument("--tokens-per-s", type=positive_rate, metavar="N", help="estimate the time at this speed (`embermill bench` measures it)")
    quick = "of a dataset whose corpus changed: say what the listing shows and read no file"
    parser.add_argument("--quick", action="store_true", help=quick)


def plan(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.commands.remaining_work import describe_remaining_work
    from embermill.jobs.config import load_config
    from embermill.jobs.dataset.metadata.lease import find_holder
    from embermill.jobs.dataset.metadata.schema import holds_foreign_version
    from embermill.jobs.plan.forecast import forecast
    from embermill.jobs.preflight import resolve_device
    from embermill.jobs.prepare import prepare

    found = prepare(load_config(arguments.config, arguments.overrides))
    config, folder = found.config, found.folder
    holder = find_holder(folder)
    where = {"ray_address": config.ray.address, "output": folder.root, "prompts": None if found.prompts is None else asdict(found.prompts)}
    where |= {"closeness": None if found.closeness is None else asdict(found.closeness)}
    where |= {"holder": None if holder is None else asdict(holder)}
    if found.plan is None:
        assert found.prospect is not None, "there is no dataset, so a new one was looked at"
        told = forecast(config, found.prospect, arguments.tokens_per_s)
        where |= {"on_long_text": config.model.on_long_text}
        return {"action": "begin"} | told.to_json() | {"partitions_done": 0, "partitions_left": told.partitions} | where | {"sync": None}
    rest = describe_remaining_work(config, folder, found.plan, arguments.tokens_per_s)
    if rest.partitions_left:
        resolve_device(config, found.plan.device_kind)
    changes = None
    if found.finished and not found.ids_are_positions and not holds_foreign_version(found.plan):
        from embermill.jobs.sync.forecast import forecast_sync

        changes = forecast_sync(config, folder, found.plan, quick=arguments.quick, tokens_per_s=arguments.tokens_per_s)
    return rest.to_json() | where | {"sync": changes}


def _add_output_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", type=filled, metavar="OUTPUT", help="the dataset: a folder or an object-store URL")


def status(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.dataset.views.status import status as look
    from embermill.jobs.storage import open_folder

    return look(open_folder(arguments.output)).to_json()


def _add_verify_arguments(parser: argparse.ArgumentParser) -> None:
    _add_output_argument(parser)
    recall = "then search for N of the rows in each column of vectors, and say how many of the ten nearest it finds, beside the widest column"
    parser.add_argument("--recall", type=positive, metavar="N", help=recall)


def verify(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.dataset.views.incomplete import refuse_incomplete
    from embermill.jobs.dataset.views.recall import measure_recall
    from embermill.jobs.dataset.views.verify import verify as read_again
    from embermill.jobs.storage import open_folder

    folder = open_folder(arguments.output)
    with progress_bar("reading every shard again") as advance:
        report = read_again(folder, advance)
    if why := report.unfinished or report.empty:
        sound = f". What is committed so far is sound: {several(report.totals.shards, 'shard')}" if report.totals.shards else ""
        refuse_incomplete(folder.root, why + sound, report, refused=report.refused or report.empty is not None)
    found = report.to_json()
    return found if arguments.recall is None else found | {"recall": measure_recall(folder, arguments.recall).to_json()}


def _add_repair_arguments(parser: argparse.ArgumentParser) -> None:
    _add_output_argument(parser)
    example = "override one key that may change, for example --set workers.device=cpu; may be given several times"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help=example)


def repair(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.maintenance.repair import repair as make_whole

    with progress_bar("looking at every file") as advance:
        return make_whole(arguments.output, arguments.overrides, advance).to_json()


def _add_gc_arguments(parser: argparse.ArgumentParser) -> None:
    _add_output_argument(parser)
    parser.add_argument("--keep-versions", type=positive, metavar="N", help="collect older versions than the newest N; cursors stay good")
    parser.add_argument("--keep-days", type=positive_rate, metavar="D", help="and keep those made within D days; without either, every version is kept")


def gc(arguments: argparse.Namespace) -> Answer:
    from embermill.jobs.maintenance.garbage import collect

    return collect(arguments.output, keep_versions=arguments.keep_versions, keep_days=arguments.keep_days).to_json()


COMMANDS = (
    Command("run", "embed a corpus, or resume an interrupted run; does nothing if the dataset is finished", _add_run_arguments, run, answers_run.show_run),
    Command(
        "sync", "embed what changed in a corpus since the last version and add it as a new one; the first time, this is a run",
        _add_sync_arguments, sync, _show_sync,
    ),
    Command("plan", "show what a run or a sync would do: files, rows, tokens, bytes; writes nothing", _add_plan_arguments, plan, answers.show_plan),
    Command(
        "redrive", "read the refused rows and changed files of an unfinished dataset again and finish it; good rows keep their vectors",
        _add_redrive_arguments, redrive, answers_run.show_run,
    ),
    Command("status", "show how much of a dataset is done", _add_output_argument, status, answers.show_status),
    Command("repair", "rebuild what `verify` finds damaged or missing", _add_repair_arguments, repair, answers.show_repair),
    Command("gc", "remove what killed runs left behind and versions that are no longer kept, if more than a day old", _add_gc_arguments, gc, answers.show_gc),
    Command("verify", "read a whole dataset again and check it", _add_verify_arguments, verify, answers.show_verify),
)
