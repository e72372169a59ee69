"""Fills a landing folder with the files that the corridor's systems would have delivered over some days."""

import shutil
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from freight.errors import ConfigurationError
from freight.simulator.corridor import stations
from freight.simulator.events import Corridor
from freight.simulator.faults import FAULTS, FAULTS_OF_COMMA_FILES, ORACLE_SCHEMA, break_rows
from freight.simulator.writers import COMMA, FRENCH, write_csv, write_erp_excel, write_json

LAST_DAY = date(2026, 2, 28)
TOTALS_ROW = "totals_row"

_EXCEL_WEEKDAYS = (5,)  # on Saturdays somebody exports by hand
_FRENCH_WEEKDAYS = (1, 3)  # on Tuesdays and Thursdays an office with French Windows does
_WORKING_FOLDER = ".filling"
_FILE_ORACLE_SCHEMA = {"file": pl.String, **ORACLE_SCHEMA}


@dataclass(frozen=True)
class LandingSummary:
    """What was written to a landing folder.

    Attributes:
        files: paths relative to the landing folder, sorted.
        rows: data rows of the transaction files, totals lines of workbooks included.
        reference_rows: data rows of the station and machine files.
        oracle: one row per unusual transaction row: `file` (relative, with forward slashes), `row` (data row number
            from 1), `kind` (a kind of `FAULTS` or `totals_row`), `quarantined` (whether it breaks the contract).
    """

    files: tuple[Path, ...] = ()
    rows: int = 0
    reference_rows: int = 0
    oracle: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_FILE_ORACLE_SCHEMA), compare=False)

    @property
    def written(self) -> int:
        """Number of files written; 0 when the folder was left untouched."""
        return len(self.files)

    @property
    def broken_rows(self) -> int:
        """Number of unusual transaction rows, whether they break the contract or not."""
        return self.oracle.height

    @property
    def quarantined_rows(self) -> int:
        """Number of transaction rows that break the contract."""
        return self.oracle.filter("quarantined").height


@dataclass(frozen=True)
class _Delivery:
    """One transactions file: where it is, how many data rows it has and which of them are unusual."""

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
    """Write the files of some consecutive days, unless the folder holds any file already.

    A day's file depends on the seed, the day, the rows and the share alone: more days only add files. A file is named
    after the day following its ERP day, when it was exported. The files are made in a hidden folder inside `root`
    and move to their places at the end, so an interrupted call leaves a folder that the next call can fill.

    Args:
        root: landing folder; made when it is absent. Files whose path below it has a part that starts with a dot do
            not count as present.
        seed: seed of the corridor.
        days: number of ERP days, at least 1.
        rows_per_day: transactions of each day.
        fault_share: share of each day's transactions to break, 0..1.
        last_day: last ERP day, local.

    Returns:
        What was written; nothing when the folder was left untouched.

    Raises:
        ConfigurationError: a number is out of range; nothing was written.
        OSError: the folder cannot be written.
    """
    if days < 1:
        raise ConfigurationError(f"a landing folder is filled with at least 1 day, not {days}")
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
    """Write the stations once, and the machines for the first day and the day on which some moved; return the rows."""
    first_day, last_day = erp_days[0], erp_days[-1]
    rows = write_csv(stations(), root / "stations" / f"stations_{first_day:%Y%m%d}.csv")
    snapshots = [first_day]
    if first_day < corridor.move_day <= last_day:
        snapshots.append(corridor.move_day)
    for day in snapshots:
        rows += write_json(corridor.machines_on(day), root / "machines" / f"machines_{day:%Y%m%d}.json")
    return rows


def _write_day(root: Path, corridor: Corridor, day: date, rows_per_day: int, fault_share: float) -> _Delivery:
    french = day.weekday() in _FRENCH_WEEKDAYS
    faults = FAULTS_OF_COMMA_FILES if french else FAULTS
    clean = corridor.transactions(day, rows_per_day)
    rows, oracle = break_rows(clean, fault_share, seed=(corridor.seed, day), faults=faults)
    export_day = day + timedelta(days=1)
    if day.weekday() in _EXCEL_WEEKDAYS:
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
