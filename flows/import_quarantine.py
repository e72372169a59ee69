"""Load the rows that people have corrected in quarantine workbooks, each once."""

from datetime import UTC, datetime
from typing import Any

from prefect import State, flow, runtime
from prefect.states import Completed, Failed

from blocks.places import BlockConnections, open_warehouse
from freight.catalog import read_catalog
from freight.quarantine.corrections import Import, import_dropped
from freight.readers import find_stored
from freight.settings import load_settings, started_by
from freight.types import RunId
from freight.warehouse.connect import closing
from freight.warehouse.runs import noted_run
from freight.words import counted
from tasks.endings import ends_in_words
from tasks.news import told
from tasks.run_names import DEGRADED, dated


@told
@flow(name="import-quarantine", flow_run_name=dated("import-quarantine"))
@ends_in_words
def import_quarantine(
    location: str = "corrections/*.xlsx",
    archive: str = "corrections/done",
    drop: str | None = None,
    corrected_by: str | None = None,
    warehouse: str | None = None,
) -> State[Any]:
    """Import the returned workbooks; move a workbook away once all its corrections are loaded.

    Args:
        location: The path, glob or URL of the workbooks; a relative path starts at the home folder.
        archive: The folder, in the same place, for workbooks whose corrections are all loaded.
        drop: The name of the Blob Drop block whose account holds them; location and archive then begin with abfs://.
        corrected_by: The person who has corrected them; by default whoever saved each workbook last.
        warehouse: The name of a Freight Warehouse block; by default the warehouse of this installation.

    Returns:
        Completed with the result for each workbook, under the name Degraded if corrected rows are still wrong.
        Failed if a workbook cannot be used, or with the `DpaError` that stopped the run.
    """
    here = load_settings()
    run_id = RunId(str(runtime.flow_run.id))
    files = find_stored(location, here.home, BlockConnections(), drop, may_be_none=True)
    with (
        closing(open_warehouse(warehouse, here)) as engine,
        noted_run(engine, run_id, started_by(), _now),
    ):
        by = Import(run_id, started_by(), corrected_by, _now)
        dropped = import_dropped(engine, read_catalog(here.catalog), files, by, archive, here.home)
    message = "\n".join([f"{counted(len(files), 'workbook')}", *dropped.lines()])
    if dropped.failures:
        return Failed(message=message)
    return Completed(message=message, data=dropped, name=DEGRADED if dropped.problems else None)


def _now() -> datetime:
    return datetime.now(UTC)
