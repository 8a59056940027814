"""What an existing dataset says to a configuration that goes on with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class AsPlanned(Protocol):
    """What of a dataset's plan settles a configuration. config: its keys, those that it lacks as IF_ABSENT has them."""

    @property
    def precision(self) -> str: ...

    @property
    def fingerprint(self) -> Mapping[str, str]: ...

    @property
    def config(self) -> Mapping[str, object]: ...
