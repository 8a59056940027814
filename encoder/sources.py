"""Any model source -> a local folder pinned to a revision, with digests of what lies in it.

    models/minilm                     a folder
    sentence-transformers/NAME        a Hugging Face id: the commit it resolves to; from the cache when the hub cannot be reached
    s3://bucket/models/minilm         an object store (s3, gs, az, https, ...): fetched once for each state of its listing
    package:NAME/SUBDIR               a folder inside an installed Python package, which is found but never imported

Only files that a model is read from are fetched: JSON, vocabularies and weights that hold no code. Pickles never are.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlparse

from embermill.credentials import shown_address, without_credentials, without_signature
from embermill.encoder.errors import SourceError
from embermill.encoder.hub_errors import client_error, explain, first_line

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_TEXT_FILES = ("*.json", "vocab.txt", "*/vocab.txt", "merges.txt", "*/merges.txt", "README.md")  # the model card: see matryoshka.py
_WEIGHT_FILES = ("*.safetensors", "*.mpk", "*.mpk.gz", "*.bpk")
_OTHER_RUNTIMES = ("onnx/*", "openvino/*", "coreml/*", "gguf/*", "*/onnx/*", "*/openvino/*")
_HUB_ID = r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?"
_COMMIT = r"[0-9a-f]{40}"
_ALLOW_HTTP_AND_ENDPOINT = (
    ("AWS_ALLOW_HTTP", "AWS_ENDPOINT_URL"), ("GOOGLE_ALLOW_HTTP", "GOOGLE_BASE_URL"), ("AZURE_ALLOW_HTTP", "AZURE_STORAGE_ENDPOINT"),
)  # fmt: skip
_SLOWEST_BYTES_PER_S = 1_000_000  # a request's time limit follows from its size: obstore's own 30 s would cut a large file off


class LocalModel(NamedTuple):
    """A model's files on this machine. source: as asked for. revision: the commit or digest it was pinned to; None for a plain folder."""

    folder: Path
    source: str
    revision: str | None = None

    def __repr__(self) -> str:
        return f"LocalModel(folder={self.folder!r}, source={shown_address(self.source)!r}, revision={self.revision!r})"


def fetch_model(source: str | os.PathLike[str], *, revision: str | None = None, weights: str | None = None) -> LocalModel:
    """Find a model and bring it here. `weights`: of several weight files fetch this one alone. Raises SourceError, saying what was looked for and where.

    A folder that exists wins over a hub id of the same spelling.
    """
    if not isinstance(source, str | os.PathLike) or not os.fspath(source):
        raise SourceError(f"model source {source!r}: expected a folder, a Hugging Face id, an object-store URL or package:NAME/SUBDIR, as a string or a path.")
    source = os.fspath(source)
    if source.startswith("package:"):
        return _unpinned(_package_folder(source), source, revision)
    if source.startswith("file://"):
        return _unpinned(_existing_folder(unquote(urlparse(source).path), source), source, revision)
    if "://" in source:
        return _fetch_from_object_store(source, revision, weights)
    if _expanded(source).exists() or not re.fullmatch(_HUB_ID, source):
        return _unpinned(_existing_folder(source, source), source, revision)
    return _fetch_from_hub(source, revision, weights)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; read at every call, so that it can never be that of another content."""
    import hashlib  # opens OpenSSL: loading a model to encode with needs no digest

    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_digest(folder: Path, paths: Iterable[Path]) -> str:
    """One SHA-256 for several files: that of the file where there is one, else of the list of names (relative to `folder`) and digests."""
    import hashlib

    ordered = sorted(set(paths))
    if len(ordered) == 1:
        return file_digest(ordered[0])
    lines = "".join(f"{file_digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in ordered)
    return hashlib.sha256(lines.encode()).hexdigest()


def _unpinned(folder: Path, source: str, revision: str | None) -> LocalModel:
    if revision is not None:
        raise SourceError(f"model source {source}: revision={revision!r} has no meaning for a folder; leave it out.")
    return LocalModel(folder, source)


def _expanded(path: str) -> Path:
    """With `~` as the home folder."""
    try:
        os.fsencode(path)
        return Path(path).expanduser()
    except RuntimeError:
        raise SourceError(f"model source {path}: there is no user {path.split('/')[0][1:]!r} whose home folder that could be; give an absolute path.") from None
    except UnicodeEncodeError:
        raise SourceError(f"model source {path!r}: the name is not valid Unicode; expected a folder, a hub id or a URL.") from None


def _existing_folder(path: str, source: str) -> Path:
    folder = _expanded(path)
    if folder.is_dir():
        return folder.resolve()
    if folder.is_file():
        raise SourceError(f"model source {source}: this is a file; expected the model's folder ({folder.parent}), and the file as `weights` if it has several.")
    raise SourceError(f"model source {source}: no such folder, and it is not a hub id, an object-store URL or package:NAME/SUBDIR either.")


def _package_folder(source: str) -> Path:
    """package:NAME/SUBDIR. The package is found, not imported: loading a model runs no code of the package that ships it."""
    name, _, subdir = source.removeprefix("package:").partition("/")
    if not name.isidentifier() or ".." in Path(subdir).parts or Path(subdir).is_absolute():
        raise SourceError(f"model source {source}: expected package:NAME/SUBDIR, NAME being a top-level package and SUBDIR a folder inside it.")
    spec = importlib.util.find_spec(name)
    roots = [Path(root) for root in (spec.submodule_search_locations or ())] if spec else []
    if not roots:
        raise SourceError(f"model source {source}: no package {name} is installed here; install it (pip install), or give a folder or a hub id.")
    for root in roots:
        if (root / subdir).is_dir():
            return (root / subdir).resolve()
    raise SourceError(f"model source {source}: package {name} has no folder {subdir!r}; looked in {', '.join(map(str, roots))}.")


def _wanted(weights: str | None) -> list[str]:
    """Patterns of the files to fetch. With one weight file named, the others of the root stay where they are; Dense modules keep theirs."""
    if weights is None or weights.endswith(".json"):
        return [*_TEXT_FILES, *_WEIGHT_FILES]
    return [*_TEXT_FILES, weights, "*/model.safetensors"]


def _fetch_from_hub(source: str, revision: str | None, weights: str | None) -> LocalModel:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    def download(local_files_only: bool) -> LocalModel:
        folder = snapshot_download(
            source, revision=revision, allow_patterns=_wanted(weights), ignore_patterns=list(_OTHER_RUNTIMES), local_files_only=local_files_only
        )
        return LocalModel(Path(folder), source, Path(folder).name)

    if revision is not None and re.fullmatch(_COMMIT, revision):  # a commit cannot change: what is cached needs no question to the hub
        try:
            cached = download(local_files_only=True)
        except LocalEntryNotFoundError:
            pass
        else:
            if (cached.folder / "config.json").is_file():
                return cached
    try:
        return download(local_files_only=False)
    except (client_error(), HFValidationError, OSError, ValueError) as error:
        raise SourceError(f"model source {source}: no such folder here, and {explain(error, revision)}") from error


def _fetch_from_object_store(source: str, revision: str | None, weights: str | None) -> LocalModel:
    """Fetch into the cache under a name made of URL and listing (path, size, etag): another content is another folder, a fresh signature is not."""
    import hashlib

    from obstore.exceptions import BaseError

    shown = without_credentials(source)
    try:
        entries = _list_objects(source, _wanted(weights))
        if not entries:
            raise SourceError(f"model source {shown}: nothing there that a model is read from ({', '.join((*_TEXT_FILES, *_WEIGHT_FILES))}).")
        state = hashlib.sha256("".join(f"{path}\0{meta['size']}\0{meta['e_tag']}\n" for path, meta in sorted(entries.items())).encode()).hexdigest()
        if revision not in (None, state):
            raise SourceError(f"model source {shown}: its files changed: revision {revision} was asked for, and {state} is there.")
        folder = _cache_root() / hashlib.sha256(without_signature(source).rstrip("/").encode()).hexdigest()[:16] / state
        if not folder.is_dir():
            _download(source, entries, folder)
    except (BaseError, OSError, ValueError) as error:
        reason = without_credentials(first_line(error))
        raise SourceError(f"model source {shown}: cannot be fetched: {reason} Check the URL, the region and the credentials in the environment.") from error
    return LocalModel(folder, source, state)


def _open_store(source: str, num_bytes: int) -> ObjectStore:
    from obstore.store import from_url

    timeout = timedelta(seconds=60 + num_bytes / _SLOWEST_BYTES_PER_S)
    # obstore reads endpoint and credentials from the environment, but not this once client options are given
    allow_http = any(_allows_http(*(os.environ.get(name, "") for name in names)) for names in _ALLOW_HTTP_AND_ENDPOINT)
    return from_url(source, client_options={"timeout": timeout, "allow_http": allow_http}, retry_config={"max_retries": 5, "retry_timeout": timeout})


def _allows_http(allow: str, endpoint: str) -> bool:
    """Who gives an endpoint as http:// has allowed it, unless the other variable says otherwise."""
    return allow.lower() in ("1", "true", "yes", "on") if allow else endpoint.startswith("http://")


def _list_objects(source: str, patterns: list[str]) -> dict[str, Mapping[str, Any]]:
    import obstore

    entries = (meta for chunk in obstore.list(_open_store(source, 0)) for meta in chunk)
    return {
        meta["path"]: meta
        for meta in entries
        if any(fnmatch(meta["path"], pattern) for pattern in patterns)
        and not any(fnmatch(meta["path"], pattern) for pattern in _OTHER_RUNTIMES)
        and ".." not in Path(meta["path"]).parts
    }


def _download(source: str, entries: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Fetch into a temporary folder and rename it: a folder in the cache is whole, whoever else is fetching it too."""
    import shutil
    import tempfile

    import obstore

    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder.parent))
    try:
        for path, meta in entries.items():
            target = unfinished / path
            target.parent.mkdir(parents=True, exist_ok=True)
            answer = obstore.get(_open_store(source, meta["size"]), path, options={"if_match": meta["e_tag"]} if meta["e_tag"] else None)
            with target.open("wb") as stream:
                for chunk in answer.stream():
                    stream.write(chunk)
            if target.stat().st_size != meta["size"]:
                came = f"{path} came with {target.stat().st_size} bytes instead of {meta['size']}"
                raise SourceError(f"model source {without_credentials(source)}: {came}; try again.")
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _cache_root() -> Path:
    base = os.environ.get("EMBERMILL_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "embermill" / "models"

