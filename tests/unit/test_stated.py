"""The instant that the name or the path of a file states."""

from datetime import UTC, date, datetime, timedelta

import pytest
from pydantic import ValidationError

from freight.catalog import Source
from freight.errors import SourceError
from freight.readers.locations import SourceFile
from freight.readers.stated import STEPS, FileNames, as_delivered, spoken_by
from freight.types import origin_us_of

NOW = datetime(2026, 3, 25, 12, tzinfo=UTC)
CHANGED = datetime(2026, 3, 22, 14, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DOUALA = FileNames("erp")
WITHOUT_A_DAY = "the time of its last change"


def spoken(name: str, names: FileNames = DOUALA, changed: datetime = CHANGED) -> tuple[str, str]:
    """Return the instant of a file in UTC, to the minute or second, and the evidence."""
    file = SourceFile(name, None, f"/srv/{name}", 1, origin_us_of(changed), "")
    found = spoken_by(file, names, NOW)
    return f"{found.instant:%Y-%m-%d %H:%M:%S}"[: 16 + 3 * (found.instant.second == 30)], found.evidence


@pytest.mark.parametrize(
    ("name", "instant"),
    [
        ("erp_20260322.csv", "2026-03-21 23:00"),
        ("erp_2026-03-22.csv", "2026-03-21 23:00"),
        ("erp_20260101_20260322.csv", "2026-03-21 23:00"),
        ("20260322-export-1234.csv", "2026-03-21 23:00"),
        ("erp_20260322_01_02.csv", "2026-03-21 23:00"),  # part 1 of 2
        ("erp_20260322_2460.csv", "2026-03-21 23:00"),
        ("erp_20260322_7.csv", "2026-03-21 23:00"),
        ("erp_20260322_24h.csv", "2026-03-21 23:00"),
        ("erp_20260322_0800pm.csv", "2026-03-21 23:00"),
        ("erp_20260322_12345.csv", "2026-03-21 23:00"),
        ("erp_20260322_20260230.csv", "2026-03-21 23:00"),  # the last digits are no day
    ],
)
def test_a_day_alone_is_its_local_midnight(name: str, instant: str) -> None:
    assert spoken(name) == (instant, "the day in its name")


@pytest.mark.parametrize(
    ("name", "instant"),
    [
        ("erp_20260322_0800.csv", "2026-03-22 07:00"),
        ("erp_20260322-0800.csv", "2026-03-22 07:00"),
        ("erp_20260322_08h00.csv", "2026-03-22 07:00"),
        ("erp_20260322_8h00.csv", "2026-03-22 07:00"),
        ("erp_20260322T080000.csv", "2026-03-22 07:00"),
        ("erp_20260322T080030.csv", "2026-03-22 07:00:30"),
        ("erp_20260322T080000Z.csv", "2026-03-22 08:00"),
        ("erp_20260322T080000+0300.csv", "2026-03-22 05:00"),
        ("erp_2026-03-22_08-00-30.csv", "2026-03-22 07:00:30"),
        ("erp_2026-03-22 16.00.00.csv", "2026-03-22 15:00"),
        ("erp_20260322_1600_final.csv", "2026-03-22 15:00"),
    ],
)
def test_a_time_behind_the_day_is_local_too(name: str, instant: str) -> None:
    assert spoken(name) == (instant, "the day and the time in its name")


@pytest.mark.parametrize(
    "name",
    [
        "erp.csv",
        "erp_20260230.csv",  # no day
        "erp_20261332.csv",
        "order_4500020260322.csv",
        "order_2026032207.csv",
        "order_20260322000001.csv",
        "order_19991231.csv",
        "erp_260322.csv",
    ],
)
def test_digits_that_are_no_day_leave_the_last_change(name: str) -> None:
    assert spoken(name) == ("2026-03-22 14:30", WITHOUT_A_DAY)


def test_a_day_is_local_to_its_source() -> None:
    assert spoken("erp_20260322.csv", FileNames("erp", "Europe/Paris"))[0] == "2026-03-21 23:00"
    assert spoken("erp_20250722.csv", FileNames("erp", "Europe/Paris"))[0] == "2025-07-21 22:00"
    assert spoken("erp_20260322.csv", FileNames("erp", "America/New_York"))[0] == "2026-03-22 04:00"
    # Clocks were put forward at midnight: the day begins at one.
    assert spoken("erp_20250425.csv", FileNames("erp", "Africa/Cairo"))[0] == "2025-04-24 22:00"


def test_the_catalog_says_that_digits_are_no_time_or_no_day() -> None:
    assert spoken("erp_20260322_0012.csv", FileNames("erp", by_name="day"))[0] == "2026-03-21 23:00"
    assert spoken("order_20260320.csv", FileNames("erp", by_name="nothing")) == ("2026-03-22 14:30", WITHOUT_A_DAY)
    assert spoken("order_20991231.csv", FileNames("erp", by_name="nothing")) == ("2026-03-22 14:30", WITHOUT_A_DAY)


def test_a_day_far_ahead_is_refused_with_the_line_that_decides() -> None:
    assert spoken("erp_20260326.csv")[0] == "2026-03-25 23:00"  # named for tomorrow
    with pytest.raises(SourceError) as refused:
        spoken("m_20991231.json")
    assert str(refused.value) == (
        "m_20991231.json: its name states 2099-12-31 00:00, more than a day ahead; until then its rows would supersede "
        "those of every other file [dated_ahead]. Remedy: rename the file, or correct the clock of this machine; if "
        "these digits are no day, add `name_tells: nothing` to the source erp in the catalog"
    )
    with pytest.raises(SourceError, match="dated_ahead"):
        spoken("m/99991231.json", FileNames("erp", location="m/{day:%Y%m%d}.json"))


@pytest.mark.parametrize(
    ("location", "name", "instant"),
    [
        ("erp/{day:%Y/%m}/{day:%d}_*.csv", "erp/2026/03/22_a.csv", "2026-03-21 23:00"),
        ("./erp/{day:%Y/%m/%d}/*.csv", "erp/2026/03/22/a_20260101.csv", "2026-03-21 23:00"),
        ("../drop/{day:%d%m%Y}.csv", "drop/22032026.csv", "2026-03-21 23:00"),
        ("erp/{day:%d.%m.%Y}_*.csv", "erp/22.03.2026_0800.csv", "2026-03-22 07:00"),
        ("erp/*/{day:%Y}/e_{day:%Y%m%d}*.csv", "erp/x/2026/e_20260322_0800.csv", "2026-03-22 07:00"),
        ("erp/**/e_{day:%Y%m%d}_v20250101.csv", "erp/a/b/e_20260322_v20250101.csv", "2026-03-21 23:00"),
        ("abfs://erp/{day:%Y%m%d}[a-c].csv", "erp/20260322b.csv", "2026-03-21 23:00"),
    ],
)
def test_the_location_tells_where_the_day_is(location: str, name: str, instant: str) -> None:
    names = FileNames("erp", location=location)
    assert spoken(name, names)[0] == instant


def test_a_source_of_one_day_reads_the_day_at_the_same_place() -> None:
    source = Source(name="erp", dataset="transactions", reader="csv", location="erp/{day:%d%m%Y}_*.csv")
    of_day = source.on_day(date(2026, 3, 22))
    assert of_day.location == "erp/22032026_*.csv"
    assert spoken("erp/22032026_a.csv", of_day.file_names) == spoken("erp/22032026_a.csv", source.file_names)
    assert spoken("erp/22032026_a.csv", source.file_names)[0] == "2026-03-21 23:00"


def test_digits_at_the_place_of_the_day_must_be_a_day() -> None:
    with pytest.raises(
        SourceError, match=r"erp_20260230\.csv: the digits in its path are no day, .*\[no_day\]\. Remedy"
    ):
        spoken("erp_20260230.csv", FileNames("erp", location="erp_{day:%Y%m%d}.csv"))


def test_later_changes_order_the_files_of_a_minute_and_never_leave_it() -> None:
    day = datetime(2026, 3, 22, tzinfo=UTC)
    changes = [
        *(day + timedelta(days=-3, hours=12 * n) for n in range(4)),
        *(day + timedelta(milliseconds=100 * n) for n in range(20)),
        *(day + timedelta(days=n) for n in range(1, 4_000, 13)),
    ]
    ordered = [as_delivered(day, origin_us_of(change)) for change in changes[3:]]
    assert ordered == sorted(set(ordered))
    assert as_delivered(day, origin_us_of(changes[0])) == day
    last = as_delivered(day, origin_us_of(datetime(9999, 1, 1, tzinfo=UTC)))
    assert day + MINUTE - timedelta(milliseconds=500) < last < day + MINUTE
    to_the_second = as_delivered(day, origin_us_of(datetime(9999, 1, 1, tzinfo=UTC)), to_the_second=True)
    assert day < to_the_second < day + timedelta(seconds=1)
    assert sum(span // step for span, step in STEPS) < 60_000_000


def test_files_changed_months_after_their_day_are_told_apart_to_the_second() -> None:
    day, late = datetime(2026, 3, 22, tzinfo=UTC), datetime(2026, 11, 30, 20, tzinfo=UTC)
    first, second = (as_delivered(day, origin_us_of(late + timedelta(seconds=n))) for n in (0, 1))
    assert first < second


def test_a_time_zone_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match="there is no time zone 'Africa/Duala': write one such as Africa/Douala"):
        Source(name="erp", dataset="transactions", reader="csv", location="*.csv", time_zone="Africa/Duala")
