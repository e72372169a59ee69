"""Finds how a source writes numbers: which sign marks decimals, and which sign groups thousands.

`1.250` is 1.25 tonnes or 1250: the sign alone does not decide it. The whole file does, if one of its numbers can be
read in one way only. Otherwise nothing is guessed: the catalog must say it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import polars as pl

from freight.errors import SourceError
from freight.notation.cells import Cells, Place, Read, contradicted, undecided
from freight.notation.forms import DecimalMark, Forms

MARKS: tuple[DecimalMark, DecimalMark] = (".", ",")
OTHER: Mapping[DecimalMark, DecimalMark] = {".": ",", ",": "."}
NAMES: Mapping[DecimalMark, str] = {".": "point", ",": "comma"}

SIGN, EXPONENT = r"^[+-]?", r"(?:[eE][+-]?[0-9]+)?$"
SPACES = r" \u00A0\u2009\u202F"
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

    @property
    def in_words(self) -> str:
        """The sign before decimals, with an example."""
        return f"{NAMES[self.decimal]}: 12{self.decimal}5"

    @classmethod
    def of(cls, text: str) -> "Reading":
        """Return the reading that the ledger has stored as a text."""
        return cls("," if text.startswith(",") else ".", GROUPS in text, DISPUTED in text)


AS_PROGRAMS_WRITE = Reading()


def plain_numbers(text: pl.Series, reading: Reading) -> Read:
    """Rewrite numbers as a program writes them.

    Args:
        text: Cells without outer space.
        reading: The way to read them.

    Returns:
        Texts such as `1234.5` for `1 234,5`; null where the text is a number only under another reading.
    """
    odd = text.str.contains(f"[,{SPACES}{APOSTROPHES}]").fill_null(value=False)
    if reading.decimal == "." and not reading.is_disputed and not odd.any():
        return Read(text)
    bare = text.str.replace_all(_group_signs(reading), "").zip_with(text.str.contains(_grouped(reading)), text)
    refused = bare.str.contains(re.escape(OTHER[reading.decimal]))
    disputed = _disputed(text, reading)
    if reading.is_disputed:
        refused |= disputed
    plain = bare.set(refused.fill_null(value=False), None).str.replace(reading.decimal, ".", literal=True)
    return Read(plain, disputed)


def _disputed(text: pl.Series, reading: Reading) -> pl.Series | None:
    if reading.is_disputed:
        return _two_readings(text)
    return None if reading.groups else _two_readings(text, re.escape(OTHER[reading.decimal]))


def are_all_numbers(text: pl.Series) -> bool:
    """Return whether all cells without outer space look like numbers, in whatever notation."""
    return bool(text.str.contains(rf"{SIGN}[0-9.,{SPACES}{APOSTROPHES}]*{EXPONENT}").all())


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


class NumberEvidence:
    """The evidence that the numbers of a file give about their notation.

    Args:
        forms: What the catalog says about numbers.
        has_commas_between_cells: Whether commas delimit the cells. Programs that write a decimal comma choose
            another delimiter. So a number that would be too large if its point grouped thousands proves the point.
    """

    def __init__(self, forms: Forms, *, has_commas_between_cells: bool) -> None:
        self._stated = stated_reading(forms)
        self._thousands = forms.thousands
        self._has_commas_between_cells = has_commas_between_cells
        self._decimals = {mark: Cells() for mark in MARKS}  # the numbers that prove the mark before decimals
        self._groups = {mark: Cells() for mark in MARKS}  # those that prove it between thousands
        self._unclear = {mark: Cells() for mark in MARKS}  # those that are numbers in both ways
        self._is_ungrouped = self._is_too_large_in_groups = False

    def note(self, cells: pl.DataFrame, column: str, maximum: float | None = None) -> None:
        """Examine some cells.

        Args:
            cells: `row_number` and `text`.
            column: The name of their column that people know.
            maximum: The largest number that the column may have.
        """
        text = cells["text"]
        if self._decimals["."].count and not text.str.contains(r",|\..*\.").any():
            return  # nothing here could prove the comma
        self._is_ungrouped = self._is_ungrouped or bool(text.str.contains(UNGROUPED).any())
        marked = cells.filter(text.str.contains("[.,]"))
        for mark in MARKS if marked.height else ():
            self._decimals[mark].note(marked.filter(_proves_decimals(marked["text"], mark)), column)
            self._groups[mark].note(marked.filter(_proves_groups(marked["text"], mark)), column)
            unclear = marked.filter(_two_readings(marked["text"], re.escape(mark)))
            self._unclear[mark].note(unclear, column)
            if mark == "." and maximum is not None and not self._is_too_large_in_groups:
                grouped = unclear["text"].str.replace(".", "", literal=True).cast(pl.Int64)
                self._is_too_large_in_groups = bool((grouped > maximum).any())

    def reading(self) -> Reading:
        """Return the reading that the catalog states, or that the evidence proves.

        Raises:
            SourceError: The evidence contradicts the catalog, or does not prove a reading while some numbers have two.
        """
        if self._stated:
            return self._unless_contradicted(self._stated)
        proven = [mark for mark in MARKS if self._decimals[mark].count]
        if len(proven) > 1:
            return self._contradicted()
        return self._proven(proven[0]) if proven else self._unproven()

    @property
    def proven(self) -> DecimalMark | None:
        """The only mark that numbers prove before decimals; None if they prove none or both."""
        marks = [mark for mark in MARKS if self._decimals[mark].count]
        return marks[0] if len(marks) == 1 else None

    def words(self, place: Callable[[int], int | str]) -> Iterator[str]:
        """Yield what the numbers prove, in words.

        Args:
            place: The way in which people are told the number of a row.
        """
        for mark in MARKS:
            if proof := self._decimals[mark].first:
                yield f"decimal {NAMES[mark]}, as {proof.at(place)} proves"

    def _unless_contradicted(self, stated: Reading) -> Reading:
        mark = stated.decimal
        against = self._decimals[OTHER[mark]]
        if against.first and against.count > self._decimals[mark].count:
            raise _against_the_catalog(against.first, mark)
        return stated

    def _contradicted(self) -> Reading:
        """Read by the mark that the delimiter confirms; else refuse each number that can be read with either mark.

        In both cases, numbers that need the other mark are refused, so reading by the more frequent one does no harm.
        """
        mark = max(MARKS, key=lambda mark: self._decimals[mark].count)
        if mark == "." and self._has_commas_between_cells:
            return Reading(mark, groups=bool(self._groups[","].count))
        unclear = max(self._unclear.values(), key=lambda cells: cells.count)
        if unclear.first and unclear.count > self._decimals[mark].count:
            raise _undecided(unclear.first, "prove both")
        return Reading(mark, is_disputed=True)

    def _proven(self, mark: DecimalMark) -> Reading:
        """Read the other mark between thousands if a number proves that, too; else refuse the few numbers with it."""
        grouped, unclear = self._groups[OTHER[mark]], self._unclear[OTHER[mark]]
        if not grouped.count and unclear.first and unclear.count > self._decimals[mark].count:
            raise _undecided(unclear.first)
        return Reading(mark, groups=bool(grouped.count))

    def _unproven(self) -> Reading:
        """Read the only mark in the file before decimals, if the file shows in another way that it does not group."""
        marks = [mark for mark in MARKS if self._unclear[mark].first]
        is_point = marks == ["."] and self._has_commas_between_cells and self._is_too_large_in_groups
        is_sure = len(marks) == 1 and (self._is_ungrouped or self._thousands is not None)
        unclear = self._unclear[marks[0]].first if marks else None
        if unclear and not is_point and not is_sure:
            raise _undecided(unclear)
        return Reading(marks[0] if marks else ".")


def stated_reading(forms: Forms) -> Reading | None:
    """Return the reading that the catalog states, if only by a mark between thousands."""
    mark = forms.decimal
    if mark is None and forms.thousands in MARKS:
        mark = OTHER[forms.thousands]
    return Reading(mark, groups=forms.thousands in (None, OTHER[mark])) if mark else None


def _undecided(cell: Place, what: str = "do not prove which") -> SourceError:
    with_decimals, whole = re.sub("[.,]", ".", cell.text), re.sub("[.,]", "", cell.text)
    readings, why = f"can be {with_decimals} or {whole}", f"the other numbers of the file {what}"
    return undecided("ambiguous_numbers", cell, readings, why, (_option("."), _option(",")))


def _against_the_catalog(cell: Place, mark: DecimalMark) -> SourceError:
    stated, other = f"numbers have a decimal {NAMES[mark]}", OTHER[mark]
    return contradicted("ambiguous_numbers", cell, stated, f"a decimal {NAMES[other]}", _option(other))


def _option(mark: DecimalMark) -> str:
    return f'decimal: "{mark}"'
