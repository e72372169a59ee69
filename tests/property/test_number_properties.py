"""Files of numbers whose truth is known, in every style of writing them: each is read right, or refused."""

from dataclasses import dataclass
from decimal import Decimal

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from freight.errors import SourceError
from freight.frames import ROW_NUMBER
from freight.notation.forms import UNSTATED
from freight.notation.numbers import NumberEvidence, Reading, plain_numbers
from tests.lib.examples import examples

drawn = examples(10_000, quick=300)


@dataclass(frozen=True)
class Style:
    """How a system writes numbers."""

    decimal: str
    groups: str
    places: int

    def write(self, number: Decimal) -> str:
        """Return a number as text."""
        return f"{number:,.{self.places}f}".translate({ord(","): self.groups, ord("."): self.decimal})


STYLES = [
    Style(decimal, groups, places)
    for decimal in ".,"
    for groups in ("", ".", ",", " ", "\u00a0", "\u202f", "'", "\u2019")
    for places in range(5)
    if groups != decimal
]
volumes = st.decimals(-99_999, 9_999_999, places=4, allow_nan=False, allow_infinity=False)
styles = st.sampled_from(STYLES)


def reading_of(cells: list[str]) -> Reading | None:
    """Return how a file of these cells is read; None if it is refused."""
    evidence = NumberEvidence(UNSTATED, has_commas_between_cells=False)
    evidence.note(pl.DataFrame({ROW_NUMBER: range(2, len(cells) + 2), "text": cells}), "t")
    try:
        return evidence.reading()
    except SourceError:
        return None


def read(cells: list[str], reading: Reading) -> list[float | None]:
    return plain_numbers(pl.Series(cells), reading).values.cast(pl.Float64, strict=False).to_list()


def rounded(number: Decimal, style: Style) -> float:
    return float(f"{number:.{style.places}f}")


@given(styles, st.lists(volumes, min_size=1, max_size=30))
@example(Style(".", ",", 3), [Decimal(1)])
@drawn
def test_a_file_of_one_style_is_read_right_or_refused(style: Style, numbers: list[Decimal]) -> None:
    cells = [style.write(number) for number in numbers]
    reading = reading_of(cells)
    if reading is None:
        return
    for cell, found, number in zip(cells, read(cells, reading), numbers, strict=True):
        assert found in (None, rounded(number, style)), (cell, reading)


@given(styles, st.lists(volumes, min_size=1, max_size=30))
@drawn
def test_the_option_of_a_refused_file_reads_it_wholly(style: Style, numbers: list[Decimal]) -> None:
    cells = [style.write(number) for number in numbers]
    mark = "." if style.decimal == "." else ","
    assert read(cells, Reading(mark, groups=True)) == [rounded(number, style) for number in numbers]  # type: ignore[arg-type]


@given(styles, styles, st.lists(volumes, min_size=1, max_size=30), volumes, st.integers(0, 30))
@drawn
def test_a_number_that_contradicts_the_others_makes_none_of_them_wrong(
    style: Style, other: Style, numbers: list[Decimal], stray: Decimal, at: int
) -> None:
    """A file all of whose numbers fit one style is of that style, for all that anybody could tell."""
    cells, truth = [style.write(n) for n in numbers], [rounded(n, style) for n in numbers]
    cells.insert(at, other.write(stray))
    truth.insert(at, rounded(stray, other))
    reading = reading_of(cells)
    found = read(cells, reading) if reading else []
    if None in found:
        wrong = [cell for cell, one, right in zip(cells, found, truth, strict=True) if one not in (None, right)]
        assert wrong == [], reading
