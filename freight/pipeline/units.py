"""What passes between the steps of a load: small descriptions; the rows themselves lie in spool files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Literal

import polars as pl

from freight.catalog import Source
from freight.drift import Profile
from freight.numbers import Reading
from freight.readers import NewContent, SourceFile
from freight.spool import read_spool
from freight.types import LoadCounts, Position
from freight.warehouse.ledger import LoadUnit

UnitState = Literal["loaded", "unchanged", "waiting", "parked", "replaced", "failed"]


@dataclass(frozen=True)
class PlannedUnit:
    """A file that has to be loaded, or what else is new in a source; and what was loaded before.

    Attributes:
        expected: the position of its location.
        last_header: of what was loaded last from the source; empty where that is not known.
    """

    source: Source
    content: NewContent
    unit: LoadUnit
    expected: Position | None
    last_header: tuple[str, ...] = ()


@dataclass(frozen=True)
class UnitOutcome:
    """How one unit ended.

    Attributes:
        message: why it failed or was left alone, or what a person should know of it.
        drift: how what is loaded differs from its contract, or from what was loaded lately.
        as_of: the instant it spoke for, of one that is unchanged.
        unarchived: why it is in the warehouse, but could not be moved to the archive.
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
    """What there is to do for a source: units to load, and files that ended already; `files` are all of them."""

    units: list[PlannedUnit]
    ended: list[UnitOutcome]
    files: Sequence[SourceFile] = ()


@dataclass(frozen=True)
class RawSpool:
    """An extracted file: text columns named as in the contract, and rows that could not be cut into cells.

    Attributes:
        folder: of the spool files.
        numbers: How they are read.
        rows, faults: rows of each kind.
        row_range: first and last row number.
        header: as the source wrote it.
        left_out: headers of columns that the contract does not know, and lets go.
        drift: why all rows go to quarantine, if they do.
    """

    folder: Path
    numbers: Reading
    header: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    drift: str = ""
    rows: int = 0
    faults: int = 0
    row_range: tuple[int, int] | None = None

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
    """A transformed file: typed rows with derived columns, a key once, and bad rows.

    Attributes:
        raw: what was transformed; its faults are bad rows, too.
        rows: rows to load.
        superseded: rows left out because a later row of the file has the same key.
        quarantined: bad rows.
        reason_counts: bad rows by reason code.
        first_bad_rows: the first bad rows of the file, for people; `BAD_ROWS_SCHEMA`.
        profile: how its columns look.
        retyped: column of which nearly no value is what the contract says; empty if there is none.
    """

    raw: RawSpool
    rows: int = 0
    superseded: int = 0
    quarantined: int = 0
    reason_counts: Mapping[str, int] = field(default_factory=dict)
    first_bad_rows: pl.DataFrame = field(default_factory=pl.DataFrame, repr=False, compare=False)
    profile: Profile | None = field(default=None, repr=False)
    retyped: str = ""

    @property
    def read(self) -> int:
        """Rows that the file has."""
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
        return chain(read_spool(self.raw.faults_path), read_spool(self.quarantined_path))
