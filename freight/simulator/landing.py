"""Fills a landing folder with the files that the corridor's systems would deliver over some days."""

import shutil
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from freight.errors import ConfigurationError
from freight.simulator.corridor import stations
from freight.simulator.events import Corridor
from freight.simulator.faults import FAULTS, FAULTS_OF_COMMA_FILES, FAULTS_OF_WORKBOOKS, ORACLE_SCHEMA, break_rows
from freight.simulator.writers import COMMA, FRENCH, write_csv, write_erp_excel, write_json

LAST_DAY = date(2026, 2, 28)
TOTALS_ROW = "totals_row"

_EXCEL_WEEKDAYS = (5,)  # exported by hand on Saturdays
_FRENCH_WEEKDAYS = (1, 3)  # exported by an office with French Windows on Tuesdays and Thursdays
_WORKING_FOLDER = ".filling"
_FILE_ORACLE_SCHEMA = {"file": pl.String, **ORACLE_SCHEMA}


@dataclass(frozen=True)
class LandingSummary:
    """The files written to a landing folder, and their rows.

    Attributes:
        files: The paths relative to the landing folder, sorted.
        rows: The number of data rows in the transaction files, totals lines of workbooks included.
        reference_rows: The number of data rows in the station and machine files.
        oracle: One row per unusual transaction row: `file` (relative, with forward slashes), `row` (data row number
            from 1), `kind` (a kind of `FAULTS` or `totals_row`), `quarantined` (whether it breaks the contract).
    """

    files: tuple[Path, ...] = ()
    rows: int = 0
    reference_rows: int = 0
    oracle: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_FILE_ORACLE_SCHEMA), compare=False)

    @property
    def written(self) -> int:
        """The number of files written; 0 if the folder was left untouched."""
        return len(self.files)

    @property
    def broken_rows(self) -> int:
        """The number of unusual transaction rows, whether they break the contract or not."""
        return self.oracle.height

    @property
    def quarantined_rows(self) -> int:
        """The number of transaction rows that break the contract."""
        return self.oracle.filter("quarantined").height


@dataclass(frozen=True)
class _Delivery:
    """One transactions file: its path, the number of its data rows, and the unusual ones among them."""

    path: Path
    rows: int
    oracle: pl.DataFrame


def fill_landing(
    root: Path,
    *,
    seed: int = 7,
    days: int = 14,
    rows_per_day: int = 2_000,
    fault_share: float = 0.01,
    last_day: date = LAST_DAY,
) -> LandingSummary:
    """Write the files of some consecutive days, unless the folder already contains a file.

    A day's file depends only on the seed, the day, the rows and the share: more days only add files. A file is named
    after the day of its export, which follows its ERP day. The files are written to a hidden folder inside `root` and
    moved to their places at the end, so after an interrupted call the next call can still fill the folder.

    Args:
        root: The landing folder, created if it does not exist. Files in hidden folders and hidden files (any part of
            the path below `root` starts with a dot) do not count as present.
        seed: The seed of the corridor.
        days: The number of ERP days, at least 1.
        rows_per_day: The number of transactions of each day.
        fault_share: The share of each day's transactions to break, 0..1.
        last_day: The last ERP day, local.

    Returns:
        A summary of the files; an empty one if the folder was left untouched.

    Raises:
        ConfigurationError: A number is out of range; nothing was written.
        OSError: The folder cannot be written.
    """
    if days < 1:
        raise ConfigurationError(f"a landing folder needs at least 1 day, not {days}")
    if _visible_files(root):
        return LandingSummary()
    corridor = Corridor(seed)
    erp_days = [last_day - timedelta(days=back) for back in reversed(range(days))]
    working = root / _WORKING_FOLDER
    shutil.rmtree(working, ignore_errors=True)
    try:
        reference_rows = _write_references(working, corridor, erp_days)
        deliveries = [_write_day(working, corridor, day, rows_per_day, fault_share) for day in erp_days]
        summary = _summary(working, reference_rows, deliveries)
        _move_into_place(working, root, summary.files)
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return summary


def _visible_files(root: Path) -> list[Path]:
    below = (path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file())
    return [path for path in below if not any(part.startswith(".") for part in path.parts)]


def _write_references(root: Path, corridor: Corridor, erp_days: list[date]) -> int:
    """Write the stations once, and the machines for the first day and the move day; return the number of rows."""
    first_day, last_day = erp_days[0], erp_days[-1]
    rows = write_csv(stations(), root / "stations" / f"stations_{first_day:%Y%m%d}.csv")
    snapshots = [first_day]
    if first_day < corridor.move_day <= last_day:
        snapshots.append(corridor.move_day)
    for day in snapshots:
        rows += write_json(corridor.machines_on(day), root / "machines" / f"machines_{day:%Y%m%d}.json")
    return rows


def _write_day(root: Path, corridor: Corridor, day: date, rows_per_day: int, fault_share: float) -> _Delivery:
    french, in_workbook = day.weekday() in _FRENCH_WEEKDAYS, day.weekday() in _EXCEL_WEEKDAYS
    faults = FAULTS_OF_COMMA_FILES if french else FAULTS_OF_WORKBOOKS if in_workbook else FAULTS
    clean = corridor.transactions(day, rows_per_day)
    rows, oracle = break_rows(clean, fault_share, seed=(corridor.seed, day), faults=faults)
    export_day = day + timedelta(days=1)
    if in_workbook:
        return _write_workbook(root / "erp_excel" / f"erp_export_{export_day:%Y%m%d}.xlsx", rows, oracle, day)
    path = root / "erp_csv" / f"erp_daily_transactions_{export_day:%Y%m%d}.csv"
    return _Delivery(path, write_csv(rows, path, FRENCH if french else COMMA), oracle)


def _write_workbook(path: Path, rows: pl.DataFrame, oracle: pl.DataFrame, day: date) -> _Delivery:
    written = write_erp_excel(rows, path, day)
    totals = pl.DataFrame({"row": [written], "kind": [TOTALS_ROW], "quarantined": [True]}, schema=ORACLE_SCHEMA)
    return _Delivery(path, written, pl.concat([oracle, totals]))


def _summary(root: Path, reference_rows: int, deliveries: list[_Delivery]) -> LandingSummary:
    oracles = [
        delivery.oracle.select(pl.lit(delivery.path.relative_to(root).as_posix()).alias("file"), pl.all())
        for delivery in deliveries
    ]
    return LandingSummary(
        files=tuple(path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file()),
        rows=sum(delivery.rows for delivery in deliveries),
        reference_rows=reference_rows,
        oracle=pl.concat(oracles),
    )


def _move_into_place(working: Path, root: Path, files: tuple[Path, ...]) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (working / file).replace(root / file)
