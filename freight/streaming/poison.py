"""Stops a listener at too many bad messages: a producer's bad release must not drain a topic into quarantine."""

from collections import deque
from dataclasses import dataclass

from freight.warehouse.stream_load import MicroBatch


@dataclass(frozen=True)
class PoisonLimits:
    """The limits of bad messages.

    Attributes:
        share: The share of bad messages among the newest `window` ones.
        window: The number of messages in which the share is measured.
        enough: The least number of messages in which the share counts.
        run: The number of consecutive bad messages of a partition.
    """

    share: float = 0.3
    window: int = 10_000
    enough: int = 100
    run: int = 500


class PoisonWatch:
    """Counts the bad messages of a listener."""

    def __init__(self, limits: PoisonLimits) -> None:
        self._limits = limits
        self._recent: deque[tuple[int, int]] = deque()  # messages and bad ones of each micro-batch
        self._runs: dict[int, int] = {}

    def judge(self, batch: MicroBatch) -> str | None:
        """Count a micro-batch; return the reason if it must not be committed, else None."""
        bad = batch.bad_rows.height
        self._recent.append((batch.messages, bad))
        while sum(messages for messages, _ in self._recent) - self._recent[0][0] >= self._limits.window:
            self._recent.popleft()
        return self._share_too_high() or self._run_too_long(batch)

    def add(self, bad: int) -> None:
        """Add bad messages of a micro-batch that its load found; the next verdict counts them."""
        if bad and self._recent:
            messages, known = self._recent.pop()
            self._recent.append((messages, known + bad))

    def _share_too_high(self) -> str | None:
        messages, bad = (sum(part) for part in zip(*self._recent, strict=True))
        if messages < self._limits.enough or bad <= self._limits.share * messages:
            return None
        return f"{bad} of the last {messages} messages are bad, more than {self._limits.share:.0%}"

    def _run_too_long(self, batch: MicroBatch) -> str | None:
        bad_rows = batch.bad_rows_by_partition
        for offsets in batch.ranges:
            bad = bad_rows[offsets.partition].height
            if offsets.messages == bad:
                self._runs[offsets.partition] = self._runs.get(offsets.partition, 0) + bad
            elif offsets.messages:
                self._runs[offsets.partition] = 0
            if self._runs.get(offsets.partition, 0) >= self._limits.run:
                return f"{self._runs[offsets.partition]} consecutive bad messages in partition {offsets.partition}"
        return None
