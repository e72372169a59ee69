"""When to stop because of bad messages: a bad release of a producer must not drain a topic into quarantine."""

from collections import deque
from dataclasses import dataclass

from freight.warehouse.stream_load import MicroBatch


@dataclass(frozen=True)
class PoisonLimits:
    """What is too much.

    Attributes:
        share: of bad messages among the newest `window` ones.
        window: messages that the share is taken of; fewer than `enough` tell nothing.
        enough: see `window`.
        run: bad messages of a partition one after the other.
    """

    share: float = 0.3
    window: int = 10_000
    enough: int = 100
    run: int = 500


class PoisonWatch:
    """Follows the bad messages of a listener."""

    def __init__(self, limits: PoisonLimits) -> None:
        self._limits = limits
        self._recent: deque[tuple[int, int]] = deque()  # messages and bad ones of each micro-batch
        self._runs: dict[int, int] = {}

    def judge(self, batch: MicroBatch) -> str | None:
        """Take in a micro-batch; return why it must not be committed, or None."""
        bad = batch.bad_rows.height
        self._recent.append((batch.messages, bad))
        while sum(messages for messages, _ in self._recent) - self._recent[0][0] >= self._limits.window:
            self._recent.popleft()
        return self._share_too_high() or self._run_too_long(batch)

    def add(self, bad: int) -> None:
        """Take in bad messages of a micro-batch that were found when it was loaded; the next verdict counts them."""
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
                return (
                    f"{self._runs[offsets.partition]} bad messages one after the other in partition {offsets.partition}"
                )
        return None
