"""Who listens, by signs of life and by runs."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from freight.streaming.roll import Phase, Roll, RunSeen, Sightings, call_roll, sighted
from freight.types import RunId
from freight.warehouse.scaling import ListenerLife

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def life(run: str = "a", **what: Any) -> ListenerLife:
    told = {"listener_id": f"l-{run}", "run_id": RunId(run), "state": "listening", "partitions": 1}
    times = {"started_at": ago(3_000), "polled_at": ago(5), "heartbeat_at": ago(5)}
    return ListenerLife(**{**told, **times, **what})


def run(phase: Phase, since_s: float = 1_000, run_id: str = "a") -> RunSeen:
    return RunSeen(RunId(run_id), phase, ago(since_s))


def roll(lives: list[ListenerLife], runs: list[RunSeen], looked_before_s: float = 0) -> Roll:
    """Look twice at the same signs of life, so long apart."""
    before = sighted({}, lives, ago(looked_before_s))
    return call_roll(lives, runs, sighted(before, lives, NOW), NOW)


def in_short(found: Roll) -> tuple[int, int, int, int, int, int]:
    return (len(found.live), found.starting, len(found.draining), len(found.lost), len(found.settlings), found.failures)


@pytest.mark.parametrize("phase", ["running", "submitted", "failed", "ended"])
def test_whoever_shows_signs_of_life_is_alive_whatever_the_orchestrator_thinks(phase: Phase) -> None:
    assert in_short(roll([life()], [run(phase)])) == (1, 0, 0, 0, 0, 0)


def test_a_listener_without_a_run_of_the_deployment_counts() -> None:
    assert in_short(roll([life()], [])) == (1, 0, 0, 0, 0, 0)


def test_one_that_is_silent_is_lost_and_its_run_is_settled() -> None:
    assert in_short(roll([life()], [run("running")], looked_before_s=60)) == (0, 0, 0, 1, 1, 0)


def test_silence_counts_from_the_first_look_and_not_by_the_clock_of_another_machine() -> None:
    behind = life(heartbeat_at=ago(10_000), polled_at=ago(10_000))
    assert in_short(roll([behind], [run("running")])) == (1, 0, 0, 0, 0, 0)
    assert in_short(roll([behind], [run("running")], looked_before_s=30)) == (1, 0, 0, 0, 0, 0)


def test_one_whose_loop_is_stuck_is_told_to_drain_and_does_not_count() -> None:
    before: Sightings = sighted({}, [life(heartbeat_at=ago(301))], ago(301))
    stuck = [life()]
    found = call_roll(stuck, [run("running")], sighted(before, stuck, NOW), NOW)
    assert found.stuck == found.draining == tuple(stuck)
    assert in_short(found) == (0, 0, 1, 0, 0, 0)


@pytest.mark.parametrize(
    ("phase", "since_s", "expected"),
    [
        ("waiting", 10_000, (0, 1, 0, 0, 0, 0)),
        ("submitted", 200, (0, 1, 0, 0, 0, 0)),
        ("submitted", 400, (0, 0, 0, 0, 1, 1)),
        ("running", 200, (0, 1, 0, 0, 0, 0)),
        ("running", 400, (0, 0, 0, 0, 1, 1)),
        ("ending", 200, (0, 0, 0, 0, 0, 0)),
        ("ending", 400, (0, 0, 0, 0, 1, 0)),
        ("ended", 10, (0, 0, 0, 0, 0, 0)),
        ("failed", 10, (0, 0, 0, 0, 0, 1)),
        ("failed", 4_000, (0, 0, 0, 0, 0, 0)),
    ],
)
def test_a_run_without_a_listener_is_to_come_for_a_while(
    phase: Phase, since_s: float, expected: tuple[int, ...]
) -> None:
    found = roll([], [run(phase, since_s)])
    assert in_short(found) == expected
    assert found.overdue == (phase == "waiting")
    assert [settling.cancelled for settling in found.settlings] == [phase == "ending"] * expected[4]


def test_a_run_that_nobody_takes_up_waits_and_is_told() -> None:
    assert not roll([], [run("waiting", 200)]).overdue
    assert roll([], [run("waiting", 400)]).overdue


@pytest.mark.parametrize(
    ("ended_s", "since_s", "expected"),
    [
        (100, 1_000, (0, 0, 0, 0, 0, 0)),  # it says so within minutes
        (400, 1_000, (0, 0, 0, 0, 1, 0)),
        (400, 100, (0, 1, 0, 0, 0, 0)),  # started anew since
    ],
)
def test_a_run_whose_listener_has_ended_has_its_time_to_say_so(
    ended_s: float, since_s: float, expected: tuple[int, ...]
) -> None:
    gone = life(ended_at=ago(ended_s), state="completed")
    assert in_short(roll([gone], [run("running", since_s)])) == expected


def test_one_that_was_told_to_drain_or_cancelled_is_draining() -> None:
    assert in_short(roll([life(drain_requested_at=ago(5))], [run("running")])) == (0, 0, 1, 0, 0, 0)
    assert in_short(roll([life()], [run("ending")])) == (0, 0, 1, 0, 0, 0)


@pytest.mark.parametrize(
    ("what", "failures"),
    [
        ({"state": "failed", "started_at": ago(130), "ended_at": ago(100)}, 1),
        ({"state": "lost", "started_at": ago(130), "ended_at": ago(100)}, 1),
        ({"state": "completed", "started_at": ago(130), "ended_at": ago(100)}, 0),
        ({"state": "lost", "started_at": ago(3_000), "ended_at": ago(100)}, 0),
    ],
    ids=["failed soon", "lost soon", "completed", "lost after a long time"],
)
def test_only_starts_that_came_to_nothing_count_as_failures(what: dict[str, Any], failures: int) -> None:
    assert roll([life(**what)], [run("failed", 100)]).failures == failures


def test_a_start_that_came_to_something_forgives_the_failures_before_it() -> None:
    failed = [run("failed", since_s, str(since_s)) for since_s in (2_000, 1_500, 100)]
    assert roll([], failed).failures == 3
    assert roll([life(started_at=ago(1_000))], failed).failures == 1
    assert roll([life(started_at=ago(60))], failed).failures == 3  # it is young itself
