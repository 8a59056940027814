"""Vectors that are copied: an engine that computes nothing and answers each text with what a shard holds of it already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from embermill.jobs.difference.known_texts import Source, Wanted, look_in_shard
from embermill.jobs.difference.writing import THIS_VERSION
from embermill.jobs.engine import Embedded, Output
from embermill.jobs.errors import DataError
from embermill.jobs.shard.contents import open_parquet, to_matrix
from embermill.jobs.shard.text_hash import digest_each
from embermill.jobs.storage import Folder

COUNTS = ("num_tokens", "num_tokens_dropped")


@dataclass(frozen=True)
class _Held:
    """Vectors and counts by the digests of their texts. wanted.row: place in `columns`."""

    wanted: Wanted
    columns: dict[str, np.ndarray]


class CopyingEngine:
    """For one partition. rows: ROWS_SCHEMA. open_dataset: of an address, "" being this one. made: names of the shards that this version has embedded.

    A text that this version should have embedded and could not has no finite vector: it is refused, as the first row with that text was.
    sound: a text that has a finite vector always, by which whoever isolates such rows sees that the engine itself is sound.
    """

    answers_promptly = True

    def __init__(
        self, fingerprint: dict[str, str], outputs: tuple[Output, ...], rows: pa.Table, sources: Sequence[Source], *,
        open_dataset: Callable[[str], Folder], made: Sequence[str], sound: str,
    ) -> None:  # fmt: skip
        self._fingerprint, self._outputs, self._open, self._made = fingerprint, outputs, open_dataset, made
        self._source, self._row = (rows.column(name).to_numpy() for name in ("source", "source_row"))
        self._sources, self._sound = [*sources], digest_of(pa.array([sound]))
        self._known: _Held | None = None

    def fingerprint(self) -> dict[str, str]:
        return self._fingerprint

    def outputs(self) -> tuple[Output, ...]:
        return self._outputs

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        """texts: of rows of the partition. DataError for one of which no vector is where the keys say."""
        if self._known is None:
            self._known = self._gather()
        for batch in texts:
            yield self._answer(digest_of(batch), self._known)

    def _answer(self, digests: np.ndarray, known: _Held) -> Embedded:
        held = self._empty(len(digests))
        here = known.wanted.places(digests)
        found = here >= 0
        for name, values in held.items():
            values[found] = known.columns[name][known.wanted.row[here[found]]]
        if not found.all():
            self._resolve(digests, np.flatnonzero(~found), held)
        return Embedded({output.column: held[output.column] for output in self._outputs}, *(held[name] for name in COUNTS))

    def _resolve(self, digests: np.ndarray, at: np.ndarray, held: dict[str, np.ndarray]) -> None:
        """Texts that this version embeds: where, is looked up among its shards."""
        if not (self._source == THIS_VERSION).any() and (digests[at] != self._sound).any():
            raise DataError("a vector that was to be copied is of another text than its row: run `embermill verify`, which names what is wrong")
        wanted, folder = Wanted.of(digests[at]), self._open("")
        for number, name in enumerate(self._made):
            if not wanted.all_found:
                look_in_shard(wanted, folder, name, number, whole=False)
        places = wanted.places(digests[at])
        source, row = wanted.source[places], wanted.row[places]
        for number in np.unique(source[source >= 0]).tolist():
            here = source == number
            for name, values in self._read(("", self._made[number]), row[here])[0].items():
                held[name][at[here]] = values
        for output in self._outputs:
            held[output.column][(digests == self._sound).all(axis=1)] = 1

    def _gather(self) -> _Held:
        """Of all rows whose place is known."""
        columns, digests = self._empty(len(self._row)), np.zeros((len(self._row), 2), np.uint64)
        known = self._source >= 0
        for source in np.unique(self._source[known]).tolist():
            at = np.flatnonzero(self._source == source)
            values, read = self._read(self._sources[source], self._row[at])
            digests[at] = read
            for name, column in values.items():
                columns[name][at] = column
        wanted = Wanted.of(digests[known])
        places = np.flatnonzero(known)
        wanted.note(digests[known], np.zeros(len(places), np.int32), places.astype(np.int32))
        return _Held(wanted, columns)

    def _empty(self, rows: int) -> dict[str, np.ndarray]:
        return _no_vectors(rows, self._outputs)

    def _read(self, source: Source, rows: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        address, name = source
        return read_vectors(self._open(address), name, rows, self._outputs)


def _no_vectors(rows: int, outputs: Sequence[Output]) -> dict[str, np.ndarray]:
    held: dict[str, np.ndarray] = {output.column: np.full((rows, output.dim), np.nan, np.float32) for output in outputs}
    return held | {name: np.zeros(rows, np.int32) for name in COUNTS}


def read_vectors(folder: Folder, name: str, rows: np.ndarray, outputs: Sequence[Output]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Of these rows of a shard: vectors and counts, and digests. Only row groups that hold one of them are read."""
    found, digests, first = _no_vectors(len(rows), outputs), np.zeros((len(rows), 2), np.uint64), 0
    columns = [*(output.column for output in outputs), *COUNTS, "text_hash"]
    with folder.open(name) as file, open_parquet(file) as parquet:
        for group in range(parquet.num_row_groups):
            count = parquet.metadata.row_group(group).num_rows
            here = np.flatnonzero((rows >= first) & (rows < first + count))
            if len(here):
                table = parquet.read_row_group(group, columns, use_threads=False)
                at = rows[here] - first
                for output in outputs:
                    found[output.column][here] = to_matrix(table.column(output.column))[at]
                for column in COUNTS:
                    found[column][here] = table.column(column).to_numpy()[at]
                hashes = table.column("text_hash").take(pa.array(at)).to_pylist()
                digests[here] = np.frombuffer(bytes.fromhex("".join(hashes)), "<u8").reshape(-1, 2)
            first += count
    return found, digests


def digest_of(texts: pa.Array) -> np.ndarray:
    """[N, 2] uint64."""
    return np.frombuffer(bytes(digest_each(texts)), "<u8").reshape(-1, 2)
