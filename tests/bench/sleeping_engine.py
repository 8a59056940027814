"""An engine that sleeps 5 ms a text; one worker of a job may be ill, as EMBERMILL_BENCH_ILL says: broken (NaN) or slow (ten times)."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import pyarrow as pa

from embermill.jobs.engine import Embedded
from tests.jobs.engines import PlainEngine, embed_texts


class SleepingEngine(PlainEngine):
    """The first of a job's workers to come is the ill one: it makes the file that EMBERMILL_BENCH_MARK names."""

    def __init__(self, model: Any = None, *, device: str = "cpu", threads: int = 1) -> None:
        super().__init__(model)
        self.ill = os.environ.get("EMBERMILL_BENCH_ILL", "")
        if self.ill:
            try:
                os.close(os.open(os.environ["EMBERMILL_BENCH_MARK"], os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                self.ill = ""

    def answer(self, texts: pa.Array) -> Embedded:
        embedded = embed_texts(texts)
        if self.ill == "broken":
            embedded.columns["embedding"] = np.full_like(embedded.columns["embedding"], np.nan)
            return embedded
        time.sleep(0.005 * len(texts) * (10 if self.ill == "slow" else 1))
        return embedded
