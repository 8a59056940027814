"""`faiss:PATH`, `postgresql://host/db?table=docs`, `python:module:Class?…` -> its class, and a Target made of it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from difflib import get_close_matches
from urllib.parse import parse_qsl

from embermill.credentials import without_credentials
from embermill.jobs.errors import UsageError
from embermill.jobs.index import METRICS, Address, Target
from embermill.jobs.named_class import find_class

TARGETS = {
    "chroma": "chroma:ChromaTarget",
    "duckdb": "duckdb:DuckDBTarget",
    "faiss": "faiss:FaissTarget",
    "lancedb": "lancedb:LanceDBTarget",
    "milvus": "milvus:MilvusTarget",
    "postgresql": "postgresql:PostgreSQLTarget",
    "qdrant": "qdrant:QdrantTarget",
    "qdrant-edge": "qdrant_edge:QdrantEdgeTarget",
    "usearch": "usearch:UsearchTarget",
}
SCHEMES = {"postgres": "postgresql"} | {name: name for name in TARGETS}
PYTHON = "python"
METHODS = ("describe", "prepare", "upsert", "delete", "commit", "finish", "count", "fetch", "search")
EXPECTED = f"expected a class with the methods {', '.join(METHODS)} (the protocol: embermill.jobs.index.Target)"


def parse_address(text: str) -> Address:
    """UsageError for what is no target."""
    shown = without_credentials(text, mark="")
    scheme, colon, rest = text.partition(":")
    if not colon or (scheme not in SCHEMES and scheme != PYTHON):
        close = get_close_matches(scheme, [*SCHEMES, PYTHON], n=1)
        meant = f": did you mean `{close[0]}:`?" if close and colon else ""
        raise UsageError(f"unknown target `{shown}`{meant or f': expected one of {_schemes()}'}")
    place, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if not place.strip("/"):
        raise UsageError(f"target {shown}: it names no place: expected for example {EXAMPLES.get(scheme, scheme + ':PATH')}")
    return Address(text, shown, SCHEMES.get(scheme, scheme), place.removeprefix("//"), options)


def target_class(address: Address, search_path: Sequence[str] = ()) -> type[Target]:
    """The class, without connecting. UsageError where its client library is missing, or where it is none that could be loaded into."""
    if address.scheme == PYTHON:
        found = find_class(address.place, f"target {address.shown}", METHODS, EXPECTED, search_path)
        if not (isinstance(found, type) and issubclass(found, Target)):  # the defaults of the protocol for what it does not say
            found = type(found.__name__, (found, Target), {})
        _require_signature(address, found)
        return found
    module, name = TARGETS[address.scheme].split(":")
    try:
        made: type[Target] = getattr(importlib.import_module(f"embermill.jobs.index.targets.{module}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("embermill"):
            raise
        extra = EXTRAS.get(address.scheme, address.scheme)
        raise UsageError(f"target {address.shown}: needs {error.name}, which is not installed here: pip install 'embermill[{extra}]'") from None
    known = {"metric", *made.options}
    if not made.takes_any_option and (unknown := sorted({*address.options} - known)):
        raise UsageError(f"target {address.shown}: unknown option {unknown[0]!r}: expected one of {', '.join(sorted(known))}")
    if empty := [name for name in ("table", "collection") if name in made.options and not address.options.get(name, name)]:
        raise UsageError(f"target {address.shown}: {empty[0]}= names none: give it a name, or leave the option out ({empty[0]}=docs)")
    return made


def metric_of(address: Address, made: type[Target]) -> str:
    metric = address.options.get("metric", made.metrics[0])
    if metric not in made.metrics:
        known = f"expected one of {', '.join(made.metrics)}"
        raise UsageError(f"target {address.shown}: {'its' if metric in METRICS else 'unknown'} metric {metric!r} is none that it has: {known}")
    return metric


def _require_signature(address: Address, found: type) -> None:
    try:
        inspect.signature(found).bind(address)
    except TypeError as error:
        raise UsageError(f"target {address.shown}: expected a class that is called with (address): {error}") from None
    except ValueError:  # a class in C may not say what it takes
        pass


def _schemes() -> str:
    return ", ".join(f"{scheme}:" for scheme in sorted([*TARGETS, PYTHON]))


EXTRAS = {"postgresql": "pgvector", "milvus": "milvus-lite"}
EXAMPLES = {
    "postgresql": "postgresql://host/db?table=docs",
    "qdrant": "qdrant://localhost:6333?collection=docs",
    "milvus": "milvus:docs.db or milvus://localhost:19530?collection=docs",
    "python": "python:module:Class",
}
