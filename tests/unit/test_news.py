"""What people hear of runs: each reason once, how often it came again, and its end."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.utilities.importtools import import_object

from freight.settings import PROJECT_ROOT
from tasks import news
from tasks.heartbeat import GOES_ON, WAITING_S, WAITS, Waiting
from tasks.news import AGAIN, Ended, News, fingerprint, news_of, shortened

START = datetime(2026, 3, 16, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def run(at: int, name: str = "Failed", reason: str = "no block 'erp'", **more: Any) -> Ended:
    return Ended(f"run {at}", name, reason, START + at * MINUTE, **more)


def well(at: int, **more: Any) -> Ended:
    return run(at, "Completed", "17 rows read", **more)


def heard(runs: Sequence[Ended]) -> list[News | None]:
    """Return the news of each run, each of which knows those before it."""
    return [news_of(one, runs[:place]) for place, one in enumerate(runs)]


def kinds(*runs: Ended) -> list[str | None]:
    return [told.kind if told else None for told in heard(runs)]


def test_a_healthy_day_says_nothing() -> None:
    assert kinds(*map(well, range(24))) == [None] * 24


def test_the_same_reason_is_told_once_and_its_end_with_the_number_of_runs() -> None:
    *told, end = heard([run(0), run(1), run(2), well(3)])
    assert [one and one.reason for one in told] == ["no block 'erp'", None, None]
    assert end is not None
    assert (end.kind, end.reason.splitlines()[0]) == ("well", "17 rows read")
    assert "since 2026-03-16 01:00 UTC: 3, the last one with: no block 'erp'" in end.reason
    assert news_of(well(4), [run(0), well(3)]) is None


def test_another_reason_is_news_within_minutes() -> None:
    assert kinds(run(0), run(1, reason="no block 'scada'"), run(2)) == ["failed", "failed", None]


def test_the_same_reason_is_told_again_after_it_was_well() -> None:
    assert kinds(run(0), well(1), run(2)) == ["failed", "well", "failed"]
    first, _, second = heard([run(0), well(1), run(2)])
    assert first is not None
    assert second is not None
    assert first.episode != second.episode  # so the server does not take it for the same


def test_another_state_is_news_and_so_is_the_return_to_the_first() -> None:
    runs = [run(0), run(1, "Degraded", "PARKED"), run(2), run(3, "Overdue", "night is overdue")]
    assert kinds(*runs) == ["failed", "degraded", "failed", "overdue"]
    assert len({told.episode for told in heard(runs) if told}) == 4


def test_what_lasts_is_told_again_after_hours_with_the_number_in_between() -> None:
    hours = int(AGAIN / MINUTE)
    last = heard([run(0), run(1), run(2), run(hours)])[-1]
    assert last is not None
    assert last.reason == "no block 'erp'\n2 more since the last message about it"


def test_a_crash_counts_although_the_server_told_of_it() -> None:
    end = news_of(well(2), [run(0, "Crashed", "exited with non-zero status code -9")])
    assert end is not None
    assert "the last one with: exited with" in end.reason


def test_another_day_that_is_well_ends_nothing_and_the_same_cause_is_told_once_for_all_days() -> None:
    other: dict[str, Any] = {"is_same_work": False}
    assert kinds(run(0, **other), run(1)) == ["failed", None]
    assert news_of(well(1), [run(0, **other)]) is None
    assert news_of(run(2), [run(0), well(1, **other)]) is None


def test_a_listener_that_worked_for_a_while_has_news_when_it_fails_again() -> None:
    assert kinds(run(0), run(1, was_well=True)) == ["failed", "failed"]


def test_listeners_that_end_together_have_the_same_news() -> None:
    one, other = (news_of(run(at), [well(0)]) for at in (1, 2))
    assert one is not None
    assert other is not None
    assert one.episode == other.episode


def heard_of_waiting(*states: tuple[float, str]) -> list[str | None]:
    waiting = Waiting()
    return [waiting.note(state, now) for now, state in states]


def test_a_stream_that_waits_is_told_once_after_a_while_and_that_it_goes_on() -> None:
    away = "waiting: kafka:9092 does not answer"
    long = 1000 + WAITING_S
    states = [
        (990, "listening"),
        (1000, away),
        (long - 1, away),
        (long, away),
        (long + 30, away),
        (long + 60, "listening"),
    ]
    assert heard_of_waiting(*states, (long + 90, "listening")) == [None, None, None, WAITS, None, GOES_ON, None]


def test_a_stream_that_waits_again_is_told_again() -> None:
    states = [
        (0, "waiting"),
        (WAITING_S, "waiting"),
        (200, "listening"),
        (210, "waiting"),
        (200 + WAITING_S, "waiting"),
    ]
    assert heard_of_waiting(*states, (210 + WAITING_S, "waiting")) == [None, WAITS, GOES_ON, None, None, WAITS]


@pytest.mark.parametrize("ending", ["draining", "completed", "failed", "lost"])
def test_a_listener_that_ends_while_it_waits_does_not_go_on(ending: str) -> None:
    states = [(0, "waiting"), (WAITING_S, "waiting"), (WAITING_S + 1, ending)]
    assert heard_of_waiting(*states) == [None, WAITS, None]


def test_short_waits_are_not_told() -> None:
    half = WAITING_S * 2 / 3
    assert set(heard_of_waiting((0, "waiting"), (half, "waiting"), (half + 1, "listening"), (2 * half, "waiting"))) == {
        None
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3 of 17 files failed", "4 of 1,018 files failed"),
        ("no heartbeat since 2026-03-16 01:00", "no heartbeat since 2026-03-17 11:30"),
        ("run 5e4a2f2c-0a3c-4f2b-9a77-0d2f7f0c3c11 is gone", "run 0c4a2f2c-0a3c-4f2b-9a77-0d2f7f0c3c12 is gone"),
        ("partition 3 offset 17: poison", "partition 4 offset 1800: poison"),
        ("waited 45.5 s", "waited 6 s"),
    ],
)
def test_counts_times_and_ids_are_no_reason(one: str, other: str) -> None:
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("landing/erp_20260315.csv: corrupt", "landing/erp_20260316.csv: corrupt"),
        ("landing/20260315/a.csv", "landing/20260316/a.csv"),
        ("10.0.0.5 does not answer", "10.0.0.6 does not answer"),
        ("kafka:9092 does not answer", "kafka:9093 does not answer"),
        ("no machine MCH-001", "no machine MCH-002"),
        ("[header_only]", "[corrupt]"),
    ],
)
def test_names_paths_and_addresses_are_the_reason(one: str, other: str) -> None:
    assert fingerprint(one) != fingerprint(other)


def test_a_long_text_ends_after_a_line_and_says_how_many_are_missing() -> None:
    lines = [f"FAILED source {number}" for number in range(99)]
    cut = shortened("\n".join(lines), 60)
    assert cut.splitlines() == [*lines[:3], "and 96 more"]
    assert shortened("\n".join(lines[:3])) == "\n".join(lines[:3])
    assert shortened("x" * 99 + "\nnext", 10) == "x" * 9 + "…\nand 1 more"


def test_the_runs_of_each_deployment_tell_how_they_end() -> None:
    deployments = yaml.safe_load((PROJECT_ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    assert deployments
    for deployment in deployments:
        flow: Flow[..., Any] = import_object(deployment["entrypoint"])
        assert news._tell_end in flow.on_failure_hooks, deployment["name"]
        assert news._tell_end in flow.on_completion_hooks, deployment["name"]
