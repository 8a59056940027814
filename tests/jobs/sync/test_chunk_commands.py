"""Commands that look at versions of a dataset of chunks, and those that mend them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from embermill.jobs import cli
from embermill.jobs.commands.answers import show_search
from embermill.jobs.commands.versions import show_history
from embermill.jobs.sync.job import sync
from tests.jobs.command_line import command
from tests.jobs.sync.chunks import TellingChunkEngine, begin, documents, prose, settings, texts_known
from tests.jobs.sync.corpus import Corpus, Row, live_rows


@pytest.fixture
def edited(tmp_path: Path, corpus: Corpus) -> list[Row]:
    """Version 3."""
    rows = documents(10)
    corpus.write("a.jsonl", rows)
    begin(tmp_path)
    rows[0] |= {"text": rows[0]["text"] + " and more " + prose(70, 60)}
    corpus.write("a.jsonl", [*rows[:9], *documents(1, first=30)])
    sync(settings(tmp_path))
    rows[1] |= {"text": rows[1]["text"][:900]}
    rows[2] |= {"lang": "de"}
    corpus.write("a.jsonl", rows[:8])
    sync(settings(tmp_path))
    TellingChunkEngine.taken()
    return rows


def config_file(root: Path) -> str:
    path = root / "job.yaml"
    given = settings(root).model_dump(mode="json", exclude_unset=True)
    given["corpus"]["keep_columns"] = ["lang"]
    path.write_text(json.dumps(given))
    return str(path)


def test_plan_says_what_a_sync_would_do(tmp_path: Path, corpus: Corpus, edited: list[Row]) -> None:
    edited[3] |= {"text": "other " + edited[3]["text"]}
    corpus.write("a.jsonl", edited[:7])
    before = texts_known(str(tmp_path / "out"))
    answer = command("plan", config_file(tmp_path), "--tokens-per-s", "1000")
    assert answer.code == 0, answer.errors
    told = answer["sync"]
    assert told["of"] == "documents" and (told["rows"]["changed"], told["rows"]["deleted"], told["rows"]["unchanged"]) == (1, 1, 6)
    assert not TellingChunkEngine.taken() and texts_known(str(tmp_path / "out")) == before
    summary = sync(settings(tmp_path))
    assert (told["texts_to_embed"], told["vectors_to_copy"]) == (summary.texts_embedded, summary.vectors_copied)
    assert told["tokens"] == summary.tokens_embedded > 0
    words = command("plan", config_file(tmp_path), "--text").stdout
    assert command("sync", config_file(tmp_path)).code == 0 and "documents" in words + command("plan", config_file(tmp_path)).stdout


def test_an_answer_in_words(tmp_path: Path, corpus: Corpus, edited: list[Row]) -> None:
    from embermill.jobs.commands.answers_sync import show_sync

    edited[3] |= {"text": "other " + edited[3]["text"]}
    corpus.write("a.jsonl", edited[:7])
    told = show_sync(sync(settings(tmp_path)).to_json())
    assert "7 documents, " in told and "1 with another text, 1 deleted" in told and "written again, with their vectors" in told


def test_a_search_index_follows(tmp_path: Path, corpus: Corpus, edited: list[Row]) -> None:
    """Rows are loaded under the ids of chunks; what is gone is gone there too."""
    out, target = str(tmp_path / "out"), f"duckdb:{tmp_path}/index.db"
    for _ in range(2):
        assert (answer := command("load", out, target)).code == 0, answer.errors
    edited[4] |= {"text": prose(55, 80)}
    corpus.write("a.jsonl", edited[:7])
    sync(settings(tmp_path))
    assert (answer := command("load", out, target)).code == 0, answer.errors
    live = live_rows(out)
    with duckdb.connect(f"{tmp_path}/index.db", read_only=True) as database:
        (table,) = next(iter(row for row in database.execute("SELECT table_name FROM information_schema.tables").fetchall() if "embermill" not in row[0]))[:1]
        found = database.execute(f'SELECT id, document_id, chunk_index, lang FROM "{table}"').fetchall()
    assert sorted(found) == sorted((key, row["document_id"], row["chunk_index"], row["lang"]) for key, row in live.items())


def test_words_tell_documents_from_chunks(tmp_path: Path, edited: list[Row], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In `report` and its page, and in every command that counts what a version holds."""
    monkeypatch.setattr("embermill.jobs.report.page.vega_source", lambda: "window.vegaEmbed = null;")
    out, page = str(tmp_path / "out"), tmp_path / "page.html"

    def words(*arguments: str) -> str:
        assert cli.main([*arguments]) == 0
        return capsys.readouterr().out

    rows = {entry["version"]: entry["totals"]["rows"] for entry in command("history", out)["versions"]}
    capsys.readouterr()
    told = words("report", out, "--out", str(page), "--price-per-hour", "1")
    assert "documents  8; 0 in quarantine\n" in told and f"chunks     {rows[3]}\n" in told and " row" not in told
    html = page.read_text()
    shown = re.sub(r"<[^>]*>", "\n", re.sub(r"(?s)<(script|style).*?</\1>", "", html))
    assert "documents in the newest version" in shown and "Documents in, out and refused" in shown and re.search(r"half of the chunks up to\s+\d", shown)
    assert re.search(rf"Documents that the run embedded:\s+10\s+, in\s+{rows[1]}\s+chunks; refused:\s+0", shown)
    assert [line for line in shown.splitlines() if re.search(r"\brows?\b", line, re.I)] == ["first row read"]  # a step of any start
    counts = command("history", out)["versions"][1]["counts"]["documents"]
    assert f'<span data-key="versions.1.counts.documents.changed">{counts["changed"]}</span>' in html and counts["changed"] == 1
    capsys.readouterr()
    assert re.search(rf"  sync  8 documents, {rows[3]} chunks, \+\d+, -\d+\n", words("history", out))
    holds = f"8 documents, {rows[3]} chunks"
    listed = words("files", out)
    assert f"version 3: {holds}; --sql" in listed and listed.count(" chunks ") == len(listed.splitlines()) - 1
    assert f"every file of version 3, which has {holds}, and of" in words("verify", out)
    assert f"is at version 3: {holds}, {rows[3]:,} written, 0 deleted" in words("load", out, f"duckdb:{tmp_path}/words.db")
    assert f"would be at version 3, before 3: {holds}, 0 to be written" in words("load", out, f"duckdb:{tmp_path}/words.db", "--dry-run")
    assert f"takes {out}, version 3: {holds}, as far as" in words("check", out, "--for", "pinecone")
    assert f"{holds} of {out}, version 3, as npy" in words("export", out, "--format", "npy", "--out", str(tmp_path / "npy"))
    changed = words("changes", out, "--since", "1")
    assert re.search(r"upserts +\d+ chunks? ", changed) and re.search(r"deletes +\d+ chunks? ", changed) and " row" not in changed
    assert re.fullmatch(rf"{rows[3]} chunks new or changed and 0 deleted from version 0 to 3\n", words("changes", out, "--since", "0", "--net"))
    assert f"version 3 is up to date: 1 file, which has not changed; {holds}\n" in words("sync", config_file(tmp_path))
    assert f"version 4 has the 10 documents, {rows[2]} chunks of version 2: " in words("rollback", out, "--to", "2")
    begun = {"hits": [], "chunked": True, "shows_content": True, "finished": False, "rows": 5, "documents": 2}
    assert show_search(begun) == "(the dataset is not finished: 2 documents, 5 chunks committed so far)"
    assert show_search(begun | {"finished": True, "rows": 0, "documents": 0}) == "the dataset is finished and has no chunk"


def test_views(tmp_path: Path, edited: list[Row]) -> None:
    out = str(tmp_path / "out")
    live = live_rows(out)
    status = command("status", out)
    assert status.code == 0 and status["live_documents"] == 8 and status["rows"] == len(live)
    history = command("history", out)
    assert [each["totals"]["documents"] for each in history["versions"]] == [10, 10, 8]
    sql = command("files", out, "--sql", "duckdb")["query"]
    assert {row[0] for row in duckdb.execute(f"SELECT id FROM ({sql.rstrip().rstrip(';')})").fetchall()} == {*live}
    hits = command("search", out, prose(0, 25), "-k", "200", "--chunks")["hits"]
    assert {hit["columns"]["id"] for hit in hits} == {*live}
    best = command("search", out, prose(0, 25), "-k", "200")["hits"]
    assert len(best) == 8 and {hit["columns"]["document_id"] for hit in best} == {row["document_id"] for row in live.values()}
    exported = tmp_path / "exported"
    assert (answer := command("export", out, "--format", "parquet", "--out", str(exported))).code == 0, answer.errors
    assert {each for file in exported.rglob("*.parquet") for each in pq.read_table(file).column("id").to_pylist()} == {*live}


@pytest.mark.parametrize("damaged", ["changes/*/upserts/*.parquet", "changes/*/deletes/*.parquet"])
def test_what_is_lost_is_made_again(tmp_path: Path, edited: list[Row], damaged: str) -> None:
    out = tmp_path / "out"
    held = {file: file.read_bytes() for file in sorted(out.glob(damaged))}
    file = next(reversed(held))
    file.unlink()
    assert command("verify", str(out)).code != 0
    answer = command("repair", str(out))
    assert answer.code == 0, answer.errors
    assert file.read_bytes() == held[file]
    assert command("verify", str(out)).code == 0


def test_a_base_is_made_again_without_its_parent(tmp_path: Path, edited: list[Row]) -> None:
    out = tmp_path / "out"
    assert command("compact", str(out)).code == 0
    *_, parent, compacted = command("history", str(out))["versions"]
    assert compacted["totals"] == parent["totals"] | {"rows_upserted": 0, "rows_deleted": 0} != parent["totals"], "it changes no row"
    assert (compacted["counts"], show_history({"versions": [compacted]})[-7:]) == ({}, " chunks")
    assert command("gc", str(out), "--keep-versions", "1").code == 0
    held = {file: file.read_bytes() for file in sorted(out.glob("bases/*/*.parquet"))}
    for file in held:
        file.unlink()
    assert (answer := command("repair", str(out))).code == 0, answer.errors
    assert {file: file.read_bytes() for file in sorted(out.glob("bases/*/*.parquet"))} == held


