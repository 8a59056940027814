"""embermill.jobs.run from the configuration to the Summary, on an inline pool: what is written, what is refused, what a second run does."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.config import JobConfig, ModelConfig
from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.lease import LEASE, hold_lease
from embermill.jobs.dataset.metadata.manifest import read_manifest
from embermill.jobs.dataset.views.compare import differences
from embermill.jobs.dataset.views.status import status
from embermill.jobs.engine import Preview
from embermill.jobs.errors import AnotherRun, DataError, InputChanged, Interrupted, UsageError
from embermill.jobs.plan.files import Plan
from embermill.jobs.pool.opening import OpenPool
from embermill.jobs.run import run
from embermill.jobs.storage import Folder, open_folder
from tests.jobs import engines
from tests.jobs.command_line import open_inline_pool

ROWS = 200
Configure = Callable[..., JobConfig]


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """A job over 200 short texts in partitions of about 40 rows; sections override."""
    (tmp_path / "corpus").mkdir()
    texts = [f"text number {row}" for row in range(ROWS)]
    pq.write_table(pa.table({"id": [f"r{row}" for row in range(ROWS)], "text": texts}), tmp_path / "corpus/a.parquet", row_group_size=50)

    def build(engine: str = "PlainEngine", name: str = "out", **sections: dict[str, Any]) -> JobConfig:
        values: dict[str, dict[str, Any]] = {
            "model": {"engine": f"python:tests.jobs.engines:{engine}"},
            "corpus": {"files": [str(tmp_path / "corpus/*.parquet")], "partition_text_bytes": 700},
            "output": {"uri": str(tmp_path / name)},
            "workers": {"count": 2},
        }
        for key, section in sections.items():
            values.setdefault(key, {}).update(section)
        return JobConfig.model_validate(values)

    return build


def rows_of(config: JobConfig) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for file in sorted(Path(config.output.uri).glob("data/*.parquet")) for row in pq.read_table(file).to_pylist()}


def test_every_row_comes_out_with_its_vector(configure: Configure) -> None:
    config = configure()
    summary = run(config)
    rows = rows_of(config)
    expected = engines.embed_texts(pa.array([f"text number {row}" for row in range(ROWS)])).columns["embedding"]
    assert [rows[f"r{row}"]["embedding"] for row in range(ROWS)] == expected.tolist()
    assert (summary.rows_in, summary.rows_out, summary.rows_quarantined, summary.committed_before) == (ROWS, ROWS, 0, 0)
    assert summary.tokens == sum(len(f"text number {row}") for row in range(ROWS)) and summary.shards == len(list(Path(config.output.uri).glob("data/*")))
    assert summary.rows_embedded == ROWS and summary.tokens_per_s > 0 and 0 < summary.seconds_embedding < summary.seconds
    assert list(summary.devices.values()) == [summary.shards]
    assert sum(summary.stage_shares.values()) == pytest.approx(1, abs=0.01) and summary.bound
    manifest = read_manifest(open_folder(config.output.uri))
    assert manifest is not None and manifest.totals.rows_out == ROWS and manifest.root["fingerprint"] == engines.PlainEngine().fingerprint()
    json.dumps(summary.to_json())


def test_the_start_is_told_step_by_step(configure: Configure, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", "embermill.jobs"):
        run(configure())
    (table,) = [record.getMessage() for record in caplog.records if "the start, step by step" in record.getMessage()]
    steps = ("corpus and model looked at", "Ray started", "first worker ready", "plan written", "first row read", "first vectors", "first commit")
    places = [table.index(step) for step in steps]
    assert places == sorted(places)


def test_a_pool_is_begun_beside_the_look_and_gone_where_that_refuses(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    @contextlib.contextmanager
    def opened(config: JobConfig, folder: Folder, plan: Plan | None) -> Iterator[OpenPool]:
        said.append("begun")
        with open_inline_pool(config, folder, plan) as pool:
            yield pool
        said.append("ended in order")

    def preview(model: ModelConfig, device: str) -> Preview:
        assert said == ["begun"]
        said.append("looked")
        if model.max_tokens == 16:
            raise UsageError("no such model")
        return Preview()

    monkeypatch.setattr("embermill.jobs.run.open_pool", opened)
    monkeypatch.setattr(engines.PlainEngine, "preview", preview, raising=False)
    with pytest.raises(UsageError, match="no such model"):
        run(configure(model={"max_tokens": 16}))
    assert said == ["begun", "looked"]
    said.clear()
    run(configure())
    assert said == ["begun", "looked", "ended in order"], "the one pool, and no other"
    said.clear()
    assert run(configure()).rows_embedded == 0 and said == [], "all is done"
    with pytest.raises(UsageError, match="no hub here"):
        monkeypatch.setattr("embermill.jobs.preflight.preview_engine", lambda *_, **__: (_ for _ in ()).throw(UsageError("no hub here")))
        run(configure(name="hub", model={"engine": "native", "source": "org/name"}))
    assert said == [], "a worker would fetch the model beside the look"


def test_a_finished_dataset_is_left_as_it_is(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure()
    first = run(config)
    before = {path: path.stat().st_mtime_ns for path in Path(config.output.uri).rglob("*")}
    monkeypatch.setattr("embermill.jobs.run.open_pool", lambda *_: pytest.fail("a finished dataset needs no worker"))
    second = run(config)
    assert {path: path.stat().st_mtime_ns for path in Path(config.output.uri).rglob("*")} == before
    assert second.committed_before == second.shards == first.shards and second.rows_embedded == 0 and second.tokens_per_s == 0


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"model": {"engine": "python:tests.jobs.engines:LimitedEngine", "max_tokens": 16}}, "model.max_tokens: 256 -> 16"),
        ({"corpus": {"text_columns": ["id"]}}, "corpus.text_columns"),
        ({"corpus": {"partition_text_bytes": 9999}}, "corpus.partition_text_bytes: 700 -> 9999"),
        ({"output": {"shard_bytes": 1000}}, "output.shard_bytes"),
    ],
)
def test_other_settings_are_refused_before_anything_else(configure: Configure, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any], words: str) -> None:
    run(configure("LimitedEngine", model={"max_tokens": 256}))
    monkeypatch.setattr("embermill.jobs.run.open_pool", lambda *_: pytest.fail("no worker is needed to see that"))
    settings = {"model": {"max_tokens": 256}} | sections
    with pytest.raises(UsageError, match=words):
        run(configure("LimitedEngine", **settings))


def test_an_engine_that_cannot_describe_itself_is_compared_when_a_worker_has_loaded_it(configure: Configure) -> None:
    with pytest.raises(Interrupted):
        run_and_interrupt(configure("InterruptingEngine"))
    with pytest.raises(UsageError, match=r"model.weights: 00000000 -> 11111111"):
        run(configure("InterruptingEngine", model={"dimensions": 7}))


def run_and_interrupt(config: JobConfig) -> None:
    engines.InterruptingEngine.after = 3
    run(config)


def test_an_interrupted_run_goes_on_from_what_is_committed(configure: Configure) -> None:
    config = configure("InterruptingEngine")
    with pytest.raises(Interrupted, match="run the same command again"):
        run_and_interrupt(config)
    summary = run(config)
    assert 0 < summary.committed_before < summary.shards and summary.rows_out == ROWS and 0 < summary.rows_embedded < ROWS
    undisturbed = configure("InterruptingEngine", name="undisturbed")
    run(undisturbed)
    assert differences(open_folder(undisturbed.output.uri), open_folder(config.output.uri)) == []


def test_an_unfinished_dataset_stays_on_its_kind_of_device_and_a_finished_one_needs_none(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.pool.ray_session.count_gpus", lambda: 8)
    with pytest.raises(Interrupted):
        run_and_interrupt(configure("InterruptingEngine", workers={"device": "cpu"}))
    with monkeypatch.context() as patched, pytest.raises(UsageError, match=r"workers\.device: cpu -> gpu: this dataset was begun on a CPU"):
        patched.setattr("embermill.jobs.run.open_pool", lambda *_: pytest.fail("no worker is needed to see that"))
        run(configure("InterruptingEngine", workers={"device": "gpu"}))
    run(configure("InterruptingEngine", workers={"device": "cpu"}))
    assert run(configure("InterruptingEngine", workers={"device": "gpu"})).rows_embedded == 0


def test_shards_that_were_published_and_not_committed_are_adopted(configure: Configure) -> None:
    config = configure()
    run(config)
    for name in ("commits", "manifests"):
        for file in (Path(config.output.uri) / "_embermill" / name).glob("*"):
            file.unlink()
    summary = run(config)
    assert summary.committed_before == summary.shards and summary.rows_embedded == 0 and summary.rows_out == ROWS


def test_a_changed_file_costs_its_partitions_and_is_named(configure: Configure, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["x"], "text": ["another file"]}), tmp_path / "corpus/b.parquet")
    config = configure("InterruptingEngine", corpus={"partition_text_bytes": 60})
    with pytest.raises(Interrupted):
        run_and_interrupt(config)
    assert "x" not in rows_of(config)
    pq.write_table(pa.table({"id": ["x"], "text": ["changed since"]}), tmp_path / "corpus/a.parquet")
    with pytest.raises(InputChanged, match=r"input_changed: .*a\.parquet"):
        run(config)
    assert "x" in rows_of(config), "the others were finished first"
    assert read_manifest(open_folder(config.output.uri)) is None


def test_a_changed_file_of_many_partitions_is_told_once(configure: Configure, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = configure("InterruptingEngine")
    with pytest.raises(Interrupted):
        run_and_interrupt(config)
    pq.write_table(pa.table({"id": ["x"], "text": ["changed since"]}), tmp_path / "corpus/a.parquet")
    caplog.clear()
    with pytest.raises(InputChanged) as caught:
        run(config)
    assert str(caught.value).count("a.parquet") == 1
    told = [record.message for record in caplog.records if "changed after planning" in record.message]
    assert len(told) == 1, "once, and not for each of its partitions"


def test_no_rows_at_all_is_a_dataset_without_shards(configure: Configure, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": pa.array([], pa.string()), "text": pa.array([], pa.string())}), tmp_path / "corpus/a.parquet")
    summary = run(configure())
    assert (summary.rows_in, summary.shards) == (0, 0) and summary.manifest


def test_too_many_refused_rows_are_judged_at_the_end_and_a_higher_limit_finishes(configure: Configure, tmp_path: Path) -> None:
    ids = [None if row < 20 else f"r{row}" for row in range(100)]
    pq.write_table(pa.table({"id": pa.array(ids, pa.string()), "text": [f"text {row}" for row in range(100)]}), tmp_path / "corpus/a.parquet")
    with pytest.raises(DataError, match="20 of 100 rows were quarantined"):
        run(configure())
    summary = run(configure(corpus={"max_quarantined": 20}))
    assert (summary.rows_out, summary.rows_quarantined, summary.rows_embedded) == (80, 20, 0)


def test_a_lower_limit_on_a_finished_dataset_is_not_kept_and_the_manifest_stays(configure: Configure, tmp_path: Path) -> None:
    ids = [None if row < 20 else f"r{row}" for row in range(100)]
    pq.write_table(pa.table({"id": pa.array(ids, pa.string()), "text": [f"text {row}" for row in range(100)]}), tmp_path / "corpus/a.parquet")
    config = configure(corpus={"max_quarantined": 20})
    run(config)
    with pytest.raises(DataError, match=r"20 of 100 rows .* 0\.01 allows 10\. The dataset was finished under a higher limit, and its manifest stays"):
        run(configure(corpus={"max_quarantined": 0.01}))
    assert read_manifest(open_folder(config.output.uri)) is not None and run(config).rows_embedded == 0


def test_events_hold_a_line_for_each_committed_shard(configure: Configure, tmp_path: Path) -> None:
    config = configure()
    summary = run(config, events_file=tmp_path / "events.jsonl")
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert len(events) == summary.shards and sum(event["rows_out"] for event in events) == ROWS
    assert {event["shard"] for event in events} == {f"data/{path.name}" for path in Path(config.output.uri).glob("data/*")}
    (tmp_path / "events.jsonl").write_text(json.dumps(events[0]) + "\n" + json.dumps(events[1])[:-9])
    run(config, events_file=tmp_path / "events.jsonl")
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert len(lines) == len(events) + 1, "what the file lacks is told at the next start; the torn line stays as it is"
    assert {event["shard"] for line in lines if line.endswith("}") for event in [json.loads(line)]} == {event["shard"] for event in events}
    with pytest.raises(UsageError, match="--events"):
        run(configure(name="other"), events_file=tmp_path / "no/such/folder/events.jsonl")


def test_an_engine_that_cannot_be_loaded_is_a_usage_error(configure: Configure) -> None:
    for engine, words in (("NoSuchEngine", "has no NoSuchEngine"), ("BrokenEngine", "could not be made: ValueError: broken")):
        with pytest.raises(UsageError, match=words):
            run(configure(engine))
    with pytest.raises(UsageError, match="no module no_such_module"):
        run(configure(model={"engine": "python:no_such_module:Engine"}))


def test_poison_is_named_after_three_attempts_and_the_rest_is_committed(
    configure: Configure, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pq.write_table(pa.table({"id": ["p"], "text": ["poison"]}), tmp_path / "corpus/b.parquet")
    config = configure("SickEngine", corpus={"partition_text_bytes": 60})
    with pytest.raises(DataError, match=r"engine: partition \d+ \(.*b\.parquet\): the engine failed: RuntimeError: poison"):
        run(config)
    assert len(rows_of(config)) == ROWS
    where = [record.message for record in caplog.records if "Traceback" in record.message]
    assert len(where) == 1 and 'raise RuntimeError("poison")' in where[0], "whoever wrote the engine is shown the line that failed, once"


def test_events_of_shards_that_were_adopted_are_told(configure: Configure, tmp_path: Path) -> None:
    config = configure()
    shards = run(config).shards
    for name in ("commits", "manifests"):
        for path in (Path(config.output.uri) / "_embermill" / name).iterdir():
            path.unlink()
    summary = run(config, events_file=tmp_path / "events.jsonl")
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert summary.rows_embedded == 0 and len(events) == shards and all(event["adopted"] for event in events)


def test_the_heartbeat_says_how_far_it_is(configure: Configure) -> None:
    config = configure()
    run(config)
    beat = json.loads((Path(config.output.uri) / "_embermill/heartbeat.json").read_text())
    assert beat["state"] == "ended" and beat["partitions_done"] == beat["partitions"] > 1 and beat["rows"] == ROWS


def test_signals_are_as_they_were(configure: Configure) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run(configure())
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize("limit", [1, 60])
def test_a_limit_embeds_the_first_rows_into_a_dataset_of_their_own(configure: Configure, limit: int) -> None:
    config = configure()
    summary = run(config, limit=limit)
    assert summary.rows_in == summary.rows_out == limit and not Path(config.output.uri).exists()
    limited = configure(output={"uri": f"{config.output.uri}-first-{limit}"})
    assert list(rows_of(limited)) == [f"r{row}" for row in range(limit)]
    assert run(config, limit=limit).rows_embedded == 0


def test_a_finished_dataset_whose_corpus_changed_says_so_and_is_left_as_it_is(configure: Configure, tmp_path: Path) -> None:
    config = configure()
    assert run(config).corpus is None
    seen = run(config).corpus
    assert seen is not None and (seen["new"], seen["changed"], seen["gone"], seen["version"]) == (0, 0, 0, 1)
    assert not (tmp_path / "out/_embermill/seen.json").exists()
    pq.write_table(pa.table({"id": ["late"], "text": ["x"]}), tmp_path / "corpus/late.parquet")
    pq.write_table(pa.table({"id": ["other"], "text": ["x"]}), tmp_path / "corpus/a.parquet")
    summary = run(config)
    assert summary.rows_in == ROWS and summary.corpus is not None
    assert (summary.corpus["new"], summary.corpus["changed"], summary.corpus["gone"]) == (1, 1, 0)
    told = status(open_folder(config.output.uri)).corpus
    assert told == summary.corpus
    (tmp_path / "corpus/a.parquet").unlink()
    assert (run(config).corpus or {})["gone"] == 1


def test_an_output_that_is_a_file_is_refused(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match=r"taken: .* expected a folder .*or a path where one can be made"):
        run(configure(output={"uri": str(tmp_path / "taken")}))


def test_an_interrupted_run_goes_on_on_an_object_store_too(configure: Configure, s3_folder_url: str) -> None:
    config = configure("InterruptingEngine", output={"uri": f"{s3_folder_url}/out"})
    with pytest.raises(Interrupted):
        run_and_interrupt(config)
    resumed = run(config)
    assert 0 < resumed.committed_before < resumed.shards and resumed.rows_out == ROWS
    undisturbed = configure("InterruptingEngine", output={"uri": f"{s3_folder_url}/undisturbed"})
    run(undisturbed)
    assert differences(open_folder(undisturbed.output.uri), open_folder(config.output.uri)) == []


def test_another_run_at_work_is_left_alone(configure: Configure) -> None:
    config = configure("InterruptingEngine")
    with pytest.raises(Interrupted):
        run_and_interrupt(config)
    folder = open_folder(config.output.uri)
    with hold_lease(folder), pytest.raises(AnotherRun, match="another run has this dataset"):
        run(config)
    assert run(config).rows_out == ROWS
    with hold_lease(folder):
        assert run(config).rows_embedded == 0, "a finished dataset is looked at, and nothing is written"


def test_a_run_that_is_taken_over_stops_and_the_other_one_completes(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder is silent, and another machine's run takes over in the middle of its work."""
    config = configure()
    answer = engines.PlainEngine.answer

    def taken_over(self: engines.PlainEngine, texts: pa.Array) -> Any:
        folder = open_folder(config.output.uri)
        if not folder.exists(f"{LEASE}/000000002.json"):
            folder.create(f"{LEASE}/000000002.json", b"{}")
            CommitLog(folder, token=2).fence()
        return answer(self, texts)

    monkeypatch.setattr(engines.PlainEngine, "answer", taken_over)
    with pytest.raises(AnotherRun, match="has taken over this dataset") as stopped:
        run(config)
    assert stopped.value.exit_code == 4 and read_manifest(open_folder(config.output.uri)) is None
    open_folder(config.output.uri).create(f"{LEASE}/000000002.released.json", b"{}")
    assert run(config).rows_out == ROWS
