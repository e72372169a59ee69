"""The data passed between the steps of a load: small descriptions; the rows themselves are in spool files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Literal

import polars as pl

from freight.catalog import Source
from freight.contracts.headers import sheet_names
from freight.drift import Profile
from freight.frames import PLACE, ROW_NUMBER, SOURCE_ROW, with_place_in_detail
from freight.notation.evidence import READ_AS_USUAL, ReadAs
from freight.readers import Function, Lookups, NewContent, SourceFile
from freight.spool import read_spool
from freight.types import ROWS_OF_A_SHEET, LoadCounts, Position, Reshaped
from freight.warehouse.ledger import LoadUnit

UnitState = Literal["loaded", "unchanged", "waiting", "parked", "replaced", "failed", "gone"]


@dataclass(frozen=True)
class Reshaping:
    """How the rows of a source are reshaped.

    Attributes:
        function: The function, as it was when the source was planned.
        lookups: Reads the rows of its lookups.
    """

    function: Function = field(repr=False)
    lookups: Callable[[], Lookups] = field(repr=False)


@dataclass(frozen=True)
class PlannedUnit:
    """A file or other delivery that has to be loaded, with the position and header of the loads before it.

    Attributes:
        expected: The position of its location.
        last_header: The header of the last load from the source; empty if it is not known.
        reshaping: How the source's own function reshapes the rows; None without one.
    """

    source: Source
    content: NewContent
    unit: LoadUnit
    expected: Position | None
    last_header: tuple[str, ...] = ()
    reshaping: Reshaping | None = None


@dataclass(frozen=True)
class UnitOutcome:
    """How one unit ended.

    Attributes:
        message: The reason why it failed or was left alone, or a remark for a person.
        drift: The difference of the loaded rows from the contract, or from recent loads.
        as_of: The instant that a loaded or unchanged unit stands for.
        unarchived: The reason why a loaded file could not be moved to the archive.
    """

    source: str
    location: str
    state: UnitState
    counts: LoadCounts = field(default_factory=LoadCounts)
    message: str = ""
    reason_counts: Mapping[str, int] = field(default_factory=dict)
    drift: str = ""
    unarchived: str = ""
    as_of: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True)
class SourcePlan:
    """The plan for a source: units to load, and outcomes of files already done; `files` are all of its files."""

    units: list[PlannedUnit]
    ended: list[UnitOutcome]
    files: Sequence[SourceFile] = ()


@dataclass(frozen=True)
class RawSpool:
    """An extracted file: text columns named as in the contract, and rows that could not be cut into cells.

    Attributes:
        folder: The folder of the spool files.
        read_as: The way in which the file is read.
        rows, faults: The number of rows of each kind.
        skipped: The number of rows that the catalog leaves out; they are not read.
        row_range: The first and last row number.
        reshaped: What the source's own function did with the rows; None without one.
        header: The header as the source wrote it.
        left_out: The headers of columns that the contract does not know, and ignores.
        sheets: The sheets with the rows, if they are numbered by sheet.
        remarks: How the file was read, for people.
        drift: The reason why all rows go to quarantine, if they do.
    """

    folder: Path
    header: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    sheets: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    drift: str = ""
    read_as: ReadAs = READ_AS_USUAL
    rows: int = 0
    faults: int = 0
    skipped: int = 0
    row_range: tuple[int, int] | None = None
    reshaped: Reshaped | None = None

    @property
    def numbers_per_row(self) -> int:
        """How many row numbers each row of the file has."""
        return self.reshaped.numbers_per_row if self.reshaped else 1

    def with_rows_of_the_file(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows with the numbers by which people find them in the file, for messages."""
        return rows.with_columns(pl.col(ROW_NUMBER) // self.numbers_per_row) if self.reshaped else rows

    def with_places(self, bad: pl.DataFrame) -> pl.DataFrame:
        """Add to bad rows how people find them: `source_row` if a function has reshaped them, `place` in sheets."""
        row = pl.col(ROW_NUMBER) // self.numbers_per_row
        return bad.with_columns(
            *([row.alias(SOURCE_ROW)] if self.reshaped else []),
            *([_place(row, self.sheets).alias(PLACE)] if len(self.sheets) > 1 else []),
        )

    @property
    def rows_path(self) -> Path:
        """Spool file of the text columns."""
        return self.folder / "raw.arrow"

    @property
    def faults_path(self) -> Path:
        """Spool file of the rows that could not be cut, as `BAD_ROWS_SCHEMA`."""
        return self.folder / "faults.arrow"


@dataclass(frozen=True)
class ConformedSpool:
    """A transformed file: typed rows with derived columns, each key once, and bad rows.

    Attributes:
        raw: The extracted file; its faults are bad rows, too.
        rows: The number of rows to load.
        superseded: The number of rows left out because a later row of the file has the same key.
        quarantined: The number of bad rows.
        reason_counts: The number of bad rows by reason code.
        first_bad_rows: The first bad rows of the file, for people: `BAD_ROWS_SCHEMA`, with those of
            `with_places`.
        profile: The profile of its columns.
        normalised: The number of texts whose spaces or accents were written in another way than usual.
        retyped: The column that has almost no value of the contract's type; empty without one.
    """

    raw: RawSpool
    rows: int = 0
    superseded: int = 0
    quarantined: int = 0
    reason_counts: Mapping[str, int] = field(default_factory=dict)
    first_bad_rows: pl.DataFrame = field(default_factory=pl.DataFrame, repr=False, compare=False)
    profile: Profile | None = field(default=None, repr=False)
    normalised: int = 0
    retyped: str = ""

    @property
    def read(self) -> int:
        """Number of rows in the file."""
        return self.raw.rows + self.raw.faults

    @property
    def conformed_path(self) -> Path:
        """Spool file of the rows to load."""
        return self.raw.folder / "conformed.arrow"

    @property
    def quarantined_path(self) -> Path:
        """Spool file of the rows that break the contract."""
        return self.raw.folder / "quarantined.arrow"

    def bad_rows(self) -> Iterator[pl.DataFrame]:
        """Read all bad rows: those that could not be cut, and those that break the contract."""
        for bad in chain(read_spool(self.raw.faults_path), read_spool(self.quarantined_path)):
            yield with_place_in_detail(self.raw.with_places(bad))


def _place(row: pl.Expr, sheets: Sequence[str]) -> pl.Expr:
    """Return the row that a sheet shows, and the sheet, of rows that are numbered by sheet."""
    names = {place: sheet_names([sheet]) for place, sheet in enumerate(sheets)}
    sheet = (row // ROWS_OF_A_SHEET).replace_strict(names, default="?", return_dtype=pl.String)
    return pl.format("{} of sheet {}", row % ROWS_OF_A_SHEET, sheet)
