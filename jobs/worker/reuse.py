"""Vectors that a dataset has already, under partitions that later ones stand in for (`redrive`): the engine sees only texts that it has not seen."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from embermill.counts import several
from embermill.jobs.engine import Embedded, Engine, StoredRows
from embermill.jobs.engine.around import AroundEngine
from embermill.jobs.errors import EngineError
from embermill.jobs.plan.files import Plan, numbers_in
from embermill.jobs.shard.contents import Damaged, open_parquet, to_matrix
from embermill.jobs.shard.footer import DATA, parse_name
from embermill.jobs.shard.text_hash import digest_each
from embermill.jobs.storage import Folder

KEPT_GROUPS = 4  # row groups, of some 32 MiB each
_KEY = np.dtype([("high", "<u8"), ("low", "<u8"), ("shard", "<i4"), ("group", "<i4"), ("row", "<i4")])


@dataclass(frozen=True)
class Found:
    """One batch of texts. known: [B] bool, which have a vector already; places: [B] of _KEY, meaningful where known."""

    texts: pa.Array
    known: np.ndarray
    places: np.ndarray

    @property
    def unknown(self) -> pa.Array:
        return self.texts.filter(pa.array(~self.known))


class KnownVectors:
    """What superseded shards hold, by the hash of each text. Memory: 28 bytes a row, and KEPT_GROUPS row groups."""

    def __init__(self, folder: Folder, plan: Plan) -> None:
        self._folder, self._plan = folder, plan
        superseded = numbers_in(plan.superseded)
        self._shards = [name for name, _ in folder.list(DATA) if (parsed := parse_name(name)) is not None and parsed[1] in superseded]
        parts = [keys for number, name in enumerate(self._shards) for keys in self._read_keys(number, name)]
        keys = np.concatenate(parts) if parts else np.empty(0, _KEY)
        self._keys = keys[np.argsort(keys["high"], kind="stable")]
        self._groups: OrderedDict[tuple[int, int], dict[str, np.ndarray]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, texts: pa.Array) -> Found:
        wanted = np.frombuffer(bytes(digest_each(texts)), "<u8").reshape(-1, 2)
        if not len(self._keys):
            return Found(texts, np.zeros(len(texts), bool), np.empty(len(texts), _KEY))
        at = np.minimum(np.searchsorted(self._keys["high"], wanted[:, 0]), len(self._keys) - 1)
        places = self._keys[at]
        return Found(texts, (places["high"] == wanted[:, 0]) & (places["low"] == wanted[:, 1]), places)

    def fill(self, found: Found, embedded: Embedded | None) -> Embedded:
        """The whole batch: what the engine made of the unknown texts, and what the shards have of the others."""
        vectors = {output.column: np.zeros((len(found.known), output.dim), np.float32) for output in self._plan.outputs}
        stored = {form.column: np.zeros((len(found.known), form.width), form.numpy_type) for form in self._plan.vectors}
        counts = {name: np.empty(len(found.known), np.int32) for name in ("num_tokens", "num_tokens_dropped")}
        if embedded is not None:
            self._put_in(found, embedded, vectors, counts)
        known = np.flatnonzero(found.known)
        places = found.places[known]
        for shard, group in sorted(set(zip(places["shard"].tolist(), places["group"].tolist(), strict=True))):
            here = (places["shard"] == shard) & (places["group"] == group)
            held = self._group(shard, group)
            for column, matrix in (stored or vectors).items():
                matrix[known[here]] = held[column][places["row"][here]]
            for column, numbers in counts.items():
                numbers[known[here]] = held[column][places["row"][here]]
        if self._plan.rows.is_chunked:
            counts["num_tokens_dropped"][known] = 0  # they are of a prefix, and known where it is cut
        return Embedded(vectors, counts["num_tokens"], counts["num_tokens_dropped"], StoredRows(found.known, stored) if stored else None)

    def _put_in(self, found: Found, embedded: Embedded, vectors: dict[str, np.ndarray], counts: dict[str, np.ndarray]) -> None:
        """EngineError where the engine did not answer with a row for each text. What is in the rows is checked with all others'."""
        try:
            for column, matrix in vectors.items():
                matrix[~found.known] = embedded.columns[column]
            for column, numbers in counts.items():
                numbers[~found.known] = getattr(embedded, column)
        except (KeyError, TypeError, ValueError) as error:
            asked = several(int((~found.known).sum()), "text")
            raise EngineError(f"the engine's answer does not fit the question of {asked}: {type(error).__name__}: {error}") from error

    def _read_keys(self, number: int, name: str) -> Iterator[np.ndarray]:
        """Of each row group of a shard; a damaged shard, or one that is gone, has none: its texts are embedded again."""
        with contextlib.suppress(Damaged, FileNotFoundError, pa.ArrowException), self._folder.open(name) as file, open_parquet(file) as parquet:
            found = []
            for group in range(parquet.num_row_groups):
                parquet.read_row_group(group, use_threads=False)  # every page's checksum, the vectors' too
                hashes = parquet.read_row_group(group, ["text_hash"], use_threads=False).column(0)
                digests = np.frombuffer(bytes.fromhex("".join(hashes.to_pylist())), "<u8").reshape(-1, 2)
                keys = np.zeros(len(digests), _KEY)
                keys["high"], keys["low"] = digests[:, 0], digests[:, 1]
                keys["shard"], keys["group"], keys["row"] = number, group, np.arange(len(digests))
                found.append(keys)
            yield from found

    def _group(self, shard: int, group: int) -> dict[str, np.ndarray]:
        if (shard, group) in self._groups:
            self._groups.move_to_end((shard, group))
            return self._groups[shard, group]
        with self._folder.open(self._shards[shard]) as file, open_parquet(file) as parquet:
            columns = [form.column for form in self._plan.stored]
            table = parquet.read_row_group(group, [*columns, "num_tokens", "num_tokens_dropped"], use_threads=False)
        held = {column: to_matrix(table.column(column)) for column in columns}
        held |= {name: table.column(name).to_numpy() for name in ("num_tokens", "num_tokens_dropped")}
        self._groups[shard, group] = held
        if len(self._groups) > KEPT_GROUPS:
            self._groups.popitem(last=False)
        return held


class ReusingEngine(AroundEngine[Engine]):
    """An engine that is asked only for what is not known. A batch that is known whole ends the engine's stream; the next one that is not begins another."""

    def __init__(self, engine: Engine, known: KnownVectors) -> None:
        super().__init__(engine)
        self._known = known

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        batches = iter(texts)
        waiting: list[Found] = []  # at the engine
        for batch in batches:
            found: Found | None = self._known.find(batch)
            while found is not None and not found.known.all():
                after: list[Found] = []
                for answer in self._engine.embed(self._feed(found, batches, waiting, after)):
                    yield self._known.fill(waiting.pop(0), answer)
                found = after[0] if after else None
            if found is not None:
                yield self._known.fill(found, None)

    def _feed(self, first: Found, batches: Iterator[pa.Array], waiting: list[Found], after: list[Found]) -> Iterator[pa.Array]:
        """Unknown texts, up to the first batch that has none, which is left in `after`."""
        found = first
        while not found.known.all():
            waiting.append(found)
            yield found.unknown
            batch = next(batches, None)
            if batch is None:
                return
            found = self._known.find(batch)
        after.append(found)
