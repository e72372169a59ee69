"""Plan: find the files of a source, and tell those that must be loaded from those that ended already."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fsspec import AbstractFileSystem

from freight.catalog import Catalog, Source
from freight.errors import ConfigurationError, DpaError, SourceError
from freight.pipeline.load import fail_unit
from freight.pipeline.units import PlannedUnit, SourcePlan, UnitOutcome
from freight.readers import Drops, SourceFile, find_files, unpacked
from freight.types import RunId, instant_of
from freight.warehouse import ledger
from freight.warehouse.connect import Engine, reading
from freight.warehouse.ledger import FilePosition, LoadUnit

DATE_IN_NAME = re.compile(r"(?<!\d)(20\d{2})[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?!\d)")


def no_drops(name: str) -> AbstractFileSystem:
    """Say that nobody here knows the places that a catalog names."""
    raise ConfigurationError(f"only Prefect knows the Blob Drop block {name!r}: load by the flow load-nightly")


def plan_source(
    engine: Engine, catalog: Catalog, source: Source, run_id: RunId, now: datetime, drops: Drops = no_drops
) -> SourcePlan:
    """Find the files of a source, and tell those that must be loaded from those that ended already.

    Args:
        engine: of the warehouse.
        catalog: which has the source.
        source: to look at.
        run_id: of this run.
        now: when failures are noted.
        drops: opens the place that the source names.
    """
    try:
        files = files_of(source, catalog.folder, drops)
    except SourceError as error:
        return SourcePlan([], [UnitOutcome(source.name, error.location, "failed", message=str(error))])
    plan = SourcePlan([], [], files)
    for file in files:
        planned = _plan_file(engine, source, file, run_id, now)
        (plan.units if isinstance(planned, PlannedUnit) else plan.ended).append(planned)  # type: ignore[arg-type]
    return plan


def files_of(source: Source, folder: Path, drops: Drops) -> list[SourceFile]:
    """Return the files of a source, those within `.zip` files each for itself.

    Args:
        source: to look at.
        folder: of the catalog.
        drops: opens the place that the source names.

    Raises:
        SourceError: no file is there, or the place cannot be looked at.
    """
    place = _opened(source, drops)
    found = find_files(source.of_all_days, folder, place, may_be_none=source.archive is not None)
    return [file for stored in found for file in unpacked(stored)]


def _opened(source: Source, drops: Drops) -> AbstractFileSystem | None:
    try:
        return drops(source.drop) if source.drop else None
    except DpaError as error:
        raise SourceError(
            "unreadable",
            f"the drop cannot be opened: {error}",
            location=source.location,
            remedy=f"look after the Blob Drop block {source.drop!r}; the next run tries again",
        ) from None


def _plan_file(
    engine: Engine, source: Source, file: SourceFile, run_id: RunId, now: datetime
) -> PlannedUnit | UnitOutcome:
    with reading(engine) as connection:
        position = ledger.position_of(connection, source.name, file.path)
    if looks_loaded(source, file, position):
        return UnitOutcome(source.name, file.path, "unchanged", message="loaded before")
    if (age_s := _age_s(file, now)) < source.settle_s:
        told = (
            f"{file.path}: changed {age_s:.0f} s ago and has {source.settle_s:.0f} s to settle; the next run loads it"
        )
        return UnitOutcome(source.name, file.path, "waiting", message=told)
    try:
        unit = _unit(source, file, file.sha256(), run_id, position)
    except SourceError as error:
        return fail_unit(engine, _unit(source, file, "", run_id), error, now)
    if position and (position.file_hash, position.contract_version) == (unit.file_hash, unit.contract_version):
        return UnitOutcome(source.name, file.path, "unchanged", message="loaded before")
    with reading(engine) as connection:
        if ledger.is_parked(connection, unit):
            told = f"{file.path}: failed before with the same content; `dpa retry` lets it try again"
            return UnitOutcome(source.name, file.path, "parked", message=told)
    return PlannedUnit(source, file, unit, position)


def _age_s(file: SourceFile, now: datetime) -> float:
    """Return how long ago a file was changed; one from the future, whose clock is wrong, settles as well."""
    return abs((now - instant_of(file.modified_us)).total_seconds())


def looks_loaded(source: Source, file: SourceFile, position: FilePosition | None) -> bool:
    """Whether a file is as it was when it was loaded, by its size and time of change."""
    return position is not None and (position.size_bytes, position.modified_us, position.contract_version) == (
        file.size_bytes,
        file.modified_us,
        source.contract.version,
    )


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
    for year, month, day in reversed(DATE_IN_NAME.findall(file.name)):
        try:
            return datetime(int(year), int(month), int(day), tzinfo=UTC)
        except ValueError:
            continue  # digits that look like a date but are none, such as 20260230
    return None
