"""Plan a span of days for sources whose locations contain the day."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from freight.catalog import Catalog, Source
from freight.errors import SourceError
from freight.readers import FILES_ONLY, Connections, SourceFile, find_stored, looks_loaded
from freight.types import Position
from freight.warehouse import ledger
from freight.warehouse.connect import Engine, reading


@dataclass(frozen=True)
class DayPlan:
    """The files of a source on one day.

    Attributes:
        files: The number of files.
        new: The number of files that have changed since they were loaded, or were never loaded.
        fault: The reason why they cannot be listed; empty if they can.
    """

    day: date
    source: str
    files: int
    new: int
    fault: str = ""

    @property
    def note(self) -> str:
        """The fault, or a remark if there are no files."""
        return self.fault or ("" if self.files else "no file is there")


def plan_days(
    engine: Engine, catalog: Catalog, days: Iterable[date], connections: Connections = FILES_ONLY
) -> list[DayPlan]:
    """Count the files of some days that have to be loaded; no file is read, and nothing is written.

    Args:
        engine: The engine of the warehouse.
        catalog: The catalog of sources whose locations contain the day.
        days: The days of the files.
        connections: Opens the places that the sources name.
    """
    return [_plan_day(engine, source, day, connections) for day in days for source in catalog.heads]


def _plan_day(engine: Engine, source: Source, day: date, connections: Connections) -> DayPlan:
    location, may_be_none = source.on_day(day).location, source.archive is not None
    try:
        files = find_stored(
            location,
            source.folder,
            connections,
            source.drop,
            may_be_none=may_be_none,
            members=source.options.get("members"),
        )
    except SourceError as error:
        return DayPlan(day, source.name, 0, 0, "" if error.fault == "missing" else str(error))
    with reading(engine) as connection:
        loaded = [_is_loaded(source, f, ledger.position_of(connection, source.name, f.path)) for f in files]
    return DayPlan(day, source.name, len(files), loaded.count(False))


def _is_loaded(source: Source, file: SourceFile, position: Position | None) -> bool:
    if position is None or position.contract_version != source.contract.version:
        return False
    return looks_loaded(file, position)
