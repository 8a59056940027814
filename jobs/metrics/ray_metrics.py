"""The measures through Ray's exporter, which every node of a cluster has: they are scraped with Ray's own, as `ray_embermill_…`.

All are gauges there: a total of ours includes what earlier runs committed, and a counter of Ray's begins at 0.
"""

from __future__ import annotations

import functools
from typing import Any

from embermill.jobs.metrics.measures import Measure, Sample


class RayMetrics:
    """Writes nothing while Ray is not connected."""

    def write(self, dataset: str, samples: list[Sample]) -> None:
        import ray

        if ray.is_initialized():
            for sample in samples:
                tags = {"dataset": dataset, **dict(zip(sample.measure.labels, sample.labels, strict=True))}
                _gauge(sample.measure).set(float(sample.value), tags=tags)


@functools.cache
def _gauge(measure: Measure) -> Any:
    from ray.util.metrics import Gauge

    made: Any = Gauge
    return made(measure.name, description=measure.help, tag_keys=("dataset", *measure.labels))
