"""An arithmetic model of a stream, its listeners and its warehouse: hours of scaling take no time."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from freight.streaming.scaling import Decision, ScalingLimits, StreamState, decide
from freight.warehouse.scaling import ScalingMemory

PERIOD_S = 30
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass
class StreamModel:
    """Listeners that take time to start and share a warehouse.

    Attributes:
        rate: The messages per second that one listener can read.
        warehouse: The messages per second that all of them can load.
        commit_s: The duration of a commit without pressure on the warehouse.
        start_s: The shortest and the longest start of a listener.
        live: The number of listeners; `starting` holds the seconds that others still need.
    """

    limits: ScalingLimits
    partitions: int = 4
    rate: float = 1_000.0
    warehouse: float = 1e9
    commit_s: float = 0.1
    start_s: tuple[int, int] = (20, 90)
    failures: int = 0
    seed: int = 0
    live: int = 0
    draining: int = 0
    starting: list[float] = field(default_factory=list)
    lag: float = 0.0
    looks: int = 0
    memory: ScalingMemory = field(default_factory=ScalingMemory)
    decisions: list[Decision] = field(default_factory=list)
    listeners: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance, self._lag_before = Random(self.seed), None  # type: Random, float | None

    def run(self, load: Iterable[float]) -> "StreamModel":
        """Run the model with the given messages per second, one value for each look."""
        for produced in load:
            self._pass_time(produced)
            self._follow(decide(self.limits, self.memory, self._seen(produced)))
        return self

    def _pass_time(self, produced: float) -> None:
        self.looks += 1
        self._lag_before = self.lag if self.looks > 1 else None
        self._group_before = self.live + self.draining
        could = min((self.live + self.draining) * self.rate, self.warehouse) * PERIOD_S
        waiting = self.lag + produced * PERIOD_S
        self._read = min(waiting, could)
        self.lag = waiting - self._read
        self._pressed = self.lag > 0
        self.draining = 0
        self.starting = [left - PERIOD_S for left in self.starting]
        self.live += sum(left <= 0 for left in self.starting)
        self.starting = [left for left in self.starting if left > 0]

    def _seen(self, produced: float) -> StreamState:
        pressure = self.live * self.rate / self.warehouse if self._pressed else 0.0
        return StreamState(
            now=BEGIN + timedelta(seconds=self.looks * PERIOD_S),
            partitions=self.partitions,
            lag=int(self.lag),
            live=self.live,
            starting=len(self.starting),
            draining=self.draining,
            lag_before=None if self._lag_before is None else int(self._lag_before),
            produced=produced,
            read=self._read / PERIOD_S,
            are_same=self.live == self._group_before,
            commit_s=self.commit_s * max(1.0, pressure) if self.live else None,
            failures=self.failures,
        )

    def _follow(self, decision: Decision) -> None:
        self.memory = decision.memory
        self.decisions.append(decision)
        self.starting += [self._chance.uniform(*self.start_s) for _ in range(decision.start)]
        self.live, self.draining = self.live - decision.drain, self.draining + decision.drain
        self.listeners.append(self.live + len(self.starting) + self.draining)

    @property
    def targets(self) -> list[int]:
        """The target after each look."""
        return [decision.memory.target or 0 for decision in self.decisions]

    def turns(self, looks: int) -> int:
        """Return how often the target changed from growing to shrinking or back within the last looks."""
        targets = self.targets[-looks:]
        steps = [b - a for a, b in itertools.pairwise(targets) if a != b]
        return sum((a > 0) != (b > 0) for a, b in itertools.pairwise(steps))
