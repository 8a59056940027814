"""Nodes where no worker lives long enough to do anything. Pure."""

from __future__ import annotations

import re
from collections import deque

from embermill.jobs.pool.base import Died

MOST_WAYS = 256  # of dying, on all nodes, that are remembered
SAME_DEATHS = 3  # of workers of one node, before any receipt
NODES_FAULT = frozenset({"lost", "defect", "stalled"})  # kinds of a death that may be the node's


class Nodes:
    """Nodes on which workers die the same way, one after another, before they have done anything get no more of them."""

    def __init__(self) -> None:
        self._deaths: dict[tuple[str, str], deque[frozenset[int]]] = {}  # (node, how) -> what each had in hand
        self._proven: set[str] = set()  # nodes whose workers have published something
        self.barred: dict[str, str] = {}  # node -> why, in words

    def succeeded(self, node: str) -> None:
        """A worker there has published something: whatever ends workers there from now on, it is what they work on."""
        self._proven.add(node)  # a name for each node that ever worked

    def died(self, died: Died, in_hand: frozenset[int]) -> str | None:
        """Why its node gets no more workers; None where it does.

        in_hand: the partitions it had; one that each of the dead had is itself the suspect.
        """
        if died.node in self._proven:
            return None
        deaths = self._deaths.setdefault((died.node, how_it_died(died.error)), deque(maxlen=SAME_DEATHS))
        if len(self._deaths) > MOST_WAYS:
            del self._deaths[next(iter(self._deaths))]
        deaths.append(in_hand)
        if len(deaths) == SAME_DEATHS and died.node not in self.barred and not frozenset.intersection(*deaths):
            where = died.host or died.node or "this machine"
            self.barred[died.node] = f"{where}: {SAME_DEATHS} workers died there the same way, one after another, before they had done anything: {died.error}"
        return self.barred.get(died.node)


def how_it_died(error: str) -> str:
    """An error's words less what differs from one process to the next: numbers, addresses, ids."""
    return re.sub(r"\b(0x)?[0-9a-fA-F]*\d[0-9a-fA-F]*\b", "#", error)[:500]
