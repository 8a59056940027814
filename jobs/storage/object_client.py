"""One place that talks to object stores, through obstore: addresses, clients with their time-outs, errors as the job's."""

from __future__ import annotations

import functools
import logging
import math
import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from obstore import exceptions
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

from embermill.credentials import has_credentials, without_credentials
from embermill.jobs.errors import UsageError
from embermill.jobs.storage.failures import NO_BUCKET, CutShort, reason_of, store_failure

log = logging.getLogger(__name__)

SCHEMES: dict[str, Callable[..., ObjectStore]] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
_CLIENT_ENVIRONMENT = {
    "s3": ("AWS_ALLOW_HTTP", "AWS_ENDPOINT_URL"),
    "gs": ("GOOGLE_ALLOW_HTTP", "GOOGLE_BASE_URL"),
    "az": ("AZURE_ALLOW_HTTP", "AZURE_STORAGE_ENDPOINT"),
}
MAX_RETRIES = 8  # of one request that the store answered with a time-out, a 5xx or "slow down", over minutes
SLOWEST_BYTES_PER_S = 256 * 1024
CUT_TRIES = 6  # of a request whose connection broke in the middle

T = TypeVar("T")


def split_url(url: str) -> tuple[str, str, str]:
    """URL -> scheme, bucket, key. Keys are taken literally: no percent decoding. UsageError for an unknown scheme, or a key that no client can address."""
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if "@" in bucket or has_credentials(url):
        raise UsageError(f"{without_credentials(url)}: credentials do not belong in a URL: put them in the environment, for example AWS_ACCESS_KEY_ID")
    if scheme not in SCHEMES or not bucket:
        raise UsageError(f"{url}: expected a local path, or {', '.join(f'{known}://bucket/path' for known in SCHEMES)}")
    key = key.removesuffix("/")
    if key and (bad := next((part for part in key.split("/") if part in ("", ".", "..")), None)) is not None:
        what = f"a part {bad!r}" if bad else "two slashes in a row, or one at its beginning"
        raise UsageError(
            f"{url}: its key has {what}: expected parts that are neither empty nor `.` nor `..`, since object stores have no folders to go up in: "
            "write the path that is meant"
        )
    return scheme, bucket, key


def endpoint_of(scheme: str) -> str:
    """Where requests of that scheme go, by the environment, without credentials; for a person to recognise."""
    address = os.environ.get(_CLIENT_ENVIRONMENT[scheme][1], "")
    return without_credentials(address, mark="") or "the default endpoint"


def store_for(scheme: str, bucket: str, size: int = 0) -> ObjectStore:
    """The bucket, with a time-out that a transfer of `size` bytes can keep on a slow line (obstore's is 30 s whatever the size)."""
    timeout_s = 60 * 2 ** max(0, math.ceil(math.log2(max(1, size / SLOWEST_BYTES_PER_S / 60))))
    return _store(scheme, bucket, timeout_s, *(os.environ.get(name, "") for name in _CLIENT_ENVIRONMENT[scheme]))


@functools.cache
def _store(scheme: str, bucket: str, timeout_s: int, allow_http: str, endpoint: str) -> ObjectStore:
    """obstore takes endpoint and credentials from the environment, but its own AWS_ALLOW_HTTP counts no more once client options are given.

    Who gives an endpoint as http:// has allowed it, as with Amazon's own tools, unless AWS_ALLOW_HTTP says otherwise.
    """
    plain = allow_http.lower() in ("1", "true", "yes", "on") if allow_http else endpoint.startswith("http://")
    client: Any = {"timeout": f"{timeout_s}s", "connect_timeout": "10s", "allow_http": plain}
    retries: Any = {"max_retries": MAX_RETRIES, "retry_timeout": timedelta(seconds=max(180, timeout_s))}
    try:
        return SCHEMES[scheme](bucket, client_options=client, retry_config=retries)
    except exceptions.BaseError as error:
        raise UsageError(f"{scheme}://{bucket}: cannot be opened: {reason_of(error)}") from None


def asked(url: str, call: Callable[[], T], tries: int = CUT_TRIES) -> T:
    """Run one request; errors that retrying did not help become ours. FileNotFoundError and conditions pass through.

    tries: where the connection breaks in the middle; 1 for what must not be done twice.
    """
    for tried in range(1, tries):
        try:
            return _asked_once(url, call)
        except CutShort as error:
            log.debug("%s: again", error)
            time.sleep(min(2.0, 0.05 * 3**tried))
    return _asked_once(url, call)


def _asked_once(url: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
        raise
    except exceptions.BaseError as error:
        raise store_failure(error, url) from None
    except FileNotFoundError as error:
        if any(code in str(error) for code in NO_BUCKET):
            raise store_failure(error, url) from None
        raise FileNotFoundError(f"{url}: not found") from None


def version_of(meta: Any) -> str:
    """The etag, in quotes as HTTP has it; Azure's listings leave them out."""
    etag = meta["e_tag"]
    if not etag:
        return str(meta["last_modified"].isoformat())
    return str(etag) if etag.startswith(('"', "W/")) else f'"{etag}"'
