"""What an autoscaler is told: placement groups that wait, one for each worker that no node has room for. With the driver they end, however it ends."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group

MOST_ASKED = 100  # at a time: more are asked for once these have come
GIVEN_FOR_S = 10.0  # the room of a group that was given back is left to the worker it was for


class Demand:
    """wants: what a worker takes of a node that is not known yet. labels: that the node must have. Each group is placed by itself: half of them help, too."""

    def __init__(self, wants: Mapping[str, float], labels: Mapping[str, str]) -> None:
        self._wants, self._labels = dict(wants), dict(labels)
        self._waiting: list[Any] = []
        self._given_s = -math.inf

    def ask(self, workers: int) -> None:
        """Ask for room for so many in all. A group that has found it is given back at once: a worker goes there, as the pool decides."""
        self._give_back()
        for group in self._waiting[workers:]:
            remove_placement_group(group)
        del self._waiting[workers:]
        if time.monotonic() - self._given_s >= GIVEN_FOR_S:
            self._waiting += [self._group() for _ in range(min(workers, MOST_ASKED) - len(self._waiting))]

    def withdraw(self) -> None:
        """Nothing is asked for any longer."""
        self.ask(0)

    def _give_back(self) -> None:
        table = placement_group_table() if self._waiting else {}
        waiting = [group for group in self._waiting if table.get(group.id.hex(), {}).get("state") != "CREATED"]
        for group in self._waiting:
            if group not in waiting:
                remove_placement_group(group)
                self._given_s = time.monotonic()
        self._waiting = waiting

    def _group(self) -> Any:
        selector = [self._labels] if self._labels else None
        return placement_group([self._wants], strategy="PACK", bundle_label_selector=selector)
