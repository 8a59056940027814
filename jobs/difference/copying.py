"""Vectors that are copied: an engine that computes nothing and answers each text with what a shard holds of it already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from embermill.jobs.difference.held_vectors import HeldVectors, Reading, read_vectors, reading_of
from embermill.jobs.difference.known_texts import Source, Wanted, look_in_shard
from embermill.jobs.difference.making import is_import
from embermill.jobs.difference.writing import THIS_VERSION
from embermill.jobs.engine import Embedded, Output
from embermill.jobs.errors import DataError, EngineError
from embermill.jobs.plan.files import Plan, require_plan
from embermill.jobs.shard.text_hash import digest_each
from embermill.jobs.storage import Folder
from embermill.jobs.vectors.form import stored_vectors


@dataclass(frozen=True)
class _Held:
    """Vectors and counts by the digests of their texts. wanted.row: place in `vectors`."""

    wanted: Wanted
    vectors: HeldVectors


class CopyingEngine:
    """For one partition of the plan. rows: ROWS_SCHEMA. open_dataset: of an address, "" being this one. made: names of the shards that this version has
    embedded.

    refused: by their digests the texts that this version should have embedded and could not, each with what the engine said of it: such a text fails here
    in the same words. sound: a text that has a finite vector always, by which whoever isolates such rows sees that the engine itself is sound.
    """

    answers_promptly = True

    def __init__(
        self, plan: Plan, rows: pa.Table, sources: Sequence[Source], *, open_dataset: Callable[[str], Folder], made: Sequence[str],
        refused: Callable[[], Mapping[bytes, str]], sound: str,
    ) -> None:  # fmt: skip
        self._plan, self._open, self._made, self._refused = plan, open_dataset, made, refused
        self._source, self._row = (rows.column(name).to_numpy() for name in ("source", "source_row"))
        self._sources, self._sound = [*sources], digest_of(pa.array([sound]))
        self._known: _Held | None = None
        self._readings: dict[tuple[str, bool], Reading] = {}

    def fingerprint(self) -> dict[str, str]:
        return self._plan.fingerprint

    def outputs(self) -> tuple[Output, ...]:
        return self._plan.outputs

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        """texts: of rows of the partition. DataError for one of which no vector is where the keys say, EngineError for one that was refused."""
        if self._known is None:
            self._known = self._gather()
        for batch in texts:
            yield self._answer(digest_of(batch), self._known)

    def _answer(self, digests: np.ndarray, known: _Held) -> Embedded:
        held = HeldVectors(len(digests), self._plan)
        here = known.wanted.places(digests)
        found = here >= 0
        held.put(found, known.vectors, known.wanted.row[here[found]])
        if not found.all():
            self._resolve(digests, np.flatnonzero(~found), held)
        dropped = held.counts["num_tokens_dropped"] * (not self._plan.rows.is_chunked)  # of chunks those of a prefix, which are known where it is cut
        return Embedded(held.floats, held.counts["num_tokens"], dropped, held.stored_rows)

    def _resolve(self, digests: np.ndarray, at: np.ndarray, held: HeldVectors) -> None:
        """Texts that this version embeds: where, is looked up among its shards."""
        if not (self._source == THIS_VERSION).any() and (digests[at] != self._sound).any():
            raise DataError("a vector that was to be copied is of another text than its row: run `embermill verify`, which names what is wrong")
        wanted, folder = Wanted.of(digests[at]), self._open("")
        for number, name in enumerate(self._made):
            if not wanted.all_found:
                look_in_shard(wanted, folder, name, number, whole=False)
        places = wanted.places(digests[at])
        source, row = wanted.source[places], wanted.row[places]
        lost = digests[at[source < 0]]
        if len(lost := lost[(lost != self._sound).any(axis=1)]):
            raise EngineError(self._refused().get(lost[0].tobytes(), "this version has no vector of the text, and does not say why"))
        for number in np.unique(source[source >= 0]).tolist():
            here = source == number
            held.put(at[here], self._read(("", self._made[number]), row[here])[0])
        for vectors in held.floats.values():
            vectors[(digests == self._sound).all(axis=1)] = 1

    def _gather(self) -> _Held:
        """Of all rows whose place is known."""
        vectors, digests = HeldVectors(len(self._row), self._plan), np.zeros((len(self._row), 2), np.uint64)
        known = self._source >= 0
        for source in np.unique(self._source[known]).tolist():
            at = np.flatnonzero(self._source == source)
            values, read = self._read(self._sources[source], self._row[at])
            digests[at] = read
            vectors.put(at, values)
        wanted = Wanted.of(digests[known])
        places = np.flatnonzero(known)
        wanted.note(digests[known], np.zeros(len(places), np.int32), places.astype(np.int32))
        return _Held(wanted, vectors)

    def _read(self, source: Source, rows: np.ndarray) -> tuple[HeldVectors, np.ndarray]:
        address, name = source
        folder = self._open(address)
        return read_vectors(folder, name, rows, self._plan, self._reading(address, folder, is_import(name)))

    def _reading(self, address: str, folder: Folder, imported: bool) -> Reading:
        """What files of a dataset hold; vectors that are imported lie in this one, as float32."""
        key = (address, imported)
        if key not in self._readings:
            theirs = self._plan if not address else require_plan(folder)
            reading = reading_of(self._plan, stored_vectors(self._plan.outputs, ()) if imported else theirs.stored)
            if reading is None:
                raise DataError(f"{folder.root}: its columns of vectors are others than when this version was planned: leave it out of --reuse")
            self._readings[key] = reading
        return self._readings[key]


def digest_of(texts: pa.Array) -> np.ndarray:
    """[N, 2] uint64."""
    return np.frombuffer(bytes(digest_each(texts)), "<u8").reshape(-1, 2)
