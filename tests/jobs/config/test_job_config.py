"""The configuration is strict, its errors name key, expected and got, and its documentation is whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from embermill.jobs.config import KEYS, SECTIONS, JobConfig, flatten, job_config, load_config
from embermill.jobs.errors import UsageError

CONFIGS = Path(__file__).parents[3] / "configs"
SMALLEST = "model: {source: org/name}\ncorpus: {files: [corpus/*.parquet]}\noutput: {uri: out}\n"


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.chdir(tmp_path)

    def from_text(text: str, *overrides: str) -> JobConfig:
        (tmp_path / "job.yaml").write_text(text, encoding="utf-8")
        return load_config("job.yaml", list(overrides))

    return from_text


def test_defaults_are_those_of_the_issue(load: object, tmp_path: Path) -> None:
    config = flatten(load(SMALLEST))  # type: ignore[operator]
    assert config == {
        "model.source": "org/name",
        "model.engine": "native",
        "model.revision": None,
        "model.weights": None,
        "model.precision": "auto",
        "model.cpu_float32": "auto",
        "model.min_cosine": 0.99,
        "model.pooling": None,
        "model.normalize": None,
        "model.prompt": None,
        "model.prompt_name": None,
        "model.query_prompt": None,
        "model.max_tokens": None,
        "model.dimensions": None,
        "model.allow_truncation": False,
        "model.on_long_text": "truncate",
        "corpus.files": [f"{tmp_path}/corpus/*.parquet"],
        "corpus.format": "auto",
        "corpus.id_column": None,
        "corpus.text_columns": ["text"],
        "corpus.text_separator": "\n",
        "corpus.keep_columns": [],
        "corpus.types": [],
        "corpus.encoding": None,
        "corpus.delimiter": ",",
        "corpus.partition_text_bytes": "auto",
        "corpus.max_text_bytes": 16_777_216,
        "corpus.max_quarantined": 0.01,
        "corpus.on_bad_file": "fail",
        "corpus.complete": False,
        "corpus.max_deleted_share": 0.05,
        "corpus.on_duplicate_id": "quarantine",
        "corpus.on_refused_update": "keep",
        "corpus.on_schema_drift": "fail",
        "output.uri": f"{tmp_path}/out",
        "output.shard_bytes": 256_000_000,
        "output.lease_s": 60, "output.on_unconditional_puts": "fail", "output.encoding": "compact", "output.id": "kept", "output.text": False,
        "output.vectors": [],
        "output.compact_at": None,
        "workers.count": "auto",
        "workers.max": None,
        "workers.autoscaling": False,
        "workers.device": "auto",
        "workers.cpus": "auto",
        "workers.resources": [],
        "workers.labels": [],
        "workers.start_timeout_s": 300,
        "workers.partition_stall_s": 300,
        "ray.address": None,
        "chunk.max_tokens": None, "chunk.min_fill": 0.25, "chunk.overlap_tokens": 0, "chunk.rules": "auto", "chunk.prefix_columns": [], "chunk.headings": False,
        "chunk.keep_text": False, "chunk.document_column": "document_id", "chunk.on_blob": "keep", "chunk.splitter": None, "chunk.pooling": "alone",
        "chunk.edition": 1,
    }


def test_values_of_every_kind(load: object) -> None:
    config = load(
        SMALLEST,
        "corpus.files=a.csv",
        "corpus.text_columns=[title, body]",
        "corpus.keep_columns=[lang, {num_tokens: source_tokens}]",  # type: ignore[operator]
        "model.max_tokens=16",
        'model.prompt="query: "',
        "model.normalize=true",
        "corpus.max_quarantined=5",
        "workers.count=2",
        "ray.address=auto",
        "output.uri=s3://bucket/a b%20",
        "corpus.text_separator=' '",
    )
    assert config.corpus.files[0].endswith("/a.csv") and config.corpus.text_columns == ("title", "body") and config.corpus.text_separator == " "
    assert config.corpus.keep_columns == (("lang", "lang"), ("num_tokens", "source_tokens"))
    assert (config.model.max_tokens, config.model.prompt, config.model.normalize, config.corpus.max_quarantined) == (16, "query: ", True, 5)
    assert (config.workers.count, config.ray.address, config.output.uri) == (2, "auto", "s3://bucket/a b%20")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("corpus.file=x", "unknown key `corpus.file`: did you mean `corpus.files`?"),
        ("corpus.max_tokens=3", "unknown key `corpus.max_tokens`: did you mean `model.max_tokens`?"),
        ("model.precison=auto", "unknown key `model.precison`: did you mean `model.precision`?"),
        ("coprus.files=x", "unknown section `coprus`: did you mean `corpus`?"),
        ("workers.gpus=3", "unknown key `workers.gpus`: did you mean `workers.cpus`?"),
        ("output.uri=~", "--set output.uri: expected a text (in quotes where YAML would read something else), got nothing (`~`, `null` and an empty value"),
        ("output.uri=", "--set output.uri: expected a text (in quotes where YAML would read something else), got nothing (`~`, `null` and an empty value"),
        ("workers.count=null", "--set workers.count: expected 'auto' or a whole number, got nothing (`~`, `null` and an empty value"),
        ("model.max_tokens='3'", "model.max_tokens: expected a whole number, got '3' (str)"),
        ("model.max_tokens=true", "model.max_tokens: expected a whole number, got True (bool)"),
        ("model.max_tokens=0", "model.max_tokens: expected a number > 0, got 0 (int)"),
        ("model.max_tokens=2.5", "model.max_tokens: expected a whole number, got 2.5 (float)"),
        ("model.prompt=query: ", "got {'query': None} (dict) (a text with a colon needs quotes"),
        ("model.precision=fp16", "model.precision: expected 'auto', 'float32', 'float16', 'bfloat16', 'int8' or 'fp8', got 'fp16' (str)"),
        ("corpus.partition_text_bytes=-1", "corpus.partition_text_bytes: expected 'auto' or a number > 0, got -1 (int)"),
        ("corpus.partition_text_bytes=big", "corpus.partition_text_bytes: expected 'auto' or a whole number, got 'big' (str)"),
        ("corpus.files=[]", "corpus.files: expected at least one entry"),
        ("corpus.files=[a, a]", "corpus.files: named twice: a"),
        ("corpus.text_columns=[a, b, a]", "corpus.text_columns: named twice: a"),
        ("corpus.keep_columns=[3]", "corpus.keep_columns: each entry is a column's name"),
        ("corpus.delimiter=tab", "corpus.delimiter: expected one character"),
        ("corpus.max_quarantined=1.5", "corpus.max_quarantined: expected a share below 1 or a whole number of rows, got 1.5"),
        ("corpus.max_quarantined=.nan", "corpus.max_quarantined"),
        ("output.shard_bytes=300000000", "output.shard_bytes: expected a number <= 256000000, got 300000000 (int)"),
        ("ray.address=ray://head:10001", "ray:// (Ray Client) is refused"),
        ("ray.address=foo", "ray.address: 'foo': expected auto (the cluster that this machine is in) or HOST:PORT"),
        ("ray.address=head:99999", "ray.address: 'head:99999': expected auto"),
        ("ray.address=local", "ray.address: 'local': expected auto"),
        ("model.engine=python:mine", "model.engine: expected `native` or python:module:Class, got 'python:mine'"),
        ("model.source=null", "model.source: expected a folder, a hub id"),
        ("workers=3", "--set workers: expected section.key=value"),
        ("workers.count", "--set workers.count: expected section.key=value"),
        ("workers.count=[", "--set workers.count: not valid YAML: line 1, column 2: while parsing a flow node, "),
    ],
)
def test_errors_name_key_expected_and_got(load: object, override: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(SMALLEST, override)  # type: ignore[operator]
    assert message in str(caught.value) and str(caught.value).startswith("--set")


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("workers: {count: two}", (), "job.yaml: workers.count: expected 'auto' or a whole number, got 'two' (str)"),
        ("workers: {count: two}", ("workers.max=3",), "job.yaml: workers.count: expected 'auto' or a whole number, got 'two' (str)"),
        ("workers: {count: 1}", ("workers.count=two",), "--set workers.count: expected 'auto' or a whole number, got 'two' (str)"),
        (
            "workers: {count: 9}", ("workers.max=8",),
            "--set workers.max: workers.count: 9 is more than workers.max, which is 8 and bounds `auto`: leave one of the two out",
        ),
        ("", ("chunk.splitter=a:b",), "--set chunk.splitter: expected python:module:function, got 'a:b'"),
        (
            "chunk: {headings: true}", ("model.on_long_text=truncate",),
            "--set model.on_long_text: chunk: says how documents are cut, which is done with model.on_long_text: split alone: set that, "
            "or take the section out",
        ),
        ("workers: {count: two}", ("ray.address=x",), "--set ray.address: 'x': expected auto (the cluster that this machine is in) or HOST:PORT of its head; "
         "null starts a private Ray here; job.yaml: workers.count: expected 'auto' or a whole number, got 'two' (str)"),
        ("", ("output.vectors=[{column: a, scale: 1.0}]",), "--set output.vectors.0.scale: is for int8 alone, and the column 'a' is float32"),
        ("workers: {cpu: 1}", ("workers.gpu=1",), "--set unknown key `workers.gpu`: did you mean `workers.cpus`?; "
         "job.yaml: unknown key `workers.cpu`: did you mean `workers.cpus`?"),
        ("workers: 3", ("workers.count=1",), "job.yaml: workers: expected a section with keys, got 3"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_blamed_on_what_said_it_and_names_its_key_once(load: object, text: str, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(SMALLEST + text + "\n", *overrides)  # type: ignore[operator]
    assert str(caught.value) == message


@pytest.mark.parametrize("section", SECTIONS)
def test_no_refusal_of_a_section_names_a_key_that_is_said_already(section: str) -> None:
    """Each begins with its key, which is put before it: `chunk.splitter: splitter: …` would be read twice."""
    source = "".join(path.read_text() for path in (Path(job_config.__file__).parent).glob("*.py"))
    for key in SECTIONS[section].model_fields:
        assert not re.search(rf"""ValueError\(f?["']{key}\b""", source) and not re.search(rf"""WrongKey\("{key}", f?["']{key}\b""", source), key


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the sections model, corpus, output, workers, ray, chunk, got nothing"),
        ("- a", "got list"),
        ("model: [", "not valid YAML"),
        (SMALLEST + "output: {uri: b}", "the key `output` appears twice"),
        (SMALLEST.replace("{uri: out}", "{uri: out, uri: b}"), "the key `uri` appears twice"),
        (SMALLEST.replace("{uri: out}", ""), "output: expected a section with keys, got nothing (`~`"),
        ("model: {source: a}", "corpus: expected a section with keys, got none; output: expected a section with keys, got none"),
        (SMALLEST + "workers: {count: 1, cpu: 2, devise: cpu}", "unknown key `workers.cpu`: did you mean `workers.cpus`?; unknown key `workers.devise`"),
        ("model: !!python/object/apply:os.system [echo]", "not valid YAML"),
    ],
)
def test_documents_that_are_no_job(load: object, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(text)  # type: ignore[operator]
    assert message in str(caught.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"nowhere\.yaml: cannot be read as a configuration: No such file or directory"):
        load_config("nowhere.yaml")


@pytest.mark.parametrize("key", ["output.uri", "corpus.files", "model.source"])
def test_credentials_in_a_url_are_refused_and_not_repeated(load: object, key: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(SMALLEST, f"{key}=s3://AKIA123:very-secret@bucket/x")  # type: ignore[operator]
    assert "credentials do not belong in a URL" in str(caught.value) and "secret" not in str(caught.value) and "AKIA" not in str(caught.value)


def test_a_source_is_a_folder_only_where_one_stands(load: object, tmp_path: Path) -> None:
    assert load(SMALLEST).model.source == "org/name"  # type: ignore[operator]
    (tmp_path / "org/name").mkdir(parents=True)
    assert load(SMALLEST).model.source == f"{tmp_path}/org/name"  # type: ignore[operator]
    assert load(SMALLEST, "model.source=package:p/m").model.source == "package:p/m"  # type: ignore[operator]


class TestDocumentation:
    REFERENCE = CONFIGS / "reference.yaml"

    def test_every_key_is_documented_once(self) -> None:
        text = self.REFERENCE.read_text()
        documented: list[str] = []
        section = ""
        for line in text.splitlines():
            if found := re.match(r"(\w+):", line):
                section = found[1]
            elif found := re.match(r"  (\w+):(.*)", line):
                documented.append(f"{section}.{found[1]}")
                assert "# " in found[2] and len(found[2].split("# ", 1)[1]) > 15, f"{section}.{found[1]} has no comment"
        assert sorted(documented) == sorted(KEYS)

    def test_the_reference_holds_the_defaults(self) -> None:
        found = load_config(self.REFERENCE)
        examples = {"model.source", "corpus.files", "corpus.id_column", "corpus.text_columns", "corpus.keep_columns", "output.uri"}
        for name, section in SECTIONS.items():
            for key, field in section.model_fields.items():
                if f"{name}.{key}" not in examples:
                    assert getattr(getattr(found, name), key) == field.default, f"{name}.{key}"

    @pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
    def test_every_example_loads(self, path: Path) -> None:
        load_config(path)


class TestWhereWorkersGo:
    def test_resources_and_labels(self, load: object) -> None:
        workers = load(SMALLEST + "workers: {max: 8, resources: {disk: 1, b: 0.5}, labels: {zone: eu}}\n").workers  # type: ignore[operator]
        assert (workers.max, workers.resources, workers.labels) == (8, (("b", 0.5), ("disk", 1.0)), (("zone", "eu"),))

    def test_a_number_of_workers_to_ask_the_autoscaler_for(self, load: object) -> None:
        for workers in ("{autoscaling: true, max: 8}", "{autoscaling: true, count: 8}"):
            assert load(SMALLEST + f"workers: {workers}\n").workers.autoscaling  # type: ignore[operator]

    @pytest.mark.parametrize(
        ("workers", "said"),
        [
            ("{resources: {GPU: 1}}", "workers.cpus and workers.device decide"),
            ("{resources: {disk: 1.5}}", "a whole number if above 1"),
            ("{resources: {disk: -1}}", "above 0"),
            ("{resources: [disk]}", "expected {name: value}"),
            ("{labels: {zone: 1}}", "labels"),
            ("{count: 9, max: 8}", "workers.count: 9 is more than workers.max, which is 8 and bounds `auto`"),
            ("{max: 0}", "max"),
            ("{autoscaling: true}", "workers.autoscaling: true needs workers.max"),
        ],
    )
    def test_what_is_refused(self, load: object, workers: str, said: str) -> None:
        with pytest.raises(UsageError, match=said):
            load(SMALLEST + f"workers: {workers}\n")  # type: ignore[operator]
