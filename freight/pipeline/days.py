"""What a span of days has for sources whose files tell their day."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from freight.catalog import Catalog, Source
from freight.errors import SourceError
from freight.pipeline.plan import files_of, looks_loaded, no_drops
from freight.readers import Drops
from freight.warehouse import ledger
from freight.warehouse.connect import Engine, reading


@dataclass(frozen=True)
class DayPlan:
    """What there is of a source on a day.

    Attributes:
        files: how many lie there.
        new: how many of them have changed since they were loaded, or were never loaded.
        fault: why they cannot be seen; empty if they can.
    """

    day: date
    source: str
    files: int
    new: int
    fault: str = ""

    @property
    def note(self) -> str:
        """The fault, or what else is remarkable."""
        return self.fault or ("" if self.files else "no file is there")


def plan_days(engine: Engine, catalog: Catalog, days: Iterable[date], drops: Drops = no_drops) -> list[DayPlan]:
    """Tell which files of some days have to be loaded; nothing is read or written.

    Args:
        engine: of the warehouse.
        catalog: of sources whose location tells the day.
        days: of the files.
        drops: opens the places that sources name.
    """
    return [_plan_day(engine, catalog.folder, source, day, drops) for day in days for source in catalog.sources]


def _plan_day(engine: Engine, folder: Path, source: Source, day: date, drops: Drops) -> DayPlan:
    try:
        files = files_of(source.on_day(day), folder, drops)
    except SourceError as error:
        return DayPlan(day, source.name, 0, 0, "" if error.fault == "missing" else str(error))
    with reading(engine) as connection:
        loaded = [looks_loaded(source, f, ledger.position_of(connection, source.name, f.path)) for f in files]
    return DayPlan(day, source.name, len(files), loaded.count(False))
