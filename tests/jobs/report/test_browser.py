"""Reports in a real Chromium: nothing on the console, nothing asked for, every chart drawn from the figures, and neighbours shown for the dot pointed at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.report.charts import histogram
from tests.browser import open_page
from tests.jobs.command_line import Answer, command

DRAWN = "JSON.stringify(window.reportViews[{name!r}].data({data!r}))"


def test_the_report_of_a_run_with_bad_rows_and_of_a_sync(bad_rows: Answer, synced: tuple[Answer, Answer], here: Path) -> None:
    for name, answer in {"bad": bad_rows, "sync": synced[1]}.items():
        done = command("report", str(answer.output), "--out", f"{name}.html", "--price-per-hour", "2")
        assert done.code == 0, done.errors
        _look(here / f"{name}.html", json.loads(done.stdout))


def _look(file: Path, answer: dict[str, Any]) -> None:
    with open_page(file) as page:
        charts = page.evaluate("Object.keys(window.reportViews)")
        expected = ["speed", "stages", "lengths", *(["refused"] if answer["refused"]["reasons"] else []), "map"]
        assert charts == expected and page.evaluate("document.querySelectorAll('.chart svg').length") == len(charts)
        drawn = page.evaluate("JSON.stringify(window.reportViews.map.data('points').map((each) => [each.x, each.y]))")
        assert json.loads(drawn) == [[point["x"], point["y"]] for point in answer["map"]["points"]]
        bars = page.evaluate("document.querySelectorAll('#chart-lengths path[aria-roledescription=bar]').length")
        binned = histogram(answer)
        assert bars == len(binned) and sum(bar["rows"] for bar in binned) == answer["rows"]
        if reasons := answer["refused"]["reasons"]:
            labels = page.evaluate("[...document.querySelectorAll('#chart-refused text')].map((each) => each.textContent)")
            assert {each["reason"] for each in reasons} <= {*labels}
        _point_at(page, answer)
        for key, text in page.evaluate("[...document.querySelectorAll('[data-key]')].map((each) => [each.dataset.key, each.textContent])"):
            if key == "rows":
                assert text == f"{answer['rows']:,}"
        assert page.evaluate("window.broken === undefined")
        page.screenshot(file.with_suffix(".png"))
        assert page.messages == [] and page.requests == [], (page.messages, page.requests)
    assert file.stat().st_size < 2_000_000


def _point_at(page: Any, answer: dict[str, Any]) -> None:
    """At the first dot of the map."""
    x, y = page.evaluate(
        "(() => { const dot = document.querySelector('#chart-map path[aria-roledescription=circle]');"
        " dot.scrollIntoView({block: 'center'}); const box = dot.getBoundingClientRect();"
        " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
    )
    page.point_at(x - 3, y)
    page.point_at(x, y)
    page.wait_for("document.querySelectorAll('#point li').length > 0")
    said = page.evaluate("document.querySelector('#point h3').textContent")
    (point, *_) = [each for each in answer["map"]["points"] if each["values"][0] == said]
    names = page.evaluate("[...document.querySelectorAll('#point li')].map((each) => each.textContent)")
    assert names == [f"{cosine:.3f}  {answer['map']['points'][other]['values'][0]}" for other, cosine in point["nearest"]]
    page.wait_for("document.querySelectorAll('#chart-map line').length >= 5")


def test_markup_that_got_into_a_page_could_not_run(bad_rows: Answer, here: Path) -> None:
    """The content security policy is a second wall: the test takes the first one down."""
    assert command("report", str(bad_rows.output), "--out", "page.html").code == 0
    page = (here / "page.html").read_text()
    body = "<script>window.broken = 1</script><img src='https://example.invalid/x.png' onerror='window.broken = 2'>"
    (here / "page.html").write_text(page.replace("<h1>", f"{body}<h1>", 1))
    with open_page(here / "page.html") as opened:
        assert opened.evaluate("window.broken === undefined") and len(opened.messages) >= 2
        assert all("Content Security Policy" in message for message in opened.messages), opened.messages


def test_the_browser_tells_of_errors_and_requests(tmp_path: Path) -> None:
    """The watchers themselves: what the tests above say was not there would be seen."""
    (tmp_path / "x.html").write_text("<body data-drawn=1><script>console.warn('careful'); fetch('https://example.invalid/'); nothing()</script></body>")
    with open_page(tmp_path / "x.html") as page:
        page.wait_for("true")
        assert any("careful" in message for message in page.messages) and any("nothing is not defined" in message for message in page.messages)
        assert page.requests == ["https://example.invalid/"]


@pytest.fixture(autouse=True)
def needs_the_extra() -> None:
    assert __import__("vl_convert")
