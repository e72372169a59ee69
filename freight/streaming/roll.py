"""Who listens: what signs of life in the warehouse and runs of the orchestrator tell together. Pure.

The warehouse is believed: a listener that shows signs of life is alive whatever the orchestrator thinks of its run, and
one that is silent is gone. Silence is measured by the clock of who looks, from sign to sign: clocks of other machines,
and outages of the warehouse, make nobody look dead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from freight.types import RunId
from freight.warehouse.scaling import LOST, ListenerLife

SILENT_S = 45.0  # four signs of life are missing
STUCK_S = 300.0  # Kafka's own limit for a member that does not poll
START_LIMIT_S = 300.0  # to pull an image, and for a node to be added
END_LIMIT_S = 300.0  # a listener that ends while Prefect is away tries for four minutes to say so
YOUNG_S = 300.0  # one that is gone sooner than this after its start never really worked
MEMORY_S = 3_600.0  # for so long failed starts count

# waiting: to be taken up · submitted: on its way · ending: was cancelled · ended · failed: or crashed
Phase = Literal["waiting", "submitted", "running", "ending", "ended", "failed"]


@dataclass(frozen=True)
class RunSeen:
    """A run of a listener, as the orchestrator knows it.

    Attributes:
        since: how long it has been in this phase.
    """

    run_id: RunId
    phase: Phase
    since: datetime


@dataclass(frozen=True)
class Sighting:
    """What a listener last showed, and when that was first seen."""

    heartbeat_at: datetime
    heartbeat_seen: datetime
    polled_at: datetime
    polled_seen: datetime


Sightings = Mapping[str, Sighting]


def sighted(before: Sightings, lives: Sequence[ListenerLife], now: datetime) -> Sightings:
    """Return the sightings of listeners that have not ended."""
    return {life.listener_id: _sighting(before.get(life.listener_id), life, now) for life in lives if not life.ended_at}


def _sighting(known: Sighting | None, life: ListenerLife, now: datetime) -> Sighting:
    beats = known is None or known.heartbeat_at != life.heartbeat_at
    polls = known is None or known.polled_at != life.polled_at
    return Sighting(
        life.heartbeat_at,
        now if known is None or beats else known.heartbeat_seen,
        life.polled_at,
        now if known is None or polls else known.polled_seen,
    )


@dataclass(frozen=True)
class Settling:
    """A run whose state nobody else will settle.

    Attributes:
        reason: what to tell people.
        cancelled: whether somebody had cancelled it; otherwise it crashed.
    """

    run_id: RunId
    reason: str
    cancelled: bool = False


@dataclass(frozen=True)
class Roll:
    """Who listens.

    Attributes:
        live: they show signs of life.
        starting: runs of which a listener is to come.
        draining: listeners that are about to end.
        lost: listeners that went silent.
        stuck: listeners whose loop does not turn; part of `draining`.
        settlings: runs to settle.
        unborn: those of them that never came to listen.
        failures: starts within the last hour that came to nothing.
        overdue: whether a run has waited for long to be taken up.
    """

    live: tuple[ListenerLife, ...] = ()
    starting: int = 0
    draining: tuple[ListenerLife, ...] = ()
    lost: tuple[ListenerLife, ...] = ()
    stuck: tuple[ListenerLife, ...] = ()
    settlings: tuple[Settling, ...] = ()
    unborn: tuple[Settling, ...] = ()
    failures: int = 0
    overdue: bool = False


def call_roll(
    lives: Sequence[ListenerLife],
    runs: Sequence[RunSeen],
    sightings: Sightings,
    now: datetime,
    start_limit_s: float = START_LIMIT_S,
) -> Roll:
    """Tell who listens.

    Args:
        lives: listeners that have not ended, and those that ended within `MEMORY_S`.
        runs: those that have not ended, and those that ended within `MEMORY_S`.
        sightings: of the listeners.
        now: the instant of the sightings.
        start_limit_s: how long a run may be on its way.
    """
    here = [life for life in lives if life.ended_at is None]
    lost = [life for life in here if _quiet_s(sightings[life.listener_id].heartbeat_seen, now) > SILENT_S]
    beating = [life for life in here if life not in lost]
    stuck = [life for life in beating if _quiet_s(sightings[life.listener_id].polled_seen, now) > STUCK_S]
    cancelled = {run.run_id for run in runs if run.phase == "ending"}
    draining = [life for life in beating if life.drain_requested_at or life in stuck or life.run_id in cancelled]
    live = [life for life in beating if life not in draining]
    mute = _Mute(lives, [run for run in runs if run.run_id not in {life.run_id for life in beating}], now)
    unborn = mute.unborn(start_limit_s)
    return Roll(
        tuple(live),
        len(mute.starting(start_limit_s)),
        tuple(draining),
        tuple(lost),
        tuple(stuck),
        (*unborn, *mute.gone(lost)),
        tuple(unborn),
        _failures(lives, runs, lost, live, now) + len(unborn),
        any(run.phase == "waiting" and _quiet_s(run.since, now) > start_limit_s for run in runs),
    )


def _quiet_s(since: datetime, now: datetime) -> float:
    return (now - since).total_seconds()


class _Mute:
    """Runs without a listener that shows signs of life."""

    def __init__(self, lives: Sequence[ListenerLife], runs: Sequence[RunSeen], now: datetime) -> None:
        self._lives, self._runs, self._now = lives, runs, now

    def _to_come(self, run: RunSeen) -> bool:
        """Whether its listener is still to come: it has none, or only those of an earlier try."""
        mine = [life for life in self._lives if life.run_id == run.run_id]
        return all(life.ended_at is not None and life.ended_at < run.since for life in mine)

    def _on_its_way(self) -> list[RunSeen]:
        return [run for run in self._runs if run.phase in ("submitted", "running") and self._to_come(run)]

    def starting(self, limit_s: float) -> list[RunSeen]:
        """Return runs of which a listener is to come."""
        waiting = [run for run in self._runs if run.phase == "waiting"]
        return waiting + [run for run in self._on_its_way() if _quiet_s(run.since, self._now) <= limit_s]

    def unborn(self, limit_s: float) -> list[Settling]:
        """Return runs that have been on their way for too long."""
        reason = (
            f"no listener came of it within {limit_s:.0f} s: look at its infrastructure, "
            "which may have an image that cannot be pulled, or have lost its machine"
        )
        late = [run for run in self._on_its_way() if _quiet_s(run.since, self._now) > limit_s]
        return [Settling(run.run_id, reason) for run in late]

    def gone(self, lost: Sequence[ListenerLife]) -> list[Settling]:
        """Return runs that the orchestrator takes for alive, and whose listener is gone."""
        silent = {life.run_id for life in lost}
        settlings = []
        for run in self._runs:
            is_old = _quiet_s(self._ended_at(run), self._now) > END_LIMIT_S
            if run.phase == "running" and run.run_id in silent:
                settlings.append(Settling(run.run_id, "its listener shows no signs of life"))
            elif run.phase == "running" and not self._to_come(run) and is_old:
                settlings.append(Settling(run.run_id, "its listener has ended, and could not say so"))
            elif run.phase == "ending" and is_old:
                settlings.append(
                    Settling(run.run_id, "it was cancelled, and no listener is left of it", cancelled=True)
                )
        return settlings

    def _ended_at(self, run: RunSeen) -> datetime:
        ends = [life.ended_at for life in self._lives if life.run_id == run.run_id and life.ended_at]
        return max([run.since, *ends])


def _failures(
    lives: Sequence[ListenerLife],
    runs: Sequence[RunSeen],
    lost: Sequence[ListenerLife],
    live: Sequence[ListenerLife],
    now: datetime,
) -> int:
    """Count starts that came to nothing since the newest one that came to something, within an hour."""
    young = timedelta(seconds=YOUNG_S)
    healthy = [life.started_at for life in live if now - life.started_at >= young]
    since = max([now - timedelta(seconds=MEMORY_S), *healthy])
    ends = {life.run_id: now for life in lost if now - life.started_at < young}
    for life in lives:
        if life.ended_at and life.state in (LOST, "failed") and life.ended_at - life.started_at < young:
            ends[life.run_id] = life.ended_at
    listened = {life.run_id for life in lives}
    ends |= {run.run_id: run.since for run in runs if run.phase == "failed" and run.run_id not in listened}
    return sum(ended_at > since for ended_at in ends.values())
