"""The properties of meaning bite: a guess that is put back on purpose makes them fail on a file that they draw."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from freight.notation.days import DAY_FIRST, DayEvidence
from freight.notation.numbers import MARKS, NumberEvidence, Reading
from freight.parsers import excel
from freight.parsers.merged import Merged
from freight.parsers.sheets import Tables, find_tables
from freight.readers import encodings, stated
from tests.property.test_encoding_properties import test_a_text_that_loads_is_the_one_that_was_written as texts
from tests.property.test_meaning import Style, Truth
from tests.property.test_meaning import test_a_file_of_one_style_loads_its_truth_or_nothing as values
from tests.property.test_sheet_properties import Month
from tests.property.test_sheet_properties import test_each_row_of_the_shown_sheets_loads_once_as_it_is_meant as sheets
from tests.unit.test_stated import test_a_day_alone_is_its_local_midnight as days_of_names

Patch = Callable[[pytest.MonkeyPatch], None]


def majority_of_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by the mark that more numbers have, whether they prove it or not."""

    def reading(self: NumberEvidence) -> Reading:
        counts = {mark: self._decimals[mark].count + self._unclear[mark].count for mark in MARKS}
        return Reading(max(MARKS, key=counts.__getitem__))

    monkeypatch.setattr(NumberEvidence, "reading", reading)


def day_first_by_habit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DayEvidence, "order", lambda _: DAY_FIRST)


def cp1252_unless_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    def decide(self: encodings._Evidence) -> tuple[str, bool]:
        return "utf-8" if self.is_utf8 else "cp1252", False

    monkeypatch.setattr(encodings._Evidence, "decide", decide)


def first_sheet(monkeypatch: pytest.MonkeyPatch) -> None:
    def first_of(*arguments: Any) -> Tables:
        tables = find_tables(*arguments)
        return tables._replace(sheets=tables.sheets[:1])

    monkeypatch.setattr(excel, "find_tables", first_of)


def merged_cells_left_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Merged, "fill", lambda _, row: (row, ""))


def midnight_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = stated._at
    monkeypatch.setattr(stated, "_at", lambda day, clock, offset, _: honest(day, clock, offset, "UTC"))


def month(volumes: list[int], block: int = 1) -> Month:
    return Month("visible", 0, volumes, frozenset(), block, total=False, order=range(5))


def on_a_file(proved: Any, *arguments: Any) -> Callable[[], None]:
    """Return a property with the file that it draws."""
    return partial(proved.hypothesis.inner_test, *arguments)


in_points = Style(decimal=",", groups=".", places=0, time="%Y-%m-%d %H:%M", native=False)
month_first = Style(decimal=".", groups="", places=1, time="%m/%d/%Y %H:%M", native=False)
truth = Truth(datetime(2026, 2, 3, 8), Decimal(1_250))


@pytest.mark.parametrize(
    ("put_back", "property_on_a_file"),
    [
        (majority_of_numbers, on_a_file(values, "semicolons.csv", in_points, [truth])),
        (majority_of_numbers, on_a_file(values, "list.json", in_points, [truth])),
        (majority_of_numbers, on_a_file(values, "book.xlsx", in_points, [truth])),
        (day_first_by_habit, on_a_file(values, "tabs.csv", month_first, [truth])),
        (cp1252_unless_utf8, on_a_file(texts, ("mac_roman", ["Bélabo"]))),
        (first_sheet, on_a_file(sheets, ".xlsx", [month([1]), month([2, 3])], False)),
        (merged_cells_left_empty, on_a_file(sheets, ".xls", [month([1, 2], block=2)], False)),
        (midnight_in_utc, partial(days_of_names, "erp_20260322.csv", "2026-03-21 23:00")),
    ],
)
def test_a_guess_that_is_put_back_is_found(
    monkeypatch: pytest.MonkeyPatch, put_back: Patch, property_on_a_file: Callable[[], None]
) -> None:
    property_on_a_file()
    put_back(monkeypatch)
    with pytest.raises(AssertionError):
        property_on_a_file()
