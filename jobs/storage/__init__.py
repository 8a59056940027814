"""The only room that knows where corpus and dataset lie: a local folder or an object store (s3://, gs://, az://).

Publishing is atomic and create-if-absent everywhere. Endpoints and credentials come from the environment (AWS_ENDPOINT_URL, AWS_ALLOW_HTTP,
AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME, ...) and are in no plan, log or message.

    base.py           FileInfo, Folder, InputFile: the types
    local.py          a folder of this machine: hard links, fsync
    object_store.py   an object store: conditional put, listings without folder markers
    object_input.py   ranged reads of an object that are conditional on what was planned
    object_client.py  addresses, clients and time-outs, errors
    inputs.py         corpus entries (file, folder, glob) -> files
    failures.py       what an error of either means: for a person to fix, or worth running again
"""

from __future__ import annotations

from pathlib import Path

from embermill.jobs.storage.base import AlreadyExists, FileInfo, Folder, InputFile, restore_bytes
from embermill.jobs.storage.failures import FULL, disk_failure, naming_file, naming_folder, of_disk
from embermill.jobs.storage.inputs import holds_something, is_folder, is_url, list_inputs, would_list
from embermill.jobs.storage.local import LocalFolder, file_info, open_local_input
from embermill.jobs.storage.object_input import open_object_input
from embermill.jobs.storage.object_store import ObjectFolder, object_info

__all__ = [
    "FULL", "AlreadyExists", "FileInfo", "Folder", "InputFile", "disk_failure", "holds_something", "is_folder", "is_url", "list_inputs", "look_at",
    "naming_file", "naming_folder", "of_disk", "open_folder", "open_input", "restore_bytes", "would_list",
]  # fmt: skip


def open_folder(uri: str, *, looks_first: bool = False) -> Folder:
    """The dataset at a local path or URL; nothing is created before something is published. UsageError for an unknown scheme.

    looks_first: for a store that ignores the condition of a put: look whether the name is taken, and put only then.
    """
    return ObjectFolder(uri, looks_first=looks_first) if is_url(uri) else LocalFolder(uri)


def look_at(path: str) -> FileInfo | None:
    """A corpus file as it is now; None where there is none."""
    if is_url(path):
        return object_info(path)
    try:
        return file_info(Path(path))
    except OSError:
        return None


def open_input(path: str, size: int, version: str) -> InputFile:
    """Open a corpus file as it was planned. InputChanged where it is gone or another; Interrupted where the store cannot be reached."""
    return open_object_input(path, size, version) if is_url(path) else open_local_input(path, size, version)
