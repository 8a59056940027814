"""Where texts have a vector already: in the parent, in versions that were abandoned, in other datasets, in files that are given."""

from __future__ import annotations

from collections.abc import Sequence

from embermill.jobs.dataset.metadata.versions import BASE, UPSERTS, Version, read_versions
from embermill.jobs.difference.importing import take_sample
from embermill.jobs.difference.known_texts import Source, Wanted, abandoned_shards, look_in_keys, look_in_shard
from embermill.jobs.difference.reuse import shards_of
from embermill.jobs.plan.files import Plan
from embermill.jobs.storage import Folder, open_folder


def find_texts(
    wanted: Wanted, folder: Folder, plan: Plan, parent: Version, reuse: Sequence[str], given: Sequence[str]
) -> tuple[tuple[Source, ...], dict[int, int]]:
    """Note it in `wanted`. Returns (the places, number of a file of the parent -> place). reuse: addresses of datasets; given: imported files."""
    live = parent.of_kind(BASE, UPSERTS)
    sources: list[Source] = [("", file.name) for file in live]
    place_of = {file.number: place for place, file in enumerate(live)}
    if plan.rows.is_chunked:  # the keys are of documents
        for place, file in enumerate(live):
            if not wanted.all_found:
                look_in_shard(wanted, folder, file.name, place, whole=False)
    elif len(wanted.digests):
        look_in_keys(wanted, folder, parent, plan.rows.id_type, place_of)
    for name in abandoned_shards(folder, read_versions(folder)):
        sources.append(("", name))
        look_in_shard(wanted, folder, name, len(sources) - 1, whole=True)
    for uri in reuse:
        other = open_folder(uri)
        for name in shards_of(other, plan):
            sources.append((uri, name))
            look_in_shard(wanted, other, name, len(sources) - 1, whole=False)
    first_given = len(sources)
    for name in given:
        sources.append(("", name))
        look_in_shard(wanted, folder, name, len(sources) - 1, whole=False)
    take_sample(wanted, first_given)
    return tuple(sources), place_of
