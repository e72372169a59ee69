"""What is overdue, and when."""

from datetime import UTC, datetime, time, timedelta

import pytest

from deployments.automations import ALERTS
from freight.care.overdue import Night, stale_datasets
from freight.errors import ConfigurationError
from freight.settings import PROJECT_ROOT

NOW = datetime(2026, 3, 16, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("now", "begin", "end", "expected"),
    [
        ("2026-03-16 03:00:00", time(2), time(4), ("2026-03-16 02:00", "2026-03-16 04:00")),  # 4:00 in Douala
        ("2026-03-16 02:59:59", time(2), time(4), ("2026-03-15 02:00", "2026-03-15 04:00")),
        ("2026-03-16 22:00:00", time(2), time(4), ("2026-03-16 02:00", "2026-03-16 04:00")),
        ("2026-03-16 12:00:00", time(23), time(1), ("2026-03-15 23:00", "2026-03-16 01:00")),
        ("2026-03-15 23:30:00", time(23), time(1), ("2026-03-14 23:00", "2026-03-15 01:00")),
    ],
)
def test_the_latest_night_is_one_that_is_over(now: str, begin: time, end: time, expected: tuple[str, str]) -> None:
    night = Night.before(datetime.fromisoformat(now).replace(tzinfo=UTC), begin, end)
    assert (f"{night.begin:%Y-%m-%d %H:%M}", f"{night.end:%Y-%m-%d %H:%M}") == expected
    assert night.begin.utcoffset() == HOUR


def test_a_dataset_is_stale_beyond_the_limit_of_its_contract() -> None:
    loads = {"transactions": NOW - 37 * HOUR, "terminal_events": NOW - HOUR, "stations": NOW - 1_000 * HOUR}
    (stale,) = stale_datasets(loads, {}, NOW)
    assert (stale.key, str(stale)) == (
        "dataset.transactions",
        "transactions: nothing was loaded since 2026-03-14 23:00 UTC",
    )
    assert stale_datasets({}, {}, NOW) == []


def test_another_limit_may_be_given_for_a_dataset_that_exists() -> None:
    loads = {"transactions": NOW - 37 * HOUR, "terminal_events": NOW - HOUR, "gone": NOW - 10_000 * HOUR}
    limits = {"transactions": 38 * 3_600.0, "terminal_events": 60.0}
    assert [found.name for found in stale_datasets(loads, limits, NOW)] == ["terminal_events"]
    with pytest.raises(ConfigurationError, match="unknown dataset 'gone'"):
        stale_datasets(loads, {"gone": 1}, NOW)


def test_the_words_stay_the_same_as_long_as_it_lasts() -> None:
    loads = {"transactions": NOW - 37 * HOUR}
    assert stale_datasets(loads, {}, NOW) == stale_datasets(loads, {}, NOW + HOUR)


def test_each_alert_leads_to_a_part_of_the_page_that_is_there() -> None:
    page = (PROJECT_ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    headings = [line[3:].lower().replace(" ", "-") for line in page.splitlines() if line.startswith("## ")]
    assert {alert.page for alert in ALERTS} == {f"docs/alerts.md#{heading}" for heading in headings}
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)
