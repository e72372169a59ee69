"""Whole files whose truth is known, ambiguous or not: what loads is true, the rest is refused or quarantined."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import openpyxl
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.lib.examples import examples
from tests.lib.outcomes import outcome_of

OLDEST, NEWEST = datetime(2000, 1, 2), datetime(2026, 5, 30)
HEADER = ("id", "machine", "date", "volume", "statut")
AHEAD = timedelta(hours=1)  # of local time in Douala before UTC

NUMBERS = [  # the mark before decimals, and the sign between thousands
    (decimal, groups)
    for decimal in ".,"
    for groups in ("", ".", ",", " ", "\u00a0", "\u202f", "'", "\u2019")
    if groups != decimal
]
TIMES = [
    f"{day} {time}"
    for day in ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%m-%d-%Y", "%Y-%m-%d", "%Y/%m/%d", "%d/%m/%y", "%d-%b-%Y")
    for time in ("%H:%M", "%H:%M:%S", "%I:%M %p")
]


@dataclass(frozen=True)
class Truth:
    """A row as its sender means it."""

    at: datetime
    volume: Decimal


@dataclass(frozen=True)
class Style:
    """How a system writes values; `native` writes numbers as such where the kind of file can."""

    decimal: str
    groups: str
    places: int
    time: str
    native: bool

    def cells(self, number: int, truth: Truth) -> list[object]:
        """Return the cells of a row."""
        text = f"{truth.volume:,.{self.places}f}".translate({ord(","): self.groups, ord("."): self.decimal})
        volume: object = round(float(truth.volume), self.places) if self.native else text
        return [f"TRX-{number}", "MCH-001", f"{truth.at:{self.time}}", volume, "OK"]

    def expected(self, truth: Truth) -> tuple[datetime, float]:
        """Return the values of a row in the warehouse, as exactly as they are written."""
        at = truth.at if "%S" in self.time else truth.at.replace(second=0)
        exact = round(float(truth.volume), self.places) if self.native else float(f"{truth.volume:.{self.places}f}")
        return at.replace(tzinfo=UTC) - AHEAD, exact


def csv(delimiter: str, encoding: str) -> Callable[[Sequence[Sequence[object]]], bytes]:
    def write(rows: Sequence[Sequence[object]]) -> bytes:
        lines = (delimiter.join(f'"{cell}"' if delimiter in str(cell) else str(cell) for cell in row) for row in rows)
        return ("\n".join(lines) + "\n").encode(encoding, "replace")

    return write


def excel(rows: Sequence[Sequence[object]]) -> bytes:
    book, content = openpyxl.Workbook(), io.BytesIO()
    assert book.active is not None
    for row in rows:
        book.active.append(row)
    book.save(content)
    return content.getvalue()


def json_list(rows: Sequence[Sequence[object]]) -> bytes:
    header, *others = rows
    return json.dumps([dict(zip(header, row, strict=True)) for row in others]).encode()


KINDS = {
    "semicolons.csv": csv(";", "utf-8"),
    "windows.csv": csv(";", "cp1252"),
    "commas.csv": csv(",", "utf-8"),
    "tabs.csv": csv("\t", "utf-16"),
    "book.xlsx": excel,
    "list.json": json_list,
}

styles = st.builds(
    lambda marks, places, time, native: Style(marks[0], marks[1], places, time, native),
    st.sampled_from(NUMBERS),
    st.integers(0, 4),
    st.sampled_from(TIMES),
    st.booleans(),
)
truths = st.builds(
    Truth,
    st.datetimes(OLDEST, NEWEST).map(lambda at: at.replace(microsecond=0)),
    st.decimals(0, 4_999, places=4, allow_nan=False, allow_infinity=False),
)


def in_kind(style: Style, name: str) -> Style:
    """Return a style as a kind of file can have it: CSV has only text."""
    return replace(style, native=style.native and not name.endswith("csv"))


def loaded(name: str, content: bytes, options: Mapping[str, object]) -> dict[int, tuple[datetime, float]]:
    """Return the rows of a file that load, by their numbers; none if the file is refused."""
    outcome = outcome_of(name, content, options)
    rows = outcome.loaded if outcome else {}
    return {number: (row["transaction_at"], row["volume_transferred_t"]) for number, row in rows.items()}


@given(st.sampled_from([*KINDS]), styles, st.lists(truths, min_size=1, max_size=12))
@examples(10_000, quick=300)
def test_a_file_of_one_style_loads_its_truth_or_nothing(name: str, style: Style, rows: list[Truth]) -> None:
    style = in_kind(style, name)
    content = KINDS[name]([HEADER, *(style.cells(number, row) for number, row in enumerate(rows))])
    first = 1 if name.endswith("json") else 2
    right = {number: style.expected(row) for number, row in enumerate(rows, start=first)}
    for number, found in loaded(name, content, {}).items():
        assert found == right[number]


@given(st.sampled_from([*KINDS]), styles, st.lists(truths, min_size=1, max_size=12))
@examples(2_000, quick=100)
def test_with_its_options_every_row_of_a_file_loads(name: str, style: Style, rows: list[Truth]) -> None:
    assume(not (name == "windows.csv" and style.groups == "\u202f"))  # cp1252 lacks this space
    style = in_kind(style, name)
    pattern = {"formats": {"transaction_at": style.time}}
    options = {"decimal": style.decimal, **pattern}
    content = KINDS[name]([HEADER, *(style.cells(number, row) for number, row in enumerate(rows))])
    assert [*loaded(name, content, options).values()] == [style.expected(row) for row in rows]
