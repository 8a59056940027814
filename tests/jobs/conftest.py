"""Object stores on loopback for the whole session (moto for S3, Azurite, a small server for Google's), with what the environment needs to reach them."""

from __future__ import annotations

import contextlib
import functools
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from embermill.jobs.config import JobConfig
from tests.jobs import command_line, golden_datasets
from tests.jobs.stores.azurite import Azurite, find_azurite, run_azurite
from tests.jobs.stores.gcs_server import GcsServer, run_gcs_server
from tests.jobs.stores.moto import run_moto

BUCKET = "corpus-and-datasets"


@pytest.fixture(scope="session", autouse=True)
def no_power_cut() -> Iterator[None]:
    """Nothing in this process waits for a disk: no test can cut the power. What runs in a process of its own syncs, as it does for users."""
    with mock.patch("os.fsync", lambda descriptor: None):
        yield


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of a moto server; AWS_* of the environment point there for the whole session, child processes included."""
    with run_moto() as server, in_environment(server.environment):
        server.create_bucket(BUCKET)
        yield server.address


@pytest.fixture(scope="session")
def s3_client(s3_server: str) -> Iterator[Any]:
    """boto3's, once: to make one takes longer than what most tests ask of it."""
    import boto3

    with contextlib.closing(boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")) as client:
        yield client


@contextlib.contextmanager
def in_environment(values: dict[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    yield
    for key, value in before.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value


@pytest.fixture(scope="session")
def azure_server() -> Iterator[Azurite]:
    """Azurite with one container; the environment points there for the whole session. Under CI it must be there."""
    script = find_azurite()
    if script is None:
        missing = "Azurite is not installed: infra/install_services.sh installs it"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    with run_azurite(script) as server, in_environment(server.environment):  # type: ignore[arg-type]
        server.create_container(BUCKET)
        yield server


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[GcsServer]:
    """The small server for Google's XML API, with one bucket; the environment points there for the whole session."""
    with run_gcs_server() as server, in_environment(server.environment):
        server.buckets.objects[BUCKET] = {}
        yield server


SERVERS = {"s3": "s3_server", "az": "azure_server", "gs": "gcs_server"}


@pytest.fixture
def store_url(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """store_url("az"): a prefix of its own in the test bucket of that store."""

    def begin(scheme: str) -> str:
        request.getfixturevalue(SERVERS[scheme])
        return f"{scheme}://{BUCKET}/{uuid.uuid4().hex}"

    return begin


@pytest.fixture
def s3_folder_url(s3_server: str) -> str:
    """A prefix of its own in the test bucket: "s3://bucket/…"."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture
def put_object(request: pytest.FixtureRequest) -> Callable[[str, bytes], None]:
    """put_object("s3://bucket/key", data): put it there by a client that is not ours."""

    def put(url: str, data: bytes) -> None:
        scheme, _, rest = url.partition("://")
        bucket, _, key = rest.partition("/")
        if scheme == "s3":
            request.getfixturevalue("s3_client").put_object(Bucket=bucket, Key=key, Body=data)
        else:
            request.getfixturevalue(SERVERS[scheme]).put(bucket, key, data)

    return put


@pytest.fixture
def embed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., command_line.Answer]:
    """embed(engine="WordEngine", corpus={…}, …): `embermill run` over tmp_path/corpus, on an inline pool."""
    monkeypatch.setattr("embermill.jobs.run.open_pool", command_line.open_inline_pool)
    return functools.partial(command_line.run, tmp_path)


@pytest.fixture
def command() -> Callable[..., command_line.Answer]:
    """command("verify", output): any command, with --json."""
    return command_line.command


@pytest.fixture(scope="session")
def golden_store(s3_client: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus and the models of the old datasets, on the S3 server. Returns a folder for fetched models."""
    golden_datasets.upload(lambda url, data: s3_client.put_object(Bucket=BUCKET, Key=url.removeprefix(f"s3://{BUCKET}/"), Body=data), BUCKET)
    return tmp_path_factory.mktemp("fetched-models")


@pytest.fixture
def old_dataset(golden_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], golden_datasets.OldDataset]:
    """old_dataset("articles-killed"): a copy of a dataset that commit 21abdb6 made, with its corpus and model in place, on an inline pool."""
    monkeypatch.setenv("EMBERMILL_CACHE", str(golden_store))
    monkeypatch.setattr("embermill.jobs.run.open_pool", command_line.open_inline_pool)

    def bring(name: str) -> golden_datasets.OldDataset:
        if name.startswith("local-"):  # its plan holds relative paths, which a command line would make absolute
            monkeypatch.chdir(tmp_path)
            monkeypatch.setattr(JobConfig, "anchored", lambda config, folder: config)
        return golden_datasets.bring(name, tmp_path)

    return bring
