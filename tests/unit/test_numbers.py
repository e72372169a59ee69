"""How the numbers of a file are read: by what they prove; where they prove nothing the file is refused."""

import polars as pl
import pytest

from freight.errors import SourceError
from freight.frames import ROW_NUMBER
from freight.notation.forms import UNSTATED
from freight.notation.numbers import NumberEvidence, Reading, plain_numbers

NBSP, NARROW = "\u00a0", "\u202f"


def read(*cells: str) -> list[float | None]:
    """Return the numbers that a file with these cells gives."""
    return numbers(cells, reading_of(*cells))


def reading_of(*cells: str, has_commas_between_cells: bool = False) -> Reading:
    evidence = NumberEvidence(UNSTATED, has_commas_between_cells=has_commas_between_cells)
    evidence.note(pl.DataFrame({ROW_NUMBER: range(2, len(cells) + 2), "text": cells}), "volume", maximum=5_000)
    return evidence.reading()


def numbers(cells: tuple[str, ...], reading: Reading) -> list[float | None]:
    return plain_numbers(pl.Series(cells), reading).values.cast(pl.Float64, strict=False).to_list()


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (("1.250", "2.400", "1.875", "987,5", "1.250,5"), [1250, 2400, 1875, 987.5, 1250.5]),
        (("1,250", "2,400", "987.5", "1,234,567"), [1250, 2400, 987.5, 1234567]),
        (("987,5", "988,5", "1.250"), [987.5, 988.5, None]),
        (("1.250", "2.400", "0.875"), [1.25, 2.4, 0.875]),
        (("1,250", "12,5"), [1.25, 12.5]),
        (("1.250,5", "2.400"), [1250.5, 2400]),
        (("1,250.5", "2,400"), [1250.5, 2400]),
        (("1.234.567", "2.400"), [1234567, 2400]),
        (("1 250,5", "2,400"), [1250.5, 2.4]),
        ((f"1{NBSP}250,5", f"1{NARROW}250", "3"), [1250.5, 1250, 3]),
        (("1'250.5", "1\u2019250", "2.400"), [1250.5, 1250, 2.4]),
        (("1.250", "12500"), [1.25, 12500]),
        (("1,250", "12500"), [1.25, 12500]),
        (("1250.5", "31,500"), [1250.5, None]),
        (("12", "950", "-3", "+4"), [12, 950, -3, 4]),
        (("1 250", "2 400"), [1250, 2400]),
        (("1.5E+03", "2.400"), [1500, 2.4]),
        (("1,5e3", "2,400"), [1500, 2.4]),
        (("12.5", "13.5", "31,5", "1.250"), [12.5, 13.5, None, None]),
        (("12,5", "13,5", "31.5", "1.250", "1,250"), [12.5, 13.5, None, None, None]),
        (("12.5", "1 2", "1,2,3", "1.2.3", "1'2", "#REF!", "1,25,000"), [12.5, *[None] * 6]),
        (("007.500", "1.250"), [7.5, 1.25]),
    ],
)
def test_what_one_number_proves_holds_for_the_file(cells: tuple[str, ...], expected: list[float | None]) -> None:
    assert read(*cells) == expected


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (("1.250", "2.400", "1.875", "987,5"), "'1.250' can be 1.250 or 1250"),
        (("1,250", "2,400", "987.5"), "'1,250' can be 1.250 or 1250"),
        (("1.250", "2.400"), "'1.250' can be 1.250 or 1250"),
        (("12", "1,250"), "'1,250' can be 1.250 or 1250"),
        (("-999.999",), "'-999.999' can be -999.999 or -999999"),
        (("1.250", "2,400"), "'1.250' can be 1.250 or 1250"),
        (("1.250", "2,400", "12500"), "'1.250' can be 1.250 or 1250"),
        (("1,250", "2,400", "12,5", "31.5"), "'1,250' can be 1.250 or 1250"),
    ],
)
def test_a_file_that_proves_nothing_is_refused_with_both_readings_and_the_option(
    cells: tuple[str, ...], told: str
) -> None:
    with pytest.raises(SourceError, match=r"column 'volume'.*options: \{decimal: ") as refused:
        reading_of(*cells)
    assert refused.value.fault == "ambiguous_numbers"
    assert told in str(refused.value)
    assert refused.value.row == 2 + next(i for i, cell in enumerate(cells) if f"'{cell}'" in told)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (("1.250", "412.400"), [1.25, 412.4]),
        (("1.250", "12,5", "1.250,5"), [1250, 12.5, 1250.5]),
        (("12,5", "2,400"), [12.5, 2.4]),
        (("1.250", "12.5", "31,5"), [1.25, 12.5, None]),
        (("1,250", "12,5", "13,5", "31.5"), [None, 12.5, 13.5, None]),
    ],
)
def test_commas_between_cells_tell_of_the_point_unless_a_number_proves_the_opposite(
    cells: tuple[str, ...], expected: list[float]
) -> None:
    assert numbers(cells, reading_of(*cells, has_commas_between_cells=True)) == expected


def test_commas_between_cells_alone_prove_nothing() -> None:
    with pytest.raises(SourceError, match=r"'1.250' can be"):
        reading_of("1.250", "2.400", has_commas_between_cells=True)


def test_commas_within_quotes_prove_nothing_by_the_commas_between_cells() -> None:
    with pytest.raises(SourceError, match=r"'1.250' can be"):
        reading_of("1,250", "2,400", has_commas_between_cells=True)


@pytest.mark.parametrize(
    ("reading", "cells", "expected"),
    [
        (Reading(",", groups=True), ("1.250,5", "1.250", "1,250", "1.5"), [1250.5, 1250, 1.25, None]),
        (Reading(".", groups=True), ("1,250.5", "1,250", "1.250", "1,5"), [1250.5, 1250, 1.25, None]),
        (Reading("."), ("1,250", "1.250"), [None, 1.25]),
        (Reading(","), ("1,250", "1.250"), [1.25, None]),
    ],
)
def test_a_reading_that_is_known_needs_no_proof(
    reading: Reading, cells: tuple[str, ...], expected: list[float | None]
) -> None:
    assert numbers(cells, reading) == expected


@pytest.mark.parametrize(
    "reading", [Reading(m, g, d) for m in (".", ",") for g in (True, False) for d in (True, False)]
)
def test_the_ledger_keeps_a_reading_as_text(reading: Reading) -> None:
    assert Reading.of(str(reading)) == reading


@pytest.mark.parametrize("mark", [".", ","])
def test_a_ledger_of_before_knows_the_mark_alone(mark: str) -> None:
    assert Reading.of(mark) == Reading(mark)  # type: ignore[arg-type]
