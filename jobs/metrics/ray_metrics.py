"""The measures through Ray's exporter, which every node of a cluster has: they are scraped with Ray's own, as `ray_embermill_…`.

All are gauges there: a total of ours includes what earlier runs committed, and a counter of Ray's begins at 0.
"""

from __future__ import annotations

import functools
from typing import Any

from embermill.jobs.config import JobConfig
from embermill.jobs.metrics.measures import Measure, Sample


class RayMetrics:
    """Nothing is written before the job is connected to Ray. Once it no longer is, at its end, it connects once more: Ray sends what it was told when it
    disconnects, and drops it 20 seconds later.
    """

    def __init__(self, config: JobConfig) -> None:
        self._config, self._was_connected = config, False

    def write(self, dataset: str, samples: list[Sample]) -> None:
        import ray

        if ray.is_initialized():
            self._was_connected = True
            _set(dataset, samples)
        elif self._was_connected:
            from embermill.jobs.pool.ray_session import RaySession

            with RaySession(self._config):
                _set(dataset, samples)


def _set(dataset: str, samples: list[Sample]) -> None:
    for sample in samples:
        tags = {"dataset": dataset, **dict(zip(sample.measure.labels, sample.labels, strict=True))}
        _gauge(sample.measure).set(float(sample.value), tags=tags)


@functools.cache
def _gauge(measure: Measure) -> Any:
    from ray.util.metrics import Gauge

    made: Any = Gauge
    return made(measure.name, description=measure.help, tag_keys=("dataset", *measure.labels))
