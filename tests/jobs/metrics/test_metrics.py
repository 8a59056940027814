"""The measures: one list, that the dashboard and the rules are checked against; a run's values are those of its summary, also as a real Prometheus has them."""

from __future__ import annotations

import http
import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.metrics.ledger import Ledger
from embermill.jobs.metrics.measures import DOCUMENTS, MEASURES, PREFIX, RETRIES, Sample
from embermill.jobs.metrics.text_file import TextFile, exposition
from embermill.jobs.pool.base import Died
from embermill.jobs.receipt import Failed
from tests.jobs.command_line import command, open_inline_pool
from tests.jobs.command_line import run as run_command
from tests.jobs.fakes import receipt
from tests.jobs.submit.heads import free_ports
from tests.services import ROOT, program
from tests.serving import serving

MONITORING = ROOT / "infra/monitoring"
NAMES = {measure.name for measure in MEASURES}
NAME = re.compile(PREFIX + r"[a-z_]+")
SAMPLE = re.compile(r'(?P<name>[a-z_]+)\{(?P<labels>.*)\} (?P<value>\S+)')


def dashboard_queries() -> list[str]:
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load((MONITORING / "rules.yaml").read_text())["groups"] for rule in group["rules"]]


def test_names_are_what_prometheus_asks_for() -> None:
    assert len(NAMES) == len(MEASURES)
    for measure in MEASURES:
        assert NAME.fullmatch(measure.name) and (measure.kind == "counter") == measure.name.endswith("_total") and measure.help


def test_the_dashboard_shows_every_measure_and_no_other() -> None:
    assert {name for query in dashboard_queries() for name in NAME.findall(query)} == NAMES


def test_rules_speak_of_measures_alone() -> None:
    assert {name for rule in rules() for name in NAME.findall(rule["expr"])} <= NAMES
    assert {rule["alert"] for rule in rules()} >= {"EmbermillStalled", "EmbermillTooManyQuarantined", "EmbermillVersionTooOld"}


@pytest.mark.long
def test_rules_alert_when_they_should_and_not_otherwise() -> None:
    promtool = program("promtool")
    for arguments in (["check", "rules", "rules.yaml"], ["test", "rules", "rules_test.yaml"]):
        done = subprocess.run([promtool, *arguments], cwd=MONITORING, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    tested = {case["alertname"] for test in yaml.safe_load((MONITORING / "rules_test.yaml").read_text())["tests"] for case in test["alert_rule_test"]}
    assert tested == {rule["alert"] for rule in rules()}


def test_totals_begin_with_what_was_committed_before_and_failures_are_counted_by_kind() -> None:
    ledger = Ledger("out")
    ledger.before(documents=100, tokens=1000, tokens_dropped=3, rows_quarantined=2)
    ledger.committed(receipt(1, tokens=50))
    for event in (Failed(1, "engine", "why"), Died("gone"), Died("gone")):
        ledger.heard(event)
    samples = {(sample.measure, sample.labels): sample.value for sample in ledger.samples()}
    assert samples[DOCUMENTS, ()] == 100 + receipt(1, tokens=50).documents
    assert (samples[RETRIES, ("engine",)], samples[RETRIES, ("lost",)]) == (1, 2)
    assert {sample.measure.name for sample in ledger.samples()} | {"embermill_dataset_version", "embermill_dataset_version_timestamp_seconds"} == NAMES


def test_a_sink_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def write(self, dataset: str, samples: list[Sample]) -> None:
            raise OSError("disk full")

    Ledger("out", Broken()).publish()
    assert "metrics could not be written: disk full" in caplog.text


@given(st.text(), st.floats(allow_nan=False))
def test_any_dataset_can_be_named(dataset: str, value: float) -> None:
    written = exposition(dataset, [Sample(DOCUMENTS, value)])
    *_, line = written.rstrip("\n").split("\n")
    found = SAMPLE.fullmatch(line)
    assert found and float(found["value"]) == value and line.count("\n") == 0


def test_a_file_that_cannot_be_written_is_refused_before_anything_begins(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(yaml.safe_dump({"model": {"source": "m"}, "corpus": {"files": ["/c"]}, "output": {"uri": str(tmp_path / "out")}}))
    answer = command("run", str(tmp_path / "job.yaml"), "--metrics", str(tmp_path / "nowhere/a.prom"))
    assert answer.code == 2 and "--metrics" in answer["error"]["message"] and not (tmp_path / "out").exists()


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, Any]]:
    """A file of metrics, and the summary of the run that wrote it: one of its rows was refused."""
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)
    (tmp_path / "corpus").mkdir()
    lines = [json.dumps({"id": str(row), "text": f"text {row}"}) for row in range(40)]
    (tmp_path / "corpus/a.jsonl").write_text("\n".join([*lines, "{"]) + "\n")
    answer = run_command(tmp_path, corpus={"files": [str(tmp_path / "corpus/a.jsonl")], "partition_text_bytes": 100})
    assert answer.code == 0, answer.errors
    file = tmp_path / "served/embermill.prom"
    file.parent.mkdir()
    answer = command("run", str(tmp_path / "out.yaml"), "--metrics", str(file), "--set", f"output.uri={tmp_path / 'again'}")
    assert answer.code == 0, answer.errors
    return file, json.loads(answer.stdout)


def values(file: Path) -> dict[tuple[str, str], float]:
    """By name and, where there is one beside the dataset's, label."""
    found = {}
    for line in file.read_text().splitlines():
        if match := SAMPLE.fullmatch(line):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', match["labels"]))
            labels.pop("dataset")
            found[match["name"], next(iter(labels.values()), "")] = float(match["value"])
    return found


def test_the_file_ends_with_the_values_of_the_summary(finished: tuple[Path, dict[str, Any]]) -> None:
    file, summary = finished
    found = values(file)
    assert found["embermill_documents_total", ""] == summary["documents"] == 40
    assert found["embermill_tokens_total", ""] == summary["tokens"] > 0
    assert found["embermill_tokens_dropped_total", ""] == summary["tokens_dropped"]
    assert found["embermill_rows_quarantined_total", ""] == summary["rows_quarantined"] == 1
    done, waiting = found["embermill_partitions", "done"], found["embermill_partitions", "waiting"]
    assert done > 1 and (waiting, found["embermill_running", ""], found["embermill_dataset_version", ""]) == (0, 0, 1)
    assert abs(time.time() - found["embermill_dataset_version_timestamp_seconds", ""]) < 300
    assert [path.name for path in file.parent.iterdir()] == [file.name], "nothing is left beside it"


@pytest.fixture
def prometheus(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> Iterator[str]:
    """A real one that scrapes the file and has loaded the rules; its address."""
    file, _ = finished

    class Served(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), partial(Served, directory=str(file.parent)))) as server:
        scraped = {"job_name": "job", "metrics_path": f"/{file.name}", "static_configs": [{"targets": [f"127.0.0.1:{server.server_port}"]}]}
        settings = {"global": {"scrape_interval": "1s"}, "rule_files": [str(MONITORING / "rules.yaml")], "scrape_configs": [scraped]}
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(settings))
        address = f"127.0.0.1:{free_ports(1)[0]}"
        command = [program("prometheus"), f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/db", f"--web.listen-address={address}"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(30)


def ask(address: str, query: str) -> list[dict[str, Any]]:
    url = f"{address}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return found
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.SERVICE_UNAVAILABLE:  # it is still starting
            return []
        pytest.fail(f"{query}: {error.read().decode()}")
    except OSError:
        return []


@pytest.mark.long
def test_a_real_prometheus_has_the_summarys_values_and_the_dashboards_queries_all_answer(
    prometheus: str, finished: tuple[Path, dict[str, Any]]
) -> None:
    _, summary = finished
    until = time.monotonic() + 60
    while not ask(prometheus, "rate(embermill_tokens_total[10s])") and time.monotonic() < until:
        time.sleep(0.3)
    for key in ("tokens", "documents", "rows_quarantined"):
        (found,) = ask(prometheus, f"embermill_{key}_total")
        assert float(found["value"][1]) == summary[key] and found["metric"]["dataset"].endswith("again")
    never = "embermill_retries_total"  # nothing failed in this run, and a kind that never was has no series
    for query in dashboard_queries():
        asked = query.replace("$__rate_interval", "10s").replace("$dataset", ".*")
        assert ask(prometheus, asked) or never in query, query


def test_the_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.prom"
    sink = TextFile(file)
    for value in range(3):
        sink.write("out", [Sample(DOCUMENTS, value)])
    assert file.read_text().endswith("} 2\n") and len([*tmp_path.iterdir()]) == 1
