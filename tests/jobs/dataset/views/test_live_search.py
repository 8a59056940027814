from __future__ import annotations

import numpy as np
import pytest

from embermill.jobs.dataset.metadata.versions import read_version
from embermill.jobs.dataset.views.live import LiveRows
from embermill.jobs.dataset.views.search import search
from tests.jobs.histories.world import World, open_world


@pytest.mark.parametrize("seed", [3, 8])
def test_a_search_sees_live_rows_alone(seed: int) -> None:
    world: World = open_world(seed, 10)
    live = LiveRows(world.folder, world.plan, read_version(world.folder))
    expected = {row["id"]: np.array(row["embedding"]) for batch in live.batches(["id", "embedding"]) for row in batch.to_pylist()}
    query = np.array([1, 0.5, 0, 0], np.float32)
    hits = search(world.folder, [*live.files()], query, 100)
    assert sorted(hit.columns["id"] for hit in hits) == sorted(world.rows)
    scores = [float(expected[hit.columns["id"]] @ query / np.linalg.norm(expected[hit.columns["id"]]) / np.linalg.norm(query)) for hit in hits]
    assert [hit.score for hit in hits] == pytest.approx(scores, abs=1e-6) and scores == sorted(scores, reverse=True)
