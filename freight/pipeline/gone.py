"""Files that failed and were taken away before they could be loaded: each is reported once."""

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime
from shlex import quote
from zoneinfo import ZoneInfo

from freight.catalog import Source
from freight.errors import SourceError
from freight.pipeline.run import Run
from freight.pipeline.units import UnitOutcome
from freight.readers import is_left_out, stored_at
from freight.types import Fingerprint, RunId
from freight.warehouse import ledger
from freight.warehouse.connect import reading
from freight.warehouse.ledger import LoadUnit, Parked


def gone_files(
    run: Run, source: Source, present: Collection[str], fail: Callable[[Run, LoadUnit, SourceError], UnitOutcome]
) -> list[UnitOutcome]:
    """Return the files of a source that failed before and are not there any more.

    Args:
        run: The run that loads the source.
        source: The source of the files.
        present: The locations of all deliveries that it has now.
        fail: Returns the outcome of a unit; in a load it also records the file as gone, so it is reported once.
    """
    if source.is_of_one_day or source.connection:  # it shows only a part; or it has no files
        return []
    with reading(run.engine) as connection:
        failed = ledger.failed_files(connection, source.name)
    files, members = {stored_at(path) for path in present}, source.options.get("members")
    gone = [o for o in failed if stored_at(o.location) not in files and not is_left_out(o.location, members)]
    units = (unseen_unit(source, one.location, run.run_id, run.clock()) for one in gone)
    ended = [fail(run, unit, _fault(one, source)) for unit, one in zip(units, gone, strict=True)]
    return [replace(outcome, state="gone") for outcome in ended]


def _fault(one: Parked, source: Source) -> SourceError:
    since = f"{one.since.astimezone(ZoneInfo(source.time_zone)):%Y-%m-%d %H:%M} in {source.time_zone}"
    return SourceError(
        ledger.GONE,
        f"the file is not there any more; it failed at {since} with {one.fault}",
        location=one.location,
        remedy="none if it was taken away on purpose, else deliver it again; "
        f"`dpa history {quote(one.location)}` shows why it failed",
    )


def unseen_unit(source: Source, location: str, run_id: RunId, as_of: datetime) -> LoadUnit:
    """Return the unit of a delivery whose content is not read.

    Args:
        source: The source of the delivery.
        location: The path of the delivery.
        run_id: The run that looks at it.
        as_of: The instant that it stands for.
    """
    return LoadUnit(
        run_id=run_id,
        source=source.name,
        dataset=source.dataset,
        location=location,
        fingerprint=Fingerprint(),
        as_of=as_of,
        contract_version=source.contract.version,
        simulated=source.simulated,
    )
