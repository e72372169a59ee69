"""Plan a span of days for sources whose locations contain the day."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from functools import partial

from freight.catalog import Catalog, Source
from freight.errors import SourceError
from freight.pipeline.plan import is_read_alike, reshaping_of
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
        alike = partial(is_read_alike, source=source, reshaping=reshaping_of(source, engine))
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
        loaded = [_is_loaded(file, ledger.position_of(connection, source.name, file.path), alike) for file in files]
    return DayPlan(day, source.name, len(files), loaded.count(False))


def _is_loaded(file: SourceFile, position: Position | None, alike: Callable[[Position], bool]) -> bool:
    return position is not None and alike(position) and looks_loaded(file, position)
