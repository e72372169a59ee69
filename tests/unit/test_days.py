"""How the days and instants of a file are read: by what they prove, by what the catalog says, or not at all."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from freight.errors import SourceError
from freight.frames import ROW_NUMBER
from freight.notation.days import DayEvidence, DayOrder, days, instants, reads_back

DOUALA = "Africa/Douala"  # an hour ahead of UTC
MONTH_FIRST = DayOrder(day_first=False)


def order_of(*cells: str, stated: bool | None = None) -> DayOrder:
    evidence = DayEvidence(stated)
    evidence.note(pl.DataFrame({ROW_NUMBER: range(2, len(cells) + 2), "text": cells}), "date")
    return evidence.order()


def instant(text: str, order: DayOrder = DayOrder(), *formats: str) -> datetime | None:  # noqa: B008 - is immutable
    (found,) = instants(pl.Series([text]), DOUALA, order, formats).values.to_list()
    assert found is None or isinstance(found, datetime)
    return found


def day(text: str, order: DayOrder = DayOrder(), *formats: str) -> date | None:  # noqa: B008 - is immutable
    (found,) = days(pl.Series([text]), order, formats).values.to_list()
    assert found is None or isinstance(found, date)
    return found


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (("13/02/2026", "03/02/2026"), DayOrder(day_first=True)),
        (("02/13/2026", "03/02/2026"), DayOrder(day_first=False)),
        (("31.01.2026 10:30",), DayOrder(day_first=True)),
        (("2026-02-03", "2026/02/03 10:00"), DayOrder(day_first=True, is_disputed=True)),  # none of them proves one
        (("03/03/2026", "1/1/2026"), DayOrder(day_first=True, is_disputed=True)),
        (("13/02/2026", "14/02/2026", "02/13/2026"), DayOrder(day_first=True, is_disputed=True)),
        (("02/13/2026", "02/14/2026", "13/02/2026", "01/02/2026"), DayOrder(day_first=False, is_disputed=True)),
    ],
)
def test_one_day_that_has_one_reading_decides_for_the_file(cells: tuple[str, ...], expected: DayOrder) -> None:
    assert order_of(*cells) == expected


@pytest.mark.parametrize(
    "cells",
    [("03/02/2026", "04/02/2026"), ("1-2-2026 10:00",), ("13/02/2026", "02/13/2026", "01/02/2026", "01/03/2026")],
)
def test_a_file_that_proves_nothing_is_refused_with_the_option(cells: tuple[str, ...]) -> None:
    with pytest.raises(SourceError, match=r"row \d, column 'date': .*options: \{day_first: true\}") as refused:
        order_of(*cells)
    assert refused.value.fault == "ambiguous_dates"
    assert order_of(*cells, stated=True) == DayOrder(day_first=True)


def test_a_file_that_contradicts_the_catalog_is_refused_but_for_single_slips() -> None:
    with pytest.raises(SourceError, match="the day comes first, but '02/13/2026' has the month first"):
        order_of("02/13/2026", "03/02/2026", stated=True)
    assert order_of("13/02/2026", "14/02/2026", "02/13/2026", stated=True) == DayOrder(day_first=True)


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-03 08:05:00",
        "2026-02-03T08:05:00",
        "2026-02-03 08:05:00.000",
        "2026-02-03 08:05",
        "2026/02/03 8:05",
        "2026.02.03 08:05",
        "3/2/2026, 8:05:00 AM",
        "03/02/2026 08:05:00",
        "3/2/2026 8:05",
        "03.02.2026 08:05",
        "03-02-2026 08:05:00.0",
        "03/02/2026 08h05",
        "03/02/2026 08:05 AM",
        "03/02/2026 8:05:00 a.m.",
        "2026-02-03 08:05 am",
        "2026-02-03T08:05+01:00",
        "2026-02-03T07:05:00Z",
        "2026-02-03 07:05:00.000+00:00",
    ],
)
def test_forms_with_one_reading_need_no_option(text: str) -> None:
    assert instant(text) == datetime(2026, 2, 3, 7, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "15/03/98",
        "01/02/26 08:00",
        "98-03-15 10:00:00",
        "20260203",
        "2026-02-03",
        "03/02/2026 25:00",
        "2026-02-03 23:59:60",
        "30/02/2026 08:00",
    ],
)
def test_what_is_no_instant_stays_none(text: str) -> None:
    assert instant(text) is None


def test_the_order_decides_each_day() -> None:
    assert day("03/02/2026") == date(2026, 2, 3)
    assert day("03/02/2026", MONTH_FIRST) == date(2026, 3, 2)
    assert instant("03/02/2026 01:00", MONTH_FIRST) == datetime(2026, 3, 2, tzinfo=UTC)
    assert instant("12/31/2026 11:30 PM", MONTH_FIRST) == datetime(2026, 12, 31, 22, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["2026-02-03", "2026/02/03", "03/02/2026", "3.2.2026", "2026-02-03 00:00:00", "2026-02-03T00:00"]
)
def test_a_day_may_be_a_cell_that_could_hold_a_time(text: str) -> None:
    assert day(text) == date(2026, 2, 3)


@pytest.mark.parametrize("text", ["2026-02-03 08:00:00", "15/03/98", "03/02/26", "0203"])
def test_a_day_loses_no_time_and_no_century(text: str) -> None:
    assert day(text) is None


@pytest.mark.parametrize(
    ("text", "formats", "expected"),
    [
        ("02-Jun-06", ["%d-%b-%y"], date(2006, 6, 2)),
        ("15/03/98", ["%d/%m/%y"], date(1998, 3, 15)),
        ("15/03/68", ["%d/%m/%y"], date(2068, 3, 15)),
        ("20260201", ["%Y%m%d"], date(2026, 2, 1)),
        ("2 février 2026", ["%d %B %Y"], date(2026, 2, 2)),
        ("2 août 2026", ["%d %B %Y"], date(2026, 8, 2)),
        ("14 juil. 2026", ["%d %b %Y"], date(2026, 7, 14)),
        ("1769990400", ["epoch_s"], date(2026, 2, 2)),
        ("46055", ["excel_days"], date(2026, 2, 2)),
        ("20260201", ["%d/%m/%Y", "%Y%m%d"], date(2026, 2, 1)),
        ("2026-02-01", ["%Y%m%d"], date(2026, 2, 1)),
        ("2026-02-01 00:00:00", ["%d.%m.%y"], date(2026, 2, 1)),
        ("03/02/2026", ["%m/%d/%Y", "%d/%m/%Y"], None),
        ("03/03/2026", ["%m/%d/%Y", "%d/%m/%Y"], date(2026, 3, 3)),
        ("13/02/2026", ["%m/%d/%Y", "%d/%m/%Y"], date(2026, 2, 13)),
    ],
)
def test_the_catalog_states_other_formats_of_a_day(text: str, formats: list[str], expected: date | None) -> None:
    assert day(text, DayOrder(), *formats) == expected


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("1769990400", "epoch_s", datetime(2026, 2, 2, tzinfo=UTC)),
        ("1769990400500", "epoch_ms", datetime(2026, 2, 2, 0, 0, 0, 500_000, tzinfo=UTC)),
        ("46055.5", "excel_days", datetime(2026, 2, 2, 11, tzinfo=UTC)),
        ("2026-02-03", "%Y-%m-%d", datetime(2026, 2, 2, 23, tzinfo=UTC)),
        ("03.02.26 08:05", "%d.%m.%y %H:%M", datetime(2026, 2, 3, 7, 5, tzinfo=UTC)),
        ("20260203T080500+0000", "%Y%m%dT%H%M%S%z", datetime(2026, 2, 3, 8, 5, tzinfo=UTC)),
        ("soon", "epoch_s", None),
        ("46056.336805555555", "excel_days", datetime(2026, 2, 3, 7, 5, tzinfo=UTC)),
        ("46056.3368055556", "excel_days", datetime(2026, 2, 3, 7, 5, tzinfo=UTC)),
        ("2026-02-03T08:05:00Z", "%Y-%m-%dT%H:%M:%SZ", datetime(2026, 2, 3, 8, 5, tzinfo=UTC)),
        ("03/02/2026 08:05 Z", "%d/%m/%Y %H:%M %z", datetime(2026, 2, 3, 8, 5, tzinfo=UTC)),
        ("03/02/2026 08:05 +01:00", "%d/%m/%Y %H:%M %z", datetime(2026, 2, 3, 7, 5, tzinfo=UTC)),
        ("2026-02-03 08:05:00", "%d.%m.%y %H:%M", datetime(2026, 2, 3, 7, 5, tzinfo=UTC)),
        ("03/02/2026 08:05", "%d.%m.%y %H:%M", None),
    ],
)
def test_the_catalog_states_other_formats_of_an_instant(text: str, pattern: str, expected: datetime | None) -> None:
    assert instant(text, DayOrder(), pattern) == expected


@pytest.mark.parametrize(
    ("text", "exists"),
    [
        ("2026-02-03T08:05:00+14:00", True),
        ("2026-02-03 08:05:00-1200", True),
        ("2026-02-03T08:05:00+15:00", False),
        ("2026-02-03T08:05+2359", False),
        ("2026-02-03 08:05:00.5-13:00", False),
        ("2026-02-03T08:05:00+15", False),
        ("2026-02-03T08:05:00+14:30", False),
        ("2026-02-03T08:05:00-12:30", False),
        ("2026-02-03T08:05:00+01", True),
    ],
)
def test_a_time_with_an_offset_that_no_clock_has_is_none(text: str, exists: bool) -> None:
    assert (instant(text, DayOrder()) is not None) == exists


@pytest.mark.parametrize(
    "pattern", ["hello", "%Y-%m", "%H:%M", "%Q", "", "dd/mm/yyyy", "%d/%m/%Y %H:%M %Z", "%d/%m/%Y %M:%H"]
)
def test_a_format_that_loses_the_day_is_none(pattern: str) -> None:
    assert not reads_back(pattern)


@pytest.mark.parametrize(
    "pattern", ["%d-%b-%y", "%Y%m%d", "%m/%d/%Y %I:%M %p", "%Y-%m-%dT%H:%M:%S.%f%z", "epoch_s", "excel_days"]
)
def test_a_format_that_keeps_the_day_is_one(pattern: str) -> None:
    assert reads_back(pattern)


@pytest.mark.parametrize(
    ("cells", "is_refused"),
    [
        (["2026-03-02 08:05:00", "13/02/2026 08:05"], True),  # 02/03/2026, opened by a program for the USA
        (["2026-03-02 08:05:00", "02/13/2026 08:05"], True),
        (["2026-03-02 08:05:00", "2026-02-27 08:05:00", "13/02/2026 08:05"], False),
        (["2026-03-02 08:05:00", "13/02/2026 08:05", "05/02/2026 08:05"], False),
        (["2026-03-02 08:05:00"], False),
    ],
)
def test_days_of_a_workbook_that_a_program_may_have_swapped_are_refused(cells: list[str], is_refused: bool) -> None:
    rows = pl.DataFrame({ROW_NUMBER: range(2, len(cells) + 2), "text": cells})
    for stated in (None, True):
        evidence = DayEvidence(stated, has_native_days=True)
        evidence.note(rows, "date")
        if is_refused and stated is None:
            with pytest.raises(SourceError, match=r"'2026-03-02' is a date cell.*may have swapped.*day_first: true"):
                evidence.order()
        elif "02/13" not in cells[-1]:
            assert evidence.order() == DayOrder(day_first=True, is_disputed=stated is None and len(cells) == 1)


@pytest.mark.parametrize(
    "days", [["2026-02-01", "2026-13-02", "2026-14-02"], ["2026-13-02", "2026-28-02", "2026-11-02"]]
)
def test_a_year_with_the_day_before_the_month_is_no_usual_day(days: list[str]) -> None:
    evidence = DayEvidence()
    evidence.note(pl.DataFrame({ROW_NUMBER: range(2, len(days) + 2), "text": days}), "date")
    with pytest.raises(SourceError, match=r"'2026-13-02' has the day before the month.*formats: \{date: \"%Y-%d-%m"):
        evidence.order()
    evidence.note(pl.DataFrame({ROW_NUMBER: [9], "text": ["2026-02-27"]}), "date")
    assert evidence.order() == DayOrder(is_disputed=True)  # then the other one is a slip
