"""`embermill report`: its figures are those that run and sync give, and the page holds nothing but them."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embermill.jobs import cli
from tests.jobs.command_line import Answer, command, run
from tests.jobs.report.datasets import HOSTILE, LIMIT, row, settings, write_corpus

MOST_BYTES = 2_000_000


@pytest.fixture(autouse=True)
def without_vega(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundling it takes three seconds; test_browser.py and the largest page have it."""
    if "largest" not in request.node.name:
        monkeypatch.setattr("embermill.jobs.report.page.vega_source", lambda: "window.vegaEmbed = null;")


def report(answer: Answer, *more: str) -> dict[str, Any]:
    done = command("report", str(answer.output), *more)
    assert done.code == 0, done.errors
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class Elements(HTMLParser):
    """Every element of a page by its kind, and the text of those that show a figure."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.kinds: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.figures: dict[str, str] = {}
        self._key: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.kinds.append(tag)
        self.attributes += attrs
        self._key = dict(attrs).get("data-key") or self._key
        if self._key:
            self.figures.setdefault(self._key, "")

    def handle_endtag(self, tag: str) -> None:
        self._key = None if tag == "span" else self._key

    def handle_data(self, data: str) -> None:
        if self._key:
            self.figures[self._key] = data


def test_the_figures_of_a_run_are_its_own(bad_rows: Answer, here: Path) -> None:
    found = report(bad_rows)
    for key in ("rows_in", "rows_out", "rows_quarantined", "documents", "tokens", "tokens_dropped", "rows_truncated", "shards"):
        assert found["run"][key] == bad_rows[key], key
    assert (found["rows"], found["tokens"], found["tokens_dropped"]) == (bad_rows["rows_out"], bad_rows["tokens"], bad_rows["tokens_dropped"])
    assert found["token_lengths"] == bad_rows["token_lengths"] and found["token_lengths"]["max"] == LIMIT
    assert sum(count for _, count in found["lengths"]) == found["rows"]
    refused = {reason["reason"]: reason["rows"] for reason in found["refused"]["reasons"]}
    assert refused == {"null_text": 2, "unparsable_line": 2} and found["refused"]["rows"] == bad_rows["rows_quarantined"] == 4
    assert found["refused"]["reasons"][0]["examples"][0]["id"] == HOSTILE
    assert sum(device["tokens"] for device in found["devices"]) == found["run"]["tokens"] and found["devices"][0]["share"] == 1


def test_a_run_leaves_a_record_of_its_speed(bad_rows: Answer, here: Path) -> None:
    (run,) = report(bad_rows)["runs"]
    assert run["ended"] and run["kind"] == "embed" and run["version"] == 1
    assert (run["rows"], run["tokens"]) == (bad_rows["rows_embedded"] - bad_rows["rows_quarantined"], bad_rows["tokens_embedded"])
    assert {stage: round(share, 3) for stage, share in run["stage_shares"].items()} == pytest.approx(bad_rows["stage_shares"], abs=1e-3)
    assert run["bound"] == bad_rows["bound"] and sum(worker["rows"] for worker in run["workers"]) == run["rows"]


def test_a_sync_adds_a_version_and_a_record(synced: tuple[Answer, Answer], here: Path) -> None:
    ran, changed = synced
    found = report(changed)
    first, second = found["versions"]
    assert found["rows"] == changed["rows"] == second["totals"]["rows"] and first["totals"]["rows"] == ran["rows_out"]
    for key in ("rows_new", "rows_changed", "rows_deleted", "texts_embedded", "vectors_copied"):
        assert second["counts"][key] == changed[key], key
    assert {run["version"] for run in found["runs"]} == {1, 2} and found["runs"][-1]["rows"] > 0
    assert sum(count for _, count in found["lengths"]) == found["rows"] == 75
    ids = {point["values"][0] for point in found["map"]["points"]}
    assert len(ids) == 75 and "row-0079" in ids and "row-0004" not in ids


def test_refused_rows_are_counted_alike_everywhere(inline: None, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One row is refused by the run, and two by each of two syncs: five times, three rows."""
    rows: list[dict[str, Any] | str] = [row(number) for number in range(20)]
    rows[0] = row(0, text=None)
    write_corpus(here, rows)
    assert run(here, **settings(here)).code == 0
    for title in ("changed", "changed again"):
        rows[1:3] = [row(number, text=None, title=title) for number in (1, 2)]
        rows[3] = row(3, text=title)
        write_corpus(here, rows)
        answer = run(here, name="sync", **settings(here))
        assert answer.code == 0, answer.errors
    capsys.readouterr()
    found = report(answer, "--out", "page.html")["refused"]
    later = found["rows_later"]
    assert later > 2 and found["rows"] == 1 and found["rows_in_all"] == 1 + later == sum(reason["rows"] for reason in found["reasons"])
    page = (here / "page.html").read_text()
    assert Elements(page).figures["refused.rows_in_all"] == str(1 + later) and "rows in quarantine, each time that one was refused" in page
    told = re.sub(r"<[^>]*>", "", page)
    assert f"refused: 1. Later versions refused {later}, each row every time that it was refused: {1 + later} in quarantine in all." in told
    assert cli.main(["report", str(answer.output), "--out", "page.html"]) == 0
    assert f"{1 + later} in quarantine (1 refused by the run, {later} by later versions, each time it was)" in capsys.readouterr().out


def test_the_map_is_the_same_for_a_seed_and_knows_its_neighbours(bad_rows: Answer, here: Path) -> None:
    first, again, other = (report(bad_rows, "--mapped-rows", "50", "--seed", seed)["map"] for seed in ("1", "1", "2"))
    assert first == again != other and len(first["points"]) == 50 and first["columns"] == ["id", "title"]
    assert all(len(point["nearest"]) == 5 and number not in dict(point["nearest"]) for number, point in enumerate(first["points"]))
    assert report(bad_rows, "--mapped-rows", "0")["map"] is None


def test_what_it_cost(bad_rows: Answer, here: Path) -> None:
    found = report(bad_rows, "--price-per-hour", "7200")
    told = found["cost"]
    hours = sum(run["worker_hours"] for run in found["runs"])
    assert told["worker_hours"] == pytest.approx(hours, abs=1e-4) and told["paid"] == pytest.approx(7200 * hours, abs=1e-3)
    assert told["per_million_rows"] == pytest.approx(told["paid"] * 1e6 / 396, rel=1e-3)
    assert report(bad_rows)["cost"] is None


def shown(text: str) -> float:
    return float(text.rstrip("%").replace(",", "")) / (100 if text.endswith("%") else 1)


def half_a_digit(text: str) -> float:
    """By which a number may differ from one that is shown so."""
    return 0.501 * 10.0 ** -(len(text.rstrip("%").partition(".")[2]) + 2 * text.endswith("%"))


@pytest.mark.parametrize("kind", ["bad_rows", "synced"])
def test_every_figure_of_the_page_is_one_of_the_json(kind: str, request: pytest.FixtureRequest, here: Path) -> None:
    answer = request.getfixturevalue(kind)
    answer = answer[1] if isinstance(answer, tuple) else answer
    found = report(answer, "--out", "page.html", "--price-per-hour", "3")
    page = Elements((here / "page.html").read_text())
    assert len(page.figures) > 50
    for path, text in page.figures.items():
        value: Any = found
        for key in path.split("."):
            value = value[int(key)] if isinstance(value, list) else value[key]
        if isinstance(value, int) and "share" not in path:
            assert text == f"{value:,}", path
        elif isinstance(value, float):
            assert abs(shown(text) - value) <= half_a_digit(text), path
        else:
            assert text == (value or ""), path


def test_nothing_of_the_corpus_becomes_markup(bad_rows: Answer, here: Path) -> None:
    found = report(bad_rows, "--out", "page.html")
    text = (here / "page.html").read_text()
    page = Elements(text)
    assert page.kinds.count("script") == 4 and "img" not in page.kinds and found["file_bytes"] == len(text.encode()) < MOST_BYTES
    assert HOSTILE not in text and "window.broken" in text  # it is shown, escaped
    addresses = [value for name, value in page.attributes if name in ("src", "href")]
    assert addresses == ["data:,"] and not [name for name, _ in page.attributes if name.startswith("on")]
    policy = dict(re.findall(r"(\S+-src) ([^;]+)", str(next(value for name, value in page.attributes if name == "content"))))
    assert policy["default-src"] == "'none'" and "unsafe" not in policy["script-src"]


@pytest.mark.long
def test_the_largest_page_is_under_two_megabytes(inline: None, here: Path) -> None:
    write_corpus(here, [{"id": f"{number}" + "<\u2028" * 200, "text": "a", "title": "\U0001f600<&" * 200} for number in range(2000)])

    answer = run(here, **settings(here))
    assert answer.code == 0, answer.errors
    assert report(answer)["file_bytes"] < MOST_BYTES


@pytest.mark.long
def test_a_run_writes_one_at_its_end_also_when_it_fails(inline: None, here: Path) -> None:
    write_corpus(here, [{"id": str(number), "text": "a b"} if number % 2 else "{" for number in range(60)])

    sections = settings(here)
    sections["corpus"] |= {"max_quarantined": 0.01, "keep_columns": []}
    run(here, name="plan", **sections)
    failed = command("run", str(here / "out.yaml"), "--report", "report.html")
    assert failed.code == 3 and "not finished" in (here / "report.html").read_text()
    done = command("run", str(here / "out.yaml"), "--report", "report.html", "--set", "corpus.max_quarantined=0.9")
    assert done.code == 0 and "not finished" not in (here / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "there/is/none.html"], "a folder that is there"),
        (["--seed=-1"], "--seed"),
        (["--mapped-rows", "3000"], "from 0 to 2000"),
    ],
)
def test_what_is_refused(bad_rows: Answer, here: Path, arguments: list[str], said: str) -> None:
    done = command("report", str(bad_rows.output), *arguments)
    assert done.code == 2 and said in done.errors


@pytest.mark.long
def test_a_dataset_of_an_earlier_embermill_has_a_report(old_dataset: Any, here: Path) -> None:
    old = old_dataset("articles-finished")
    done = command("report", str(old.folder))
    assert done.code == 0, done.errors
    assert done["runs"] == [] and done["rows"] > 0 and done["speed"] == []


def test_principal_components_are_those_of_the_covariance() -> None:
    from embermill.jobs.report.sample_map import nearest_rows, principal_components

    random = np.random.default_rng(3)
    vectors = random.normal(size=(200, 6)) * [5, 3, 1, 0.5, 0.2, 0.1]
    places, (first, second) = principal_components(vectors)
    values = np.sort(np.linalg.eigvalsh(np.cov(vectors.T)))[::-1]
    assert places.var(axis=0, ddof=1) == pytest.approx(values[:2]) and (first, second) == pytest.approx(tuple(values[:2] / values.sum()))
    rows, cosines = nearest_rows(vectors, 3)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert cosines[0] == pytest.approx(np.sort(np.delete(unit @ unit[0], 0))[::-1][:3]) and 0 not in rows[0]
    for few in (0, 1, 2):
        assert principal_components(vectors[:few])[0].shape == (few, 2) and nearest_rows(vectors[:few], 5)[0].shape == (few, max(0, few - 1))


@pytest.mark.long
@pytest.mark.parametrize(
    "output", [{"encoding": "portable"}, {"vectors": [{"column": "codes", "dtype": "int8"}]}, {"vectors": [{"column": "bits", "dtype": "ubinary"}]}]
)
def test_vectors_of_every_form_are_mapped(inline: None, here: Path, output: dict[str, Any]) -> None:
    write_corpus(here, [row(number) for number in range(30)])
    done = run(here, output_section=output, **settings(here))
    assert done.code == 0, done.errors
    found = report(done)["map"]
    assert len(found["points"]) == 30 and max(cosine for point in found["points"] for _, cosine in point["nearest"]) > 0.9
