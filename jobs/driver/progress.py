"""How far a run is: rows/s, tokens/s, what share of its time each stage is busy and which one is the bound, ETA in tokens. Pure: time comes in."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence

from embermill.jobs.driver.snapshot import Snapshot
from embermill.jobs.partition import Partition
from embermill.jobs.plan.partitions import Places, numbers_of, text_bytes_of
from embermill.jobs.receipt import Progress, Receipt, Shard, shares_of

WINDOW_S = 30.0  # over which speed is measured
TELLING_S = 5.0  # of work, before which speed tells nothing of how long the rest takes: the first batch is a small one, and everything warms up with it
STAGE_WORKERS = {"read": "reader", "tokenize": "tokenizer", "encode": "encoder", "write": "writer"}
TOKENS_PER_BYTE = 0.25  # of English text, until the corpus has told its own


class Meter:
    """Takes down what workers report. committed: from before this run. unit, copies: as Snapshot has them."""

    def __init__(self, partitions: Sequence[Partition], committed: Iterable[Shard | Receipt] = (), *, unit: str = "row", copies: bool = False) -> None:
        self._unit, self._copies = unit, copies
        self._places, self._text_bytes = Places(numbers_of(partitions)), text_bytes_of(partitions)
        self._total_bytes = int(self._text_bytes.sum())
        self._done, self._partitions_done = bytearray(len(partitions)), 0  # by place: whether it is complete
        self._tokens: defaultdict[int, int] = defaultdict(int)  # partition -> tokens of its receipts
        self._flying: defaultdict[int, int] = defaultdict(int)  # partition -> tokens embedded and not committed
        self._done_bytes = self._done_tokens = 0
        self._rows = self._all_tokens = self._all_bytes = 0
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._recent: deque[tuple[float, int, int]] = deque()
        self.began_s: float | None = None  # the first document was about to be read
        self.workers = 0
        for receipt in committed:
            self._commit(receipt)

    def progress(self, event: Progress, now_s: float) -> None:
        """A worker's report."""
        self.began_s = now_s if self.began_s is None else self.began_s
        self._rows += event.rows
        self._all_tokens += event.tokens
        self._all_bytes += event.text_bytes
        self._flying[event.partition] += event.tokens
        for stage, seconds in event.seconds.items():
            self._seconds[stage] += seconds
        if self._recent and not event.rows and not event.tokens:  # a sign of life, from a slow worker that is computing still
            return
        self._recent.append((now_s, self._rows, self._all_tokens))
        while now_s - self._recent[0][0] > WINDOW_S and len(self._recent) > 2:
            self._recent.popleft()

    def committed(self, receipt: Receipt) -> None:
        """One shard more."""
        self._commit(receipt)

    def given_back(self, partition: int) -> None:
        """A partition starts again: what was embedded of it and not committed is lost."""
        self._flying.pop(partition, None)

    @property
    def stage_shares(self) -> dict[str, float]:
        return shares_of(self._seconds)

    @property
    def bound(self) -> str:
        if not self._all_tokens:
            return ""
        shares = self.stage_shares
        busiest = max(shares, key=lambda stage: shares[stage])
        return STAGE_WORKERS[busiest] if shares[busiest] else ""

    def snapshot(self, now_s: float) -> Snapshot:
        rows_per_s, tokens_per_s = self._speed(now_s)
        per_byte = self._tokens_per_byte()
        partial = sum(self._flying.values()) + sum(self._tokens.values())
        left = max(0, round(per_byte * (self._total_bytes - self._done_bytes)) - partial)
        finished = self._partitions_done == len(self._done)
        left = 0 if finished else left
        reached = self._done_tokens + partial
        return Snapshot(
            rows=self._rows,
            tokens=self._all_tokens,
            rows_per_s=rows_per_s,
            tokens_per_s=tokens_per_s,
            partitions_done=self._partitions_done,
            partitions=len(self._done),
            done_share=1.0 if finished else reached / (reached + left) if reached + left else 0.0,
            tokens_left=left,
            eta_s=left / tokens_per_s if tokens_per_s > 0 and self.began_s is not None and now_s - self.began_s >= TELLING_S else None,
            stage_shares=self.stage_shares,
            bound=self.bound,
            workers=self.workers,
            unit=self._unit,
            copies=self._copies,
        )

    def _tokens_per_byte(self) -> float:
        """Of what is complete; before anything is, of the batches that have come back: what a limit drops of long texts is not computed."""
        if self._done_bytes and self._done_tokens:
            return self._done_tokens / self._done_bytes
        return self._all_tokens / self._all_bytes if self._all_bytes else TOKENS_PER_BYTE

    def _commit(self, receipt: Shard | Receipt) -> None:
        number = receipt.partition
        place = self._places.find(number)
        if place is None or self._done[place]:
            return
        if number in self._flying:
            self._flying[number] = max(0, self._flying[number] - receipt.tokens)
        if not receipt.last:
            self._tokens[number] += receipt.tokens
            return
        self._done[place] = 1
        self._partitions_done += 1
        self._done_bytes += int(self._text_bytes[place])
        self._done_tokens += self._tokens.pop(number, 0) + receipt.tokens
        self._flying.pop(number, None)

    def _speed(self, now_s: float) -> tuple[float, float]:
        """Rows and tokens per second, lately."""
        if not self._recent or self.began_s is None:
            return 0.0, 0.0
        since_s, rows, tokens = self._recent[0] if now_s - self.began_s > WINDOW_S else (self.began_s, 0, 0)
        seconds = max(now_s - since_s, 1e-3)
        return (self._rows - rows) / seconds, (self._all_tokens - tokens) / seconds
