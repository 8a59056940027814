"""HTML files as documents: what is made of them, and that a dataset keeps to the extractor that it was begun with."""

from __future__ import annotations

import gzip
import importlib.metadata
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from embermill.jobs.corpus import html
from embermill.jobs.plan.files import read_plan
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import open_inline_pool
from tests.jobs.test_documents import embed, refused, rows, written

PAGE = """<!DOCTYPE html><html><head><title> A
 page </title><style>p {}</style><script>var no = "<p>no</p>"</script></head><body><!-- hidden --><h1>Pets</h1><p>Cats&nbsp;&amp; dogs<br>sleep.</p>
<template>no</template><ul><li>one</li><li>two</li></ul><table><tr><td>1</td><td>2</td></tr></table><pre>  def f():
      return 1</pre><img src="x" alt="a cat"></body></html>"""
ASKED = {"format": "document"}


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)
    html.html_extractor.cache_clear()


def test_a_page_is_a_document_of_what_a_reader_sees(tmp_path: Path) -> None:
    files = {
        "a.html": PAGE,
        "wide.HTM": "<p>caf\u00e9 \U0001f600</p>".encode("utf-16"),
        "packed.html.gz": gzip.compress(b"<title>T</title>packed"),
        "empty.html": b"",
        "script.html": "<script>only()</script>",
        "plain.html": "no markup, a < b",
        "deep.html": "<div>" * 5_000 + "x",
        "beside.txt": "<p>no HTML</p>",
    }
    found = {name: (row["title"], row["text"]) for name, row in rows(embed(written(tmp_path, files), corpus=ASKED)).items()}
    assert found.pop("a.html") == ("A page", "Pets\n\nCats\xa0& dogs\nsleep.\n\n  \u2022 one\n  \u2022 two\n1\t\t2\n  def f():\n      return 1\na cat")
    assert found == {
        "wide.HTM": (None, "caf\u00e9 \U0001f600"),
        "packed.html.gz": ("T", "packed"),
        "empty.html": (None, ""),
        "script.html": (None, ""),
        "plain.html": (None, "no markup, a < b"),
        "deep.html": (None, "x"),
        "beside.txt": (None, "<p>no HTML</p>"),
    }


def test_what_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    files = {"latin.html": "<p>caf\u00e9".encode("latin-1"), "nul.html": b"<p>a\x00b", "long.html": "<p>" + "a" * 50, "good.html": "<p>good</p>" + " " * 60}
    answer = embed(written(tmp_path, files), corpus=ASKED | {"max_text_bytes": 20})
    assert [*rows(answer)] == ["good.html"], "what counts is the text, not the markup"
    reasons = {name: reason for name, (reason, _) in refused(answer).items()}
    assert reasons == {"latin.html": "invalid_utf8", "nul.html": "binary_file", "long.html": "text_too_long"}


def test_pages_are_no_documents_unless_asked_for(tmp_path: Path) -> None:
    answer = embed(written(tmp_path, {"a.html": PAGE}))
    assert answer.code == 2 and "set corpus.format" in answer.errors


def test_the_extractor_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = embed(written(tmp_path, {"a.html": PAGE}), corpus=ASKED)
    plan = read_plan(open_folder(str(first.output)))
    assert plan is not None and plan.rows.html_extractor == f"resiliparse {importlib.metadata.version('resiliparse')}"
    monkeypatch.setattr(html, "html_extractor", lambda: "resiliparse 1.0")
    other = embed(tmp_path, corpus=ASKED)
    assert other.code == 2 and f"was made by {plan.rows.html_extractor} in this dataset, and resiliparse 1.0 is installed here" in other.errors
    elsewhere = embed(tmp_path, corpus=ASKED, output="elsewhere")  # as is advised
    assert elsewhere.code == 0
    footers = [pq.read_metadata(next((answer.output / "data").glob("*"))).metadata[b"embermill.plan"] for answer in (first, elsewhere)]
    assert footers[0] != footers[1], "each shard says which extractor it was made with"


def test_a_dataset_begun_without_pages_takes_none(tmp_path: Path) -> None:
    embed(written(tmp_path, {"b.txt": "B"}), corpus=ASKED)
    written(tmp_path, {"a.html": PAGE})
    later = embed(tmp_path, name="sync", corpus=ASKED)
    assert later.code == 2 and "begun without HTML files" in later.errors
    assert len(rows(embed(tmp_path, corpus=ASKED, output="other"))) == 2  # as is advised


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "html_extractor", lambda: "")
    written(tmp_path, {"a.html": PAGE, "b.md": "# B"})
    answer = embed(tmp_path, corpus=ASKED)
    assert answer.code == 2 and "pip install 'embermill[html]'" in answer.errors
    assert [*rows(embed(tmp_path, corpus={"files": [str(tmp_path / "docs/*.md")]}, output="other"))] == ["b.md"]
