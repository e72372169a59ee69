"""The current state of a listener, readable from other threads: for displays, heartbeats and probes."""

import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from statistics import median

from freight.types import LoadCounts

RECENT_S = 10.0  # the time over which rate and latency are measured


@dataclass(frozen=True)
class Snapshot:
    """The state of a listener at an instant.

    Attributes:
        state: Its current activity, for people.
        messages: The number of messages committed since its start.
        counts: The counts of their outcomes.
        holes: The number of offsets without a message: transaction markers and compacted messages.
        partitions: The number of its partitions.
        lag: The number of messages that wait in them.
        rate: The recent number of committed messages per second.
        latency_s: The longest recent time from sending to commit of a micro-batch's oldest message; None without any.
        commit_s: The recent duration of a commit: the median, or that of the commit in progress if it is longer;
            includes waits for a connection, for locks and for an absent warehouse. None without any.
        polled_at: The time of the last turn of its loop.
        committed_at: The time of its last commit.
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
    """Collects the facts that a listener's threads report."""

    def __init__(self) -> None:
        now = datetime.now(UTC)
        self._lock = threading.Lock()
        self._snapshot = Snapshot(now, now)
        self._recent: deque[tuple[float, int, float, float]] = deque()  # when, messages, latency, time of the commit
        self._committing_s = 0.0

    def now(self) -> Snapshot:
        """Return the current state."""
        with self._lock:
            since = time.monotonic() - RECENT_S
            while self._recent and self._recent[0][0] < since:
                self._recent.popleft()
            started = (datetime.now(UTC) - self._snapshot.started_at).total_seconds()
            messages = sum(count for _, count, *_ in self._recent)
            latency = max((latency for *_, latency, _ in self._recent), default=None)
            rate = messages / max(0.1, min(RECENT_S, started))
            return replace(self._snapshot, rate=rate, latency_s=latency, commit_s=self._commit_s())

    def _commit_s(self) -> float | None:
        """Return the duration of commits; the one in progress counts once it is longer than usual."""
        took = [took_s for *_, took_s in self._recent]
        usual = median(took) if took else 0.0
        return max(usual, self._committing_s) or None

    def tell(self, **facts: object) -> None:
        """Note facts under the names of the snapshot's attributes."""
        with self._lock:
            self._snapshot = replace(self._snapshot, **facts)  # type: ignore[arg-type]

    def polled(self, committing_s: float = 0.0) -> None:
        """Note a turn of the loop, and the duration so far of the commit in progress."""
        self._committing_s = committing_s
        self.tell(polled_at=datetime.now(UTC))

    def committed(self, counts: LoadCounts, holes: int, oldest_sent_us: int, took_s: float) -> None:
        """Note a committed micro-batch."""
        now = datetime.now(UTC)
        with self._lock:
            before = self._snapshot
            self._snapshot = replace(
                before,
                messages=before.messages + counts.read,
                counts=before.counts + counts,
                holes=before.holes + holes,
                committed_at=now,
                state="listening",
            )
            if counts.read:
                latency_s = now.timestamp() - oldest_sent_us / 1e6
                self._recent.append((time.monotonic(), counts.read, latency_s, took_s))
