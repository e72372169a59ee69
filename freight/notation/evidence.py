"""The evidence of a whole file about the way in which it writes numbers and days."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Self

import orjson
import polars as pl

from freight.contracts.contract import Contract, Dtype
from freight.errors import SourceError
from freight.frames import NATIVE, ROW_NUMBER, are_native
from freight.notation.days import DAY_FIRST, SHORT_DAY, DayEvidence, DayOrder
from freight.notation.forms import DecimalMark, Forms
from freight.notation.numbers import AS_PROGRAMS_WRITE, NumberEvidence, Reading, are_all_numbers, stated_reading
from freight.types import ROWS_OF_A_SHEET

NUMBERS: frozenset[Dtype] = frozenset({"number"})
DAYS: frozenset[Dtype] = frozenset({"date", "instant"})


PROOF = "proof"  # the fact that says why values are read the way they are
# Facts that a run tells by itself; the sheets, one a line, number the rows.
REMARKS, SHEETS, SKIPPED_ROWS = "remarks", "sheets", "skipped_rows"


class Notation(NamedTuple):
    """The way in which a file writes what can be written in several ways.

    Attributes:
        numbers: The reading of numbers.
        days: The order of day and month.
    """

    numbers: Reading = AS_PROGRAMS_WRITE
    days: DayOrder = DAY_FIRST


USUAL = Notation()


def as_stated(notation: Notation, forms: Forms) -> Notation:
    """Return the notation of a file with what the catalog says by now, unless the file has proved the opposite."""
    numbers, days, stated = *notation, stated_reading(forms)
    if stated and (numbers.is_disputed or stated.decimal == numbers.decimal):
        numbers = stated
    if forms.day_first is not None and days.is_disputed:
        days = DayOrder(forms.day_first)
    return Notation(numbers, days)


class ReadAs(NamedTuple):
    """How a file was read; the ledger keeps it, so that its quarantined rows are replayed the same way.

    Attributes:
        notation: The notation of its values.
        facts: What else was found out, such as its encoding, and what proves the notation.
    """

    notation: Notation = USUAL
    facts: Mapping[str, str] = MappingProxyType({})

    def __str__(self) -> str:
        told = {name: text for name, text in self.facts.items() if name not in (REMARKS, SHEETS, SKIPPED_ROWS)}
        return "; ".join(f"{name} {text!r}" if name != PROOF else text for name, text in told.items())

    def place(self, row_number: int) -> int | str:
        """Return the number of a row as its program shows it, with the sheet if there are several."""
        sheets = self.facts.get(SHEETS, "").splitlines()
        sheet, row = divmod(row_number, ROWS_OF_A_SHEET)
        return f"{row} of sheet {sheets[sheet]!r}" if sheet < len(sheets) else row_number

    def as_json(self) -> str:
        """Return it as the ledger stores it."""
        numbers, days = self.notation
        facts = {"numbers": str(numbers), "day_first": days.day_first, "days_disputed": days.is_disputed, **self.facts}
        return orjson.dumps(facts).decode()

    @classmethod
    def of(cls, decimal_mark: str, stored: str | None) -> Self:
        """Return what the ledger has stored; earlier releases only stored how numbers are read."""
        facts = orjson.loads(stored or "{}")
        facts.pop("numbers", None)
        days = DayOrder(facts.pop("day_first", True), facts.pop("days_disputed", False))
        return cls(Notation(Reading.of(decimal_mark), days), facts)


READ_AS_USUAL = ReadAs()


class Asked(NamedTuple):
    """A column that gives evidence.

    Attributes:
        name: Its name in the frame.
        position: Its position in the signs of `native_numbers`.
        known_as: The name that people know.
        dtype: The type of its values.
        maximum: The largest number that it may have.
    """

    name: str
    position: int
    known_as: str
    dtype: Dtype
    maximum: float | None = None


class Evidence:
    """Collects the evidence of a file.

    Args:
        forms: What the catalog says.
        has_commas_between_cells: Whether commas delimit its cells.
        has_native_days: Whether it is a workbook, whose program stores the days that it understands.
    """

    def __init__(self, forms: Forms, *, has_commas_between_cells: bool = False, has_native_days: bool = False) -> None:
        self._forms = forms
        self._null_values = [value.strip().lower() for value in forms.null_values]
        self._numbers = NumberEvidence(forms, has_commas_between_cells=has_commas_between_cells)
        self._days = DayEvidence(forms.day_first, has_native_days=has_native_days)

    def note(self, rows: pl.DataFrame, columns: Iterable[Asked]) -> None:
        """Examine some rows.

        Args:
            rows: `row_number`, text columns, and `native_numbers` if the source tells numbers from text.
            columns: The columns to examine; those that the rows lack, or whose format is stated, are passed over.
        """
        delivered = rows.schema  # whose search does not get longer with the columns
        for column in columns:
            if column.name in delivered and column.name not in self._forms.formats:
                if column.dtype in NUMBERS:
                    self._numbers.note(_written(rows, column, self._null_values), column.known_as, column.maximum)
                elif column.dtype in DAYS:
                    self._days.note(_written(rows, column, self._null_values), column.known_as)

    def notation(self) -> Notation:
        """Return the notation that the catalog states, or that the evidence proves.

        Raises:
            SourceError: Some values have two readings and nothing decides, or the evidence contradicts the catalog.
        """
        return Notation(self._numbers.reading(), self._days.order())

    def proven_options(self) -> dict[str, DecimalMark | bool]:
        """Return the options of a catalog that the cells prove."""
        proven = {"decimal": self._numbers.proven, "day_first": self._days.proven}
        return {name: value for name, value in proven.items() if value is not None}

    def read_as(self, facts: Mapping[str, str]) -> ReadAs:
        """Return how the file is read, given what its reader found out.

        Raises:
            SourceError: See `notation`.
        """
        place = ReadAs(facts=facts).place
        try:
            notation = self.notation()
        except SourceError as error:
            error.row = place(error.row) if isinstance(error.row, int) else error.row
            raise
        proof = "; ".join([*self._numbers.words(place), *self._days.words(place)])
        return ReadAs(notation, {**facts, **({PROOF: proof} if proof else {})})


def _written(rows: pl.DataFrame, column: Asked, null_values: Sequence[str]) -> pl.DataFrame:
    """Return the cells that the source has written as text, but for those that mean nothing."""
    cells = rows.select(ROW_NUMBER, text=pl.col(column.name).str.strip_chars())
    native = are_native(rows, column.position)
    written = (cells if native is None else cells.filter(~native)).drop_nulls()
    return written.filter(~pl.col("text").str.to_lowercase().is_in(null_values)) if null_values else written


def columns_of(contract: Contract, known_as: Mapping[str, str]) -> list[Asked]:
    """Return the columns of a contract that give evidence.

    Args:
        contract: The contract; it names the columns of the frames.
        known_as: The headers of the columns.
    """
    return [
        Asked(column.name, position, known_as.get(column.name, column.name), column.dtype, column.maximum)
        for position, column in enumerate(contract.columns)
        if column.dtype in NUMBERS | DAYS
    ]


def likely_notation(rows: pl.DataFrame, forms: Forms) -> Notation:
    """Return the most likely notation of some rows, for rows that are inspected but not loaded.

    Args:
        rows: `row_number` and text columns named by their position.
        forms: What the catalog says.
    """
    try:
        return sure_notation(rows, (), Evidence(forms))
    except SourceError:
        return USUAL


def sure_notation(rows: pl.DataFrame, header: Sequence[str], evidence: Evidence) -> Notation:
    """Return the notation of a whole file without a contract; the cells of a column show what it holds.

    Args:
        rows: `row_number` and text columns named by their position.
        header: The column names that people know.
        evidence: The evidence to which the cells are added.

    Raises:
        SourceError: See `Evidence.notation`.
    """
    evidence.note(rows, _by_content(rows, header))
    return evidence.notation()


def _by_content(rows: pl.DataFrame, header: Sequence[str]) -> Iterator[Asked]:
    cells = rows.drop(ROW_NUMBER, NATIVE, strict=False)
    for position, column in enumerate(cells.iter_columns()):
        text, known_as = column.str.strip_chars(), dict(enumerate(header)).get(position, column.name)
        if are_all_numbers(text):
            yield Asked(column.name, position, known_as, "number")
        elif text.str.contains(SHORT_DAY).any():
            yield Asked(column.name, position, known_as, "instant")
