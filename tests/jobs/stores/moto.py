"""A moto server, for S3, on loopback."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Moto:
    address: str

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to reach it."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "secret-of-the-test",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def create_bucket(self, name: str) -> None:
        """Needs the environment."""
        import boto3

        with contextlib.closing(boto3.client("s3", endpoint_url=self.address, region_name="us-east-1")) as client:
            client.create_bucket(Bucket=name)

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """By a client that is not ours. Needs the environment."""
        import boto3

        with contextlib.closing(boto3.client("s3", endpoint_url=self.address, region_name="us-east-1")) as client:
            client.put_object(Bucket=bucket, Key=key, Body=data)


@contextlib.contextmanager
def run_moto() -> Iterator[Moto]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield Moto("http://{}:{}".format(*server.get_host_and_port()))
    finally:
        server.stop()
