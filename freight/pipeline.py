"""The batch load: plan, extract, transform, load. Prefect tasks call these steps; `run_catalog` composes them bare.

Each step is safe to repeat. A step that fails with a `SourceError` ends its unit only; a `TransientError` is worth a
retry of the step.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial, reduce
from pathlib import Path
from typing import Literal

import polars as pl

from freight.catalog import Catalog, Source
from freight.contracts.headers import match_header
from freight.errors import (
    ConfigurationError,
    DpaError,
    PositionFenced,
    QuarantineLimitExceeded,
    SourceError,
    TransientError,
)
from freight.frames import ROW_NUMBER, DecimalMark
from freight.readers import RawBatch, SourceFile, find_files, reader_for
from freight.spool import read_spool, write_spool
from freight.transforms import derive
from freight.transforms.versions import with_content_hash
from freight.types import LoadCounts, RunId, instant_of
from freight.validation import Locale, split
from freight.warehouse import ledger
from freight.warehouse.aggregates import refresh_aggregates
from freight.warehouse.connect import Engine, reading, transaction
from freight.warehouse.ledger import FilePosition, LoadUnit
from freight.warehouse.load import UnitContent, load_unit
from freight.warehouse.migrate import require_current

log = logging.getLogger("freight")

UnitState = Literal["loaded", "unchanged", "parked", "failed"]

DATE_IN_NAME = re.compile(r"(?<!\d)(20\d{2})[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?!\d)")
LOGGED_BAD_ROWS = 20
RETRIES = 4
FIRST_RETRY_S = 1.0


@dataclass(frozen=True)
class PlannedUnit:
    """A file that has to be loaded, and what was loaded from its location before."""

    source: Source
    file: SourceFile
    unit: LoadUnit
    expected: FilePosition | None


@dataclass(frozen=True)
class UnitOutcome:
    """How one file ended; `message` says why it failed or was left alone."""

    source: str
    location: str
    state: UnitState
    counts: LoadCounts = field(default_factory=LoadCounts)
    message: str = ""
    reason_counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class SourcePlan:
    """What there is to do for a source: units to load, and files that ended already."""

    units: list[PlannedUnit]
    ended: list[UnitOutcome]


@dataclass(frozen=True)
class RawSpool:
    """An extracted file: text columns named as in the contract (raw.arrow), rows that were not cut (faults.arrow)."""

    folder: Path
    rows: int
    faults: int
    decimal: DecimalMark


@dataclass(frozen=True)
class ConformedSpool:
    """A transformed file: typed rows with derived columns (conformed.arrow) and bad rows (quarantined.arrow)."""

    folder: Path
    rows: int
    read: int
    superseded: int
    quarantined: int
    reason_counts: Mapping[str, int]
    row_range: tuple[int, int] | None
    decimal_mark: str


@dataclass(frozen=True)
class RunReport:
    """How a run ended: the outcome of every file, and the daily statistics that changed."""

    run_id: RunId
    outcomes: tuple[UnitOutcome, ...]
    changed_stats: int = 0

    @property
    def failures(self) -> list[UnitOutcome]:
        """Files and sources that failed in this run."""
        return [outcome for outcome in self.outcomes if outcome.state == "failed"]

    def counts(self, source: str | None = None) -> LoadCounts:
        """Return the summed counts of a source, or of all."""
        chosen = (outcome.counts for outcome in self.outcomes if source in (None, outcome.source))
        return reduce(LoadCounts.__add__, chosen, LoadCounts())

    @property
    def sources(self) -> list[str]:
        """Names of the sources, in the order of loading."""
        return list(dict.fromkeys(outcome.source for outcome in self.outcomes))


def run_catalog(
    engine: Engine, catalog: Catalog, *, run_id: RunId, spool: Path, started_by: str, clock: Callable[[], datetime]
) -> RunReport:
    """Load every source without Prefect; a bad source is reported and does not stop the others.

    Raises:
        ConfigurationError: the warehouse has another schema version, or holds data of the other kind.
    """
    with_retries(lambda: begin_run(engine, catalog, run_id, started_by, clock()))
    outcomes: list[UnitOutcome] = []
    for source in catalog.sources:
        plan = with_retries(partial(plan_source, engine, catalog, source, run_id, clock()))
        outcomes += plan.ended
        outcomes += [load_planned(engine, planned, spool_folder(spool, planned), clock) for planned in plan.units]
    changed = with_retries(lambda: refresh_aggregates(engine))
    report = RunReport(run_id, tuple(outcomes), changed)
    with_retries(lambda: finish_run(engine, report, clock()))
    return report


def begin_run(engine: Engine, catalog: Catalog, run_id: RunId, started_by: str, now: datetime) -> None:
    """Check that this catalog may load into this warehouse, and note the run.

    Raises:
        ConfigurationError: another schema version, or simulated data would mix with real data.
    """
    require_current(engine)
    with transaction(engine) as connection:
        held = ledger.holds_simulated_data(connection)
        if held is not None and held != catalog.simulated:
            kind = {True: "simulated", False: "real"}
            raise ConfigurationError(
                f"the warehouse holds {kind[held]} data and the catalog brings {kind[catalog.simulated]} data: "
                "use another warehouse, or `dpa reset` to start clean"
            )
        ledger.start_run(connection, run_id, started_by, now)
    log.info("run %s started by %s, sources: %s", run_id, started_by, ", ".join(s.name for s in catalog.sources))


def finish_run(engine: Engine, report: RunReport, now: datetime) -> None:
    """Note how the run ended."""
    outcome = "failed" if report.failures else "completed"
    with transaction(engine) as connection:
        ledger.end_run(connection, report.run_id, outcome, now)
    log.info(
        "run %s %s: %s, %d daily statistics changed", report.run_id, outcome, report.counts(), report.changed_stats
    )


def plan_source(engine: Engine, catalog: Catalog, source: Source, run_id: RunId, now: datetime) -> SourcePlan:
    """Find the files of a source, and tell those that must be loaded from those that ended already."""
    try:
        files = find_files(source.location, catalog.folder)
    except SourceError as error:
        return SourcePlan([], [UnitOutcome(source.name, error.location, "failed", message=str(error))])
    plan = SourcePlan([], [])
    for file in files:
        planned = _plan_file(engine, source, file, run_id, now)
        (plan.units if isinstance(planned, PlannedUnit) else plan.ended).append(planned)  # type: ignore[arg-type]
    return plan


def _plan_file(
    engine: Engine, source: Source, file: SourceFile, run_id: RunId, now: datetime
) -> PlannedUnit | UnitOutcome:
    version = source.contract.version
    with reading(engine) as connection:
        position = ledger.position_of(connection, source.name, file.path)
    if position and (position.size_bytes, position.modified_us, position.contract_version) == (
        file.size_bytes,
        file.modified_us,
        version,
    ):
        return UnitOutcome(source.name, file.path, "unchanged", message="loaded before")
    try:
        unit = _unit(source, file, file.sha256(), run_id, position)
    except SourceError as error:
        return fail_unit(engine, _unit(source, file, "", run_id), error, now)
    if position and (position.file_hash, position.contract_version) == (unit.file_hash, version):
        return UnitOutcome(source.name, file.path, "unchanged", message="loaded before")
    with reading(engine) as connection:
        if ledger.is_parked(connection, unit):
            return UnitOutcome(source.name, file.path, "parked", message="failed before; `dpa retry` lets it try again")
    return PlannedUnit(source, file, unit, position)


def _unit(
    source: Source, file: SourceFile, file_hash: str, run_id: RunId, position: FilePosition | None = None
) -> LoadUnit:
    return LoadUnit(
        run_id=run_id,
        source=source.name,
        dataset=source.dataset,
        location=file.path,
        file_hash=file_hash,
        size_bytes=file.size_bytes,
        modified_us=file.modified_us,
        as_of=_as_of(file, file_hash, position),
        contract_version=source.contract.version,
        simulated=source.simulated,
    )


def _as_of(file: SourceFile, file_hash: str, position: FilePosition | None) -> datetime:
    """Return the instant a file speaks for.

    A later delivery at the same place corrects the earlier one, so it has to count as newer even if both names say
    the same day.
    """
    named = _date_in_name(file) or instant_of(file.modified_us)
    if position is None:
        return named
    before = instant_of(position.origin_us)
    return before if position.file_hash == file_hash else max(named, before + timedelta(microseconds=1))


def _date_in_name(file: SourceFile) -> datetime | None:
    """Return the last date in a file's name as 00:00 UTC."""
    for year, month, day in reversed(DATE_IN_NAME.findall(Path(file.path).name)):
        try:
            return datetime(int(year), int(month), int(day), tzinfo=UTC)
        except ValueError:
            continue  # digits that look like a date but are none, such as 20260230
    return None


def spool_folder(root: Path, planned: PlannedUnit) -> Path:
    """Return the folder of a unit's spool files; one run loads a content of a source once."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", Path(planned.file.path).name)
    return root / planned.unit.run_id / f"{planned.source.name}-{name}-{planned.unit.file_hash[:12]}"


def load_planned(engine: Engine, planned: PlannedUnit, folder: Path, clock: Callable[[], datetime]) -> UnitOutcome:
    """Take one file through extract, transform and load; a bad file becomes a failed outcome."""
    try:
        raw = extract_unit(planned, folder)
        conformed = transform_unit(planned, raw, clock())
        return with_retries(lambda: load_conformed(engine, planned, conformed, clock()))
    except SourceError as error:
        return fail_unit(engine, planned.unit, error.at(planned.unit.location), clock())


def extract_unit(planned: PlannedUnit, folder: Path) -> RawSpool:
    """Read the file as text into raw.arrow and faults.arrow.

    Raises:
        SourceError: the file cannot be used.
    """
    try:
        raw = _extract(planned, folder)
    except (DpaError, OSError):
        raise
    except Exception as error:
        # Whatever a parser raises over a broken file must end that file, not the run.
        log.exception("reader %s failed over %s", planned.source.reader, planned.file.path)
        raise SourceError(
            "corrupt",
            f"the reader {planned.source.reader!r} cannot read it: {type(error).__name__}: {error}",
            location=planned.file.path,
            remedy="deliver the file again, or in another format",
        ) from error
    planned.file.refuse_if_changed()
    return raw


def _extract(planned: PlannedUnit, folder: Path) -> RawSpool:
    contract, source = planned.source.contract, planned.source
    table = reader_for(source.reader)(planned.file, contract, source.options)
    columns = match_header(table.header, contract)
    names = {str(position): name for position, name in enumerate(columns)}
    faults = _FaultsBeside(table.batches)
    rows = write_spool(folder / "raw.arrow", (frame.rename(names) for frame in faults.rows()))
    fault_count = write_spool(folder / "faults.arrow", faults.faults)
    if rows + fault_count == 0:
        raise SourceError("header_only", "the file has a header and no rows", remedy="deliver the rows")
    return RawSpool(folder, rows, fault_count, table.decimal)


class _FaultsBeside:
    """Hands on the rows of batches and keeps their faults aside."""

    def __init__(self, batches: Iterator[RawBatch]) -> None:
        self._batches = batches
        self.faults: list[pl.DataFrame] = []

    def rows(self) -> Iterator[pl.DataFrame]:
        """Give the rows batch by batch."""
        for batch in self._batches:
            if not batch.faults.is_empty():
                self.faults.append(batch.faults)
            yield batch.rows


def transform_unit(planned: PlannedUnit, raw: RawSpool, now: datetime) -> ConformedSpool:
    """Type, validate and derive into conformed.arrow and quarantined.arrow, without older versions within the file."""
    contract, locale = planned.source.contract, Locale(raw.decimal, planned.source.time_zone)
    bad = [*read_spool(raw.folder / "faults.arrow")]
    keys = _KeyVersions(contract.business_key)

    def conformed() -> Iterator[pl.DataFrame]:
        for rows in read_spool(raw.folder / "raw.arrow"):
            halves = split(rows, contract, locale, now)
            bad.append(halves.quarantined)
            keys.note(halves.valid)
            yield with_content_hash(derive(halves.valid, contract), contract)

    path = raw.folder / "conformed.arrow"
    rows = write_spool(path, conformed())
    outdated = keys.outdated(lambda: read_spool(path))
    if outdated.len():
        rows = _drop_rows(path, outdated)
    quarantined = pl.concat(bad).sort(ROW_NUMBER)
    write_spool(raw.folder / "quarantined.arrow", quarantined.iter_slices(50_000))
    return ConformedSpool(
        folder=raw.folder,
        rows=rows,
        read=raw.rows + raw.faults,
        superseded=outdated.len(),
        quarantined=quarantined.height,
        reason_counts=dict(quarantined["reason"].value_counts(sort=True).iter_rows()),
        row_range=keys.row_range(quarantined[ROW_NUMBER]),
        decimal_mark=raw.decimal,
    )


class _KeyVersions:
    """Finds keys that occur more than once in a file with 8 bytes a row in memory, however long the keys are."""

    def __init__(self, business_key: tuple[str, ...]) -> None:
        self._key = list(business_key)
        self._hashes: list[pl.Series] = []
        self._rows: list[int] = []

    def note(self, frame: pl.DataFrame) -> None:
        """Take in the keys of some rows."""
        self._hashes.append(self._hash(frame))
        self._rows += [row for row in (frame[ROW_NUMBER].min(), frame[ROW_NUMBER].max()) if isinstance(row, int)]

    def outdated(self, frames: Callable[[], Iterator[pl.DataFrame]]) -> pl.Series:
        """Return the row numbers that a later row of the same key supersedes."""
        hashes = pl.concat(self._hashes) if self._hashes else pl.Series([], dtype=pl.UInt64)
        repeated = hashes.filter(hashes.is_duplicated()).unique()
        if repeated.is_empty():
            return pl.Series(ROW_NUMBER, [], dtype=pl.Int64)
        columns = [*self._key, ROW_NUMBER]
        suspects = pl.concat(f.filter(self._hash(f).is_in(repeated.implode())).select(columns) for f in frames())
        return suspects.filter(pl.col(ROW_NUMBER) < pl.col(ROW_NUMBER).max().over(self._key))[ROW_NUMBER]

    def row_range(self, bad_rows: pl.Series) -> tuple[int, int] | None:
        """Return the first and the last row number of the file."""
        rows = self._rows + [row for row in (bad_rows.min(), bad_rows.max()) if isinstance(row, int)]
        return (min(rows), max(rows)) if rows else None

    def _hash(self, frame: pl.DataFrame) -> pl.Series:
        return frame.select(pl.struct(self._key).hash()).to_series()


def _drop_rows(path: Path, row_numbers: pl.Series) -> int:
    kept = path.with_suffix(".kept")
    without = (f.filter(~f[ROW_NUMBER].is_in(row_numbers.implode())) for f in read_spool(path))
    rows = write_spool(kept, without)
    kept.replace(path)
    return rows


def load_conformed(engine: Engine, planned: PlannedUnit, spool: ConformedSpool, now: datetime) -> UnitOutcome:
    """Load a transformed file in one transaction.

    Raises:
        QuarantineLimitExceeded: too many bad rows; nothing was loaded.
        TransientError: worth a retry.
    """
    _refuse_above_limit(planned, spool)
    content = UnitContent(
        frames=lambda: read_spool(spool.folder / "conformed.arrow"),
        rows=spool.rows,
        quarantined=lambda: read_spool(spool.folder / "quarantined.arrow"),
        read=spool.read,
        superseded=spool.superseded,
        row_range=spool.row_range,
        decimal_mark=spool.decimal_mark,
    )
    unit = planned.unit
    try:
        counts = load_unit(engine, unit, planned.source.contract, content, planned.expected, now)
    except PositionFenced:
        return _outcome_of_the_other(engine, planned)
    log.info("loaded %s %s (sha256 %s): %s", unit.source, unit.location, unit.file_hash, counts)
    _log_bad_rows(unit, spool)
    return UnitOutcome(unit.source, unit.location, "loaded", counts, reason_counts=spool.reason_counts)


def _log_bad_rows(unit: LoadUnit, spool: ConformedSpool) -> None:
    """Name the first bad rows; their values stay in the warehouse, which has access rights and a retention."""
    first = next(read_spool(spool.folder / "quarantined.arrow"), pl.DataFrame()).head(LOGGED_BAD_ROWS)
    for row in first.iter_rows(named=True):
        place = (unit.location, row[ROW_NUMBER], row["column_name"])
        log.warning("quarantined %s row %s column %s: %s", *place, row["detail"] or row["reason"])
    if spool.quarantined > first.height:
        log.warning("quarantined %s: %d rows in all, %s", unit.location, spool.quarantined, dict(spool.reason_counts))


def _refuse_above_limit(planned: PlannedUnit, spool: ConformedSpool) -> None:
    limit = planned.source.quarantine_limit
    if spool.quarantined <= limit * spool.read:
        return
    reasons = ", ".join(f"{reason} {count}" for reason, count in spool.reason_counts.items())
    raise QuarantineLimitExceeded(
        f"{spool.quarantined} of {spool.read} rows break the contract, the limit is {limit:.0%}: {reasons}",
        location=planned.unit.location,
        read_rows=spool.read,
        reason_counts=spool.reason_counts,
        first_bad_rows=next(read_spool(spool.folder / "quarantined.arrow")),
    )


def _outcome_of_the_other(engine: Engine, planned: PlannedUnit) -> UnitOutcome:
    """Tell how a unit ended whose position had moved: loaded by our own commit that seemed lost, or by another run."""
    unit = planned.unit
    with reading(engine) as connection:
        position = ledger.position_of(connection, unit.source, unit.location)
        if position is None or position.file_hash != unit.file_hash:
            raise TransientError(
                f"{unit.location}: another run loaded another version of the file; the next run looks again"
            )
        run_id, counts = ledger.counts_of(connection, position.batch_id)
    if run_id == unit.run_id:
        return UnitOutcome(unit.source, unit.location, "loaded", counts)
    return UnitOutcome(unit.source, unit.location, "unchanged", message=f"loaded by run {run_id} meanwhile")


def fail_unit(engine: Engine, unit: LoadUnit, error: SourceError, now: datetime) -> UnitOutcome:
    """Record that nothing of a unit was loaded, and why."""
    refused = error if isinstance(error, QuarantineLimitExceeded) else None

    def record() -> None:
        with transaction(engine) as connection:
            ledger.record_attempt(
                connection,
                unit,
                fault=error.fault,
                message=str(error),
                now=now,
                read_rows=refused.read_rows if refused else 0,
                reason_counts=refused.reason_counts if refused else {},
                first_bad_rows=refused.first_bad_rows if refused else None,
            )

    with_retries(record)
    log.error("failed %s %s", unit.source, error)
    return UnitOutcome(
        unit.source,
        unit.location,
        "failed",
        message=str(error),
        reason_counts=refused.reason_counts if refused else {},
    )


def with_retries[T](call: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
    """Call again after a TransientError, waiting 1, 2, 4, 8 seconds."""
    for attempt in range(RETRIES):
        try:
            return call()
        except TransientError:
            sleep(FIRST_RETRY_S * 2**attempt)
    return call()
