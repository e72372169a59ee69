"""Calls the roll of listeners, from the heartbeats in the warehouse and the runs of the orchestrator. Pure.

The warehouse decides: a listener with heartbeats is alive whatever the orchestrator reports of its run, and a silent
one is gone. The observer measures silence with its own clock, from heartbeat to heartbeat: so the clocks of other
machines and outages of the warehouse make no listener look dead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from freight.types import RunId
from freight.warehouse.scaling import LOST, ListenerLife

SILENT_S = 45.0  # four missing heartbeats
STUCK_S = 300.0  # Kafka's own limit for a member that does not poll
START_LIMIT_S = 300.0  # includes the pull of an image and the start of a new node
END_LIMIT_S = 300.0  # a listener that ends while Prefect is away tries for four minutes to report it
YOUNG_S = 300.0  # a listener that is gone sooner after its start never really worked
MEMORY_S = 3_600.0  # the time for which failed starts count

# waiting: for a worker · submitted: on its way · ending: cancelled, not ended yet · ended · failed: or crashed
Phase = Literal["waiting", "submitted", "running", "ending", "ended", "failed"]


@dataclass(frozen=True)
class RunSeen:
    """A run of a listener, as the orchestrator reports it.

    Attributes:
        run_id: The id of the run.
        phase: Its phase.
        since: The start of this phase.
    """

    run_id: RunId
    phase: Phase
    since: datetime


@dataclass(frozen=True)
class Sighting:
    """The last heartbeat and poll of a listener, and the times at which they were first seen."""

    heartbeat_at: datetime
    heartbeat_seen: datetime
    polled_at: datetime
    polled_seen: datetime


Sightings = Mapping[str, Sighting]


def sighted(before: Sightings, lives: Sequence[ListenerLife], now: datetime) -> Sightings:
    """Return the sightings of the listeners that have not ended."""
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
    """A run whose state no other program will settle.

    Attributes:
        run_id: The id of the run.
        reason: The reason, for people.
        cancelled: True if the run was cancelled; otherwise it crashed.
    """

    run_id: RunId
    reason: str
    cancelled: bool = False


@dataclass(frozen=True)
class Roll:
    """The roll of listeners.

    Attributes:
        live: The listeners with heartbeats.
        starting: The number of runs whose listener has not started yet.
        draining: The listeners that are about to end.
        lost: The listeners that went silent.
        stuck: The listeners whose loop does not turn; part of `draining`.
        settlings: The runs to settle.
        unborn: The runs among them that never started to listen.
        failures: The number of failed starts within the last hour.
        overdue: True if a run has waited too long for a worker.
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
    """Call the roll.

    Args:
        lives: The listeners that have not ended, and those that ended within `MEMORY_S`.
        runs: The runs that have not ended, and those that ended within `MEMORY_S`.
        sightings: The sightings of the listeners.
        now: The instant of the sightings.
        start_limit_s: The time that a run may take to start its listener.
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
    """The runs without a listener that sends heartbeats."""

    def __init__(self, lives: Sequence[ListenerLife], runs: Sequence[RunSeen], now: datetime) -> None:
        self._lives, self._runs, self._now = lives, runs, now

    def _to_come(self, run: RunSeen) -> bool:
        """Return True if its listener has not started: there is none, or only those of an earlier try."""
        mine = [life for life in self._lives if life.run_id == run.run_id]
        return all(life.ended_at is not None and life.ended_at < run.since for life in mine)

    def _on_its_way(self) -> list[RunSeen]:
        return [run for run in self._runs if run.phase in ("submitted", "running") and self._to_come(run)]

    def starting(self, limit_s: float) -> list[RunSeen]:
        """Return runs whose listener has not started yet."""
        waiting = [run for run in self._runs if run.phase == "waiting"]
        return waiting + [run for run in self._on_its_way() if _quiet_s(run.since, self._now) <= limit_s]

    def unborn(self, limit_s: float) -> list[Settling]:
        """Return runs whose listener has taken too long to start."""
        reason = (
            f"its listener did not start within {limit_s:.0f} s: check its infrastructure, "
            "which may have an image that cannot be pulled, or have lost its machine"
        )
        late = [run for run in self._on_its_way() if _quiet_s(run.since, self._now) > limit_s]
        return [Settling(run.run_id, reason) for run in late]

    def gone(self, lost: Sequence[ListenerLife]) -> list[Settling]:
        """Return runs that are alive for the orchestrator, but whose listener is gone."""
        silent = {life.run_id for life in lost}
        settlings = []
        for run in self._runs:
            is_old = _quiet_s(self._ended_at(run), self._now) > END_LIMIT_S
            if run.phase == "running" and run.run_id in silent:
                settlings.append(Settling(run.run_id, "its listener shows no signs of life"))
            elif run.phase == "running" and not self._to_come(run) and is_old:
                settlings.append(Settling(run.run_id, "its listener has ended without reporting it"))
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
    """Count the failed starts since the newest successful one, within an hour."""
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
