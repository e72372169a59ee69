"""What a listener is doing, readable from other threads: for displays, heartbeats and probes."""

import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from statistics import median

from freight.types import LoadCounts

RECENT_S = 10.0  # rate and latency are those of the last seconds


@dataclass(frozen=True)
class Snapshot:
    """The state of a listener at an instant.

    Attributes:
        state: what it is doing, for people.
        messages: committed since it started.
        counts: how they ended.
        holes: offsets without a message: transaction markers and compacted messages.
        partitions: how many it holds.
        lag: messages that wait in them.
        rate: messages committed a second, of late.
        latency_s: from sending to commit, of the oldest message of each micro-batch of late; None without any.
        commit_s: how long the warehouse takes for a micro-batch, of late: the median, or the one under way so far if
            that is longer; waits for a connection, locks and an absent warehouse included. None without any.
        polled_at: when its loop last turned.
        committed_at: when it last committed.
    """

    started_at: datetime
    polled_at: datetime
    state: str = "starting"
    messages: int = 0
    counts: LoadCounts = field(default_factory=LoadCounts)
    holes: int = 0
    partitions: int = 0
    lag: int = 0
    rate: float = 0.0
    latency_s: float | None = None
    commit_s: float | None = None
    committed_at: datetime | None = None


class Status:
    """Collects what the threads of a listener tell."""

    def __init__(self) -> None:
        now = datetime.now(UTC)
        self._lock = threading.Lock()
        self._told = Snapshot(now, now)
        self._recent: deque[tuple[float, int, float, float]] = deque()  # when, messages, latency, time of the commit
        self._committing_s = 0.0

    def now(self) -> Snapshot:
        """Return the state of this instant."""
        with self._lock:
            since = time.monotonic() - RECENT_S
            while self._recent and self._recent[0][0] < since:
                self._recent.popleft()
            started = (datetime.now(UTC) - self._told.started_at).total_seconds()
            messages = sum(count for _, count, *_ in self._recent)
            latency = max((latency for *_, latency, _ in self._recent), default=None)
            rate = messages / max(0.1, min(RECENT_S, started))
            return replace(self._told, rate=rate, latency_s=latency, commit_s=self._commit_s())

    def _commit_s(self) -> float | None:
        """Return how long commits take; the one under way counts once it is longer than usual."""
        took = [took_s for *_, took_s in self._recent]
        usual = median(took) if took else 0.0
        return max(usual, self._committing_s) or None

    def tell(self, **what: object) -> None:
        """Note facts by the names of the snapshot."""
        with self._lock:
            self._told = replace(self._told, **what)  # type: ignore[arg-type]

    def polled(self, committing_s: float = 0.0) -> None:
        """Note that the loop turned, and how long the commit under way has taken so far."""
        self._committing_s = committing_s
        self.tell(polled_at=datetime.now(UTC))

    def committed(self, counts: LoadCounts, holes: int, oldest_sent_us: int, took_s: float) -> None:
        """Note a committed micro-batch."""
        now = datetime.now(UTC)
        with self._lock:
            told = self._told
            self._told = replace(
                told,
                messages=told.messages + counts.read,
                counts=told.counts + counts,
                holes=told.holes + holes,
                committed_at=now,
                state="listening",
            )
            if counts.read:
                latency_s = now.timestamp() - oldest_sent_us / 1e6
                self._recent.append((time.monotonic(), counts.read, latency_s, took_s))
