"""`repair` makes files of later versions again, byte for byte; where the corpus has gone on it leaves them, and the other advice of `verify` helps."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from embermill.jobs.dataset.metadata.versions import BASE, DELETES, UPSERTS, read_version
from embermill.jobs.dataset.views.verify import verify
from embermill.jobs.dataset.views.verify_report import Damage, VerifyFailed
from embermill.jobs.maintenance.garbage import collect
from embermill.jobs.maintenance.repair import repair
from embermill.jobs.storage import open_folder
from embermill.jobs.sync.job import sync
from embermill.jobs.versions.compact import compact
from embermill.jobs.versions.erase import erase
from embermill.jobs.versions.making import make_version
from embermill.jobs.versions.rollback import rollback
from tests.jobs.sync.corpus import Corpus, TellingEngine, configure, live_rows, row
from tests.jobs.versions.test_verify_versions import flip


@pytest.fixture
def output(tmp_path: Path, embedded: Corpus) -> Path:
    """Version 2 has new texts, one of them twice, and rows of which a kept column alone changed."""
    embedded.write("a.jsonl", [row(f"a{n}", f"text a {n}" if n > 4 else f"new text {n // 2}") for n in range(20)])
    embedded.write("b.jsonl", [row(f"b{n}", f"text b {n}", "de" if n < 3 else "en") for n in range(20)])
    summary = sync(configure(tmp_path))
    assert (summary.texts_embedded, summary.vectors_copied) == (3, 5)
    TellingEngine.taken()
    return tmp_path / "out"


def damage_of(output: Path) -> list[Damage]:
    try:
        return verify(open_folder(str(output))).findings.damage.items
    except VerifyFailed as failed:
        return failed.report.findings.damage.items


def names_of(output: Path, kind: str) -> list[str]:
    version = read_version(open_folder(str(output)))
    return [file.name for file in version.of_kind(kind) if file.version == version.number]


@pytest.mark.parametrize("how", [flip, Path.unlink], ids=["flipped", "gone"])
def test_what_a_sync_wrote_is_made_again(output: Path, how: Callable[[Path], None]) -> None:
    names = names_of(output, UPSERTS)
    assert len(names) >= 2, "one that was embedded and one that was copied, at least"
    for damaged in [[name] for name in names] + [names]:
        before = {name: (output / name).read_bytes() for name in damaged}
        for name in damaged:
            how(output / name)
        found = damage_of(output)
        assert {each.file for each in found} >= {*damaged} and all("embermill repair" in each.remedy for each in found)
        assert {*repair(str(output)).repaired} >= {*damaged}
        assert {name: (output / name).read_bytes() for name in damaged} == before and not damage_of(output)
    assert repair(str(output)).repaired == []


@pytest.mark.parametrize("kind", ["plan/000001/root.json", "plan/000001/segments-*", "commits/*", "writes.json", "rows-*"])
def test_what_a_sync_wrote_is_made_again_though_what_it_was_made_from_is_damaged_too(output: Path, kind: str) -> None:
    """What was decided about the rows has no copy: then the file is left, and nothing breaks."""
    for path in (output / "_embermill/sync/000002").glob(kind):
        flip(path)
    names = names_of(output, UPSERTS)
    before = {name: (output / name).read_bytes() for name in names}
    if kind in ("writes.json", "rows-*"):
        repair(str(output))  # which sets it aside
    for name in names:
        (output / name).unlink()
    repaired = {*repair(str(output)).repaired}
    if kind in ("writes.json", "rows-*"):
        assert not repaired & {*names} and {each.file for each in damage_of(output)} == {*names}
    else:
        assert repaired >= {*names} and {name: (output / name).read_bytes() for name in names} == before and not damage_of(output)


def test_what_compact_wrote_is_made_again_as_long_as_the_version_before_stands(output: Path) -> None:
    make_version(str(output), "compact", compact)
    for name in names_of(output, BASE):
        before = (output / name).read_bytes()
        flip(output / name)
        assert repair(str(output)).repaired == [name] and (output / name).read_bytes() == before
    assert not damage_of(output) and TellingEngine.taken() == []


def test_where_the_corpus_has_gone_on_a_file_is_left_and_a_rollback_helps(tmp_path: Path, output: Path, embedded: Corpus) -> None:
    embedded.write("a.jsonl", [row(f"a{n}", f"later text {n}") for n in range(20)])
    for name in names_of(output, UPSERTS):
        (output / name).unlink()
    repair(str(output))
    left = [each.file for each in damage_of(output)]
    assert left and all(name.startswith("changes/000002/upserts/") for name in left)
    make_version(str(output), "rollback", lambda folder, plan: rollback(folder, plan, 1))
    rows = live_rows(str(output), 1)
    assert live_rows(str(output), 3, without=("version",)) == {key: {k: v for k, v in each.items() if k != "version"} for key, each in rows.items()}
    assert sync(configure(tmp_path)).rows == 40


@pytest.mark.parametrize("maker", ["erase", "compact, collected", "rollback"])
def test_rows_are_made_again_from_keys_and_corpus(output: Path, maker: str) -> None:
    if maker == "erase":
        (output.parent / "ids").write_text("a1\nb7\n")
        erase(str(output), str(output.parent / "ids"))
    elif maker == "rollback":
        make_version(str(output), "rollback", lambda folder, plan: rollback(folder, plan, 1))
    else:
        make_version(str(output), "compact", compact)
        collect(str(output), time.time() + 3 * 24 * 3600, keep_versions=1)
    names = names_of(output, UPSERTS if maker == "rollback" else BASE)
    before = {name: (output / name).read_bytes() for name in names}
    for name in names:
        (output / name).unlink()
    repaired = repair(str(output)).repaired
    if maker == "rollback":  # the texts that it went back to are no longer in the corpus
        assert repaired == [] and damage_of(output)
        return
    assert {*repaired} == {*names} and {name: (output / name).read_bytes() for name in names} == before and not damage_of(output)


def test_a_rollback_to_what_the_corpus_holds_again(tmp_path: Path, output: Path, embedded: Corpus) -> None:
    make_version(str(output), "rollback", lambda folder, plan: rollback(folder, plan, 1))
    for name in "ab":
        embedded.write(f"{name}.jsonl", [row(f"{name}{n}", f"text {name} {n}") for n in range(20)])
    (name,) = names_of(output, UPSERTS)
    before = (output / name).read_bytes()
    flip(output / name)
    assert repair(str(output)).repaired == [name] and (output / name).read_bytes() == before and not damage_of(output)


@pytest.mark.parametrize("refused", ["keep", "delete"])
def test_a_list_of_deletes_is_made_again_from_keys_and_listings(tmp_path: Path, embedded: Corpus, refused: str) -> None:
    """Some rows are gone from a file that is still there (or refused there, and deleted for that), and a file went."""
    rows = embedded.files["a.jsonl"]
    embedded.write("a.jsonl", rows[:17], raw="".join(f'{{"id": "a{n}", "text": null}}\n' for n in (17, 18, 19)) if refused == "delete" else "")
    embedded.remove("b.jsonl")
    options = {"complete": True, "max_deleted_share": 1, "max_quarantined": 5, "on_refused_update": refused}
    assert sync(configure(tmp_path, corpus=options)).rows_deleted == 23
    output = tmp_path / "out"
    (name,) = names_of(output, DELETES)
    before = (output / name).read_bytes()
    (output / name).unlink()
    (found,) = damage_of(output)
    assert found.file == name and "embermill repair" in found.remedy
    assert repair(str(output)).repaired == [name] and (output / name).read_bytes() == before and not damage_of(output)
    make_version(str(output), "compact", compact)
    (name,) = names_of(output, DELETES)
    before = (output / name).read_bytes()
    flip(output / name)
    assert repair(str(output)).repaired == [name] and (output / name).read_bytes() == before


def test_a_lost_list_of_deletes_does_not_keep_a_rollback_from_working(tmp_path: Path, embedded: Corpus) -> None:
    before = live_rows(str(tmp_path / "out"), without=("version",))
    embedded.write("a.jsonl", [row("new", "a new text"), *embedded.files["a.jsonl"][1:]])
    sync(configure(tmp_path, corpus={"complete": True}))
    output = tmp_path / "out"
    (name,) = names_of(output, DELETES)
    (output / name).unlink()
    (found,) = damage_of(output)
    assert found.file == name and "embermill rollback" in found.remedy
    make_version(str(output), "rollback", lambda folder, plan: rollback(folder, plan, 1))
    assert live_rows(str(output), without=("version",)) == before
    assert sync(configure(tmp_path, corpus={"complete": True})).rows == 40
