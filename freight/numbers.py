"""Finds how a source writes numbers: which sign marks decimals, and which sign groups thousands.

`1.250` is 1.25 tonnes or 1250: the sign alone does not decide it. The whole file does, if one of its numbers can be
read in one way only. Otherwise nothing is guessed: the catalog must say it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from freight.errors import SourceError
from freight.frames import ROW_NUMBER, DecimalMark

MARKS: tuple[DecimalMark, DecimalMark] = (".", ",")
OTHER: Mapping[DecimalMark, DecimalMark] = {".": ",", ",": "."}

SIGN, EXPONENT = r"^[+-]?", r"(?:[eE][+-]?[0-9]+)?$"
SPACES = r" \u00A0\u202F"
APOSTROPHES = "'\u2019"
ONLY_GROUPS = f"[{SPACES}{APOSTROPHES}]"  # signs that never mark decimals
GROUPS, DISPUTED = " groups", " disputed"  # follow the mark in the ledger
UNGROUPED = r"^[+-]?[0-9]{4,}(?:[.,][0-9]*)?$"


class Reading(NamedTuple):
    """The way in which the numbers of a source are read.

    Attributes:
        decimal: The sign before the decimals.
        groups: Whether the other mark may group thousands.
        is_disputed: Whether some numbers of the source prove the other mark; then a number that can be read with
            either mark is refused.
    """

    decimal: DecimalMark = "."
    groups: bool = False
    is_disputed: bool = False

    def __str__(self) -> str:
        """Return the reading as the ledger stores it."""
        return self.decimal + (GROUPS if self.groups else "") + (DISPUTED if self.is_disputed else "")

    @classmethod
    def of(cls, text: str) -> "Reading":
        """Return the reading that the ledger has stored as a text."""
        return cls("," if text.startswith(",") else ".", GROUPS in text, DISPUTED in text)


AS_PROGRAMS_WRITE = Reading()


def plain_numbers(text: pl.Series, reading: Reading) -> pl.Series:
    """Rewrite numbers as a program writes them: `1 234,5` as `1234.5`.

    Args:
        text: Cells without outer space.
        reading: The way to read them.

    Returns:
        The cells; null where the text is a number only under another reading.
    """
    odd = text.str.contains(f"[,{SPACES}{APOSTROPHES}]").fill_null(value=False)
    if reading.decimal == "." and not reading.is_disputed and not odd.any():
        return text
    bare = text.str.replace_all(_group_signs(reading), "").zip_with(text.str.contains(_grouped(reading)), text)
    refused = bare.str.contains(re.escape(OTHER[reading.decimal]))
    if reading.is_disputed:
        refused |= _two_readings(text)
    return bare.set(refused.fill_null(value=False), None).str.replace(reading.decimal, ".", literal=True)


def _grouped(reading: Reading) -> str:
    """Return the pattern of a number with groups of three digits, all separated by the same sign."""
    signs = [f"[{SPACES}]", *APOSTROPHES, *([re.escape(OTHER[reading.decimal])] if reading.groups else [])]
    groups = "|".join(f"(?:{sign}[0-9]{{3}})+" for sign in signs)
    return rf"{SIGN}[0-9]{{1,3}}(?:{groups})(?:{re.escape(reading.decimal)}[0-9]+)?$"


def _group_signs(reading: Reading) -> str:
    return f"[{SPACES}{APOSTROPHES}{re.escape(OTHER[reading.decimal]) if reading.groups else ''}]"


def _two_readings(text: pl.Series, mark: str = "[.,]") -> pl.Series:
    """Return which cells are a number whether the mark is before decimals or between thousands."""
    return text.str.contains(rf"{SIGN}[1-9][0-9]{{0,2}}{mark}[0-9]{{3}}$")


def _proves_decimals(text: pl.Series, mark: DecimalMark) -> pl.Series:
    """Return which cells are a number only if the mark is before decimals."""
    point, other = re.escape(mark), re.escape(OTHER[mark])
    groups = "|".join(f"(?:{sign}[0-9]{{3}})+" for sign in (f"[{SPACES}]", *APOSTROPHES, other))
    alone, grouped = rf"{SIGN}[0-9]*{point}[0-9]+{EXPONENT}", rf"{SIGN}[0-9]{{1,3}}(?:{groups}){point}[0-9]+$"
    proof = text.str.contains(f"{alone}|{grouped}") & ~_two_readings(text, point)
    return proof | _proves_groups(text, OTHER[mark])


def _proves_groups(text: pl.Series, mark: DecimalMark) -> pl.Series:
    """Return which cells are a number only if the mark is between thousands."""
    sign, point = re.escape(mark), re.escape(OTHER[mark])
    many, with_decimals = f"(?:{sign}[0-9]{{3}}){{2,}}", f"(?:{sign}[0-9]{{3}})+{point}[0-9]+"
    return text.str.contains(rf"{SIGN}[1-9][0-9]{{0,2}}(?:{many}|{with_decimals})$")


@dataclass
class _Unclear:
    """The numbers that a mark makes unclear: their count, and the first of them."""

    cells: int = 0
    text: str = ""
    row: int = 0
    column: str = ""

    def note(self, cells: pl.DataFrame, column: str) -> None:
        """Count some of them."""
        if cells.height and not self.cells:
            self.text, self.row, self.column = cells["text"][0], int(cells[ROW_NUMBER][0]), column
        self.cells += cells.height


class Evidence:
    """The evidence that the numbers of a file give about their notation.

    Args:
        has_commas_between_cells: Whether commas delimit the cells. Programs that write a decimal comma choose
            another delimiter, so the point is before decimals unless a number proves the opposite.
    """

    def __init__(self, *, has_commas_between_cells: bool = False) -> None:
        self._has_commas_between_cells = has_commas_between_cells
        self._decimals = dict.fromkeys(MARKS, 0)  # how many numbers prove the mark before decimals
        self._groups = dict.fromkeys(MARKS, False)  # whether a number proves the mark between thousands
        self._unclear = {mark: _Unclear() for mark in MARKS}
        self._is_ungrouped = False

    def note(self, rows: pl.DataFrame, columns: Mapping[str, str]) -> None:
        """Examine some rows.

        Args:
            rows: `row_number` and text columns.
            columns: The columns that hold numbers, with the names that people know.
        """
        for column, known_as in columns.items():
            if column in rows.columns:
                self._note(rows.select(ROW_NUMBER, text=pl.col(column).str.strip_chars()).drop_nulls(), known_as)

    def reading(self) -> Reading:
        """Return the reading that the evidence proves.

        Raises:
            SourceError: Some numbers can be read in two ways, and the others do not prove which is right.
        """
        proven = [mark for mark in MARKS if self._decimals[mark]]
        if len(proven) > 1:
            return self._contradicted()
        return self._proven(proven[0]) if proven else self._unproven()

    def _contradicted(self) -> Reading:
        """Read by the mark that the delimiter confirms; else refuse each number that can be read with either mark.

        In both cases, numbers that need the other mark are refused, so reading by the more frequent one does no harm.
        """
        mark = max(MARKS, key=self._decimals.__getitem__)
        if mark == "." and self._has_commas_between_cells:
            return Reading(mark, groups=self._groups[","])
        unclear = max(self._unclear.values(), key=lambda cells: cells.cells)
        if unclear.cells > self._decimals[mark]:
            raise _undecided(unclear)
        return Reading(mark, is_disputed=True)

    def _proven(self, mark: DecimalMark) -> Reading:
        """Read the other mark between thousands if a number proves that, too; else refuse the few numbers with it."""
        other = OTHER[mark]
        if not self._groups[other] and self._unclear[other].cells > self._decimals[mark]:
            raise _undecided(self._unclear[other])
        return Reading(mark, groups=self._groups[other])

    def _unproven(self) -> Reading:
        """Read the only mark in the file before decimals, if the file shows in another way that it does not group."""
        marks = [mark for mark in MARKS if self._unclear[mark].cells]
        is_point_by_delimiter = self._has_commas_between_cells and marks == ["."]
        if marks and not is_point_by_delimiter and not (self._is_ungrouped and len(marks) == 1):
            raise _undecided(self._unclear[marks[0]])
        return Reading(marks[0] if marks else ".")

    def _note(self, cells: pl.DataFrame, column: str) -> None:
        text = cells["text"]
        self._is_ungrouped = self._is_ungrouped or bool(text.str.contains(UNGROUPED).any())
        if self._decimals["."] and not text.str.contains(r",|\..*\.").any():
            return  # nothing here could prove the comma
        marked = cells.filter(text.str.contains("[.,]"))
        for mark in MARKS if marked.height else ():
            self._decimals[mark] += int(_proves_decimals(marked["text"], mark).sum())
            self._groups[mark] |= bool(_proves_groups(marked["text"], mark).any())
            self._unclear[mark].note(marked.filter(_two_readings(marked["text"], re.escape(mark))), column)


def likely_reading(rows: pl.DataFrame) -> Reading:
    """Return the most likely reading of the numbers in some rows, for rows that are inspected but not loaded.

    Args:
        rows: `row_number` and text columns; only columns whose cells are all numbers count.
    """
    try:
        return sure_reading(rows, rows.drop(ROW_NUMBER, strict=False).columns, Evidence())
    except SourceError:
        return AS_PROGRAMS_WRITE


def sure_reading(rows: pl.DataFrame, header: Sequence[str], evidence: Evidence) -> Reading:
    """Return the reading of the numbers in a whole file.

    Args:
        rows: `row_number` and text columns, in the order of the header; only columns of numbers count.
        header: The column names that people know.
        evidence: The evidence to which the numbers are added.

    Raises:
        SourceError: The numbers can be read in two ways.
    """
    cells = rows.drop(ROW_NUMBER, strict=False)
    known_as = dict(zip(cells.columns, header, strict=False))
    evidence.note(rows, {name: known_as[name] for name in cells.columns if _are_numbers(cells[name])})
    return evidence.reading()


def _are_numbers(text: pl.Series) -> bool:
    return bool(text.str.strip_chars().str.contains(rf"{SIGN}[0-9.,{SPACES}{APOSTROPHES}]*{EXPONENT}").all())


def _undecided(cell: _Unclear) -> SourceError:
    with_decimals, whole = re.sub("[.,]", ".", cell.text), re.sub("[.,]", "", cell.text)
    return SourceError(
        "ambiguous_numbers",
        f"{cell.text!r} can be {with_decimals} or {whole}, and the other numbers of the file do not prove which",
        row=cell.row,
        column=cell.column,
        remedy='say it in the catalog: `options: {decimal: "."}` or `options: {decimal: ","}`, then `dpa retry`',
    )
