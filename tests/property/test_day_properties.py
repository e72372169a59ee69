"""Files of instants whose truth is known, in every style of writing them: each is read right, or refused."""

from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from freight.errors import SourceError
from freight.frames import ROW_NUMBER
from freight.notation.days import DayEvidence, instants
from tests.lib.examples import examples

drawn = examples(10_000, quick=300)


@dataclass(frozen=True)
class Style:
    """How a system writes instants."""

    day: str
    time: str
    strips_zeros: bool = False

    def write(self, instant: datetime) -> str:
        """Return an instant as text."""
        text = f"{instant:{self.day} {self.time}}"
        return (
            text.removeprefix("0").replace("/0", "/").replace(".0", ".").replace(" 0", " ")
            if self.strips_zeros
            else text
        )


STYLES = [
    Style(day, time, strips_zeros)
    for day in ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y-%m-%d", "%Y/%m/%d")
    for time in ("%H:%M", "%I:%M %p")
    for strips_zeros in (False, True)
]
styles = st.sampled_from(STYLES)
minutes = st.datetimes(datetime(1950, 1, 1), datetime(2099, 12, 31)).map(lambda at: at.replace(second=0, microsecond=0))
files = st.lists(minutes, min_size=1, max_size=30)


def read(cells: list[str], stated: bool | None = None) -> list[datetime | None] | None:
    """Return the instants of a file of these cells; None if it is refused."""
    evidence = DayEvidence(stated)
    evidence.note(pl.DataFrame({ROW_NUMBER: range(2, len(cells) + 2), "text": cells}), "t")
    try:
        order = evidence.order()
    except SourceError:
        return None
    found = instants(pl.Series(cells), "UTC", order, ()).values.to_list()
    assert isinstance(found, list)
    return found


def truth(instants: list[datetime]) -> list[datetime]:
    return [at.replace(tzinfo=UTC) for at in instants]


@given(styles, files)
@example(Style("%m/%d/%Y", "%H:%M"), [datetime(2026, 2, 13), datetime(2026, 3, 2)])
@drawn
def test_a_file_of_one_style_is_read_right_or_refused(style: Style, at: list[datetime]) -> None:
    assert read([style.write(each) for each in at]) in (None, truth(at))


@given(styles, files)
@drawn
def test_the_option_of_a_refused_file_reads_it_wholly(style: Style, at: list[datetime]) -> None:
    day_first = None if style.day.startswith("%Y") else style.day.startswith("%d")
    assert read([style.write(each) for each in at], stated=day_first) == truth(at)


@given(styles, styles, files, minutes, st.integers(0, 30))
@drawn
def test_a_day_of_the_other_order_makes_none_of_the_others_wrong(
    style: Style, other: Style, at: list[datetime], stray: datetime, place: int
) -> None:
    """A file all of whose days fit one order has that order, for all that anybody could tell."""
    cells, right = [style.write(each) for each in at], truth(at)
    cells.insert(place, other.write(stray))
    right.insert(place, stray.replace(tzinfo=UTC))
    found = read(cells)
    if found and None in found:
        assert [one for one, expected in zip(found, right, strict=True) if one not in (None, expected)] == []
