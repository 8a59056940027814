"""WorkersConfig: the section `workers`."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from embermill.jobs.bookkeeping.stored_keys import IfAbsent
from embermill.jobs.config.errors import WrongKey
from embermill.jobs.config.section import AutoInt, PositiveInt, Section

RAYS_OWN = ("CPU", "GPU", "memory", "object_store_memory")  # resources that other keys decide about, or Ray itself


def _pairs(value: object) -> object:
    """`{name: value}` as pairs, in the order of the names."""
    pairs = [*value.items()] if isinstance(value, dict) else value
    if not isinstance(pairs, list | tuple) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise ValueError(f"expected {{name: value}}, got {value!r:.80}")
    return tuple(sorted(map(tuple, pairs), key=lambda pair: str(pair[0])))


def _amounts(value: object) -> object:
    pairs = _pairs(value)
    assert isinstance(pairs, tuple)
    for name, amount in pairs:
        if name in RAYS_OWN:
            advice = "workers.cpus and workers.device decide about CPUs and GPUs"
            raise ValueError(f"{name}: expected a custom resource (ray start --resources); {advice}")
        number = isinstance(amount, int | float) and not isinstance(amount, bool)
        if not number or not 0 < amount < math.inf or (amount > 1 and amount != int(amount)):
            raise ValueError(f"{name}: expected an amount above 0, a whole number if above 1, got {amount!r:.80}")
    return tuple((name, float(amount)) for name, amount in pairs)


class WorkersConfig(Section):
    """How the work is spread; changes no vector and no file name."""

    count: AutoInt = "auto"
    max: Annotated[PositiveInt | None, IfAbsent(None)] = None
    autoscaling: Annotated[bool, IfAbsent(False)] = False
    device: Literal["auto", "cpu", "gpu"] = "auto"
    cpus: AutoInt = "auto"
    resources: Annotated[tuple[tuple[str, float], ...], BeforeValidator(_amounts), IfAbsent([])] = ()
    labels: Annotated[tuple[tuple[str, str], ...], BeforeValidator(_pairs), IfAbsent([])] = ()
    start_timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 300
    partition_stall_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 300

    @model_validator(mode="after")
    def _check(self) -> WorkersConfig:
        if self.max is not None and self.count != "auto" and self.count > self.max:
            raise WrongKey("count", f"{self.count} is more than workers.max, which is {self.max} and bounds `auto`: leave one of the two out", "max")
        if self.autoscaling and self.max is None and self.count == "auto":
            raise WrongKey("autoscaling", "true needs workers.max (or a number as workers.count), the most workers that the autoscaler is asked for: set it")
        return self
