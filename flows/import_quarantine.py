"""Load the rows that people have corrected in workbooks of the quarantine, each once."""

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
from tasks.endings import ends_in_words
from tasks.run_names import DEGRADED, dated


@flow(name="import-quarantine", flow_run_name=dated("import-quarantine"))
@ends_in_words
def import_quarantine(
    location: str = "corrections/*.xlsx",
    archive: str = "corrections/done",
    drop: str | None = None,
    corrected_by: str | None = None,
    warehouse: str | None = None,
) -> State[Any]:
    """Import the workbooks that were given back; one whose corrections are all loaded is moved out of the way.

    Args:
        location: Path, glob or URL of the workbooks; a relative path counts from the home folder.
        archive: Folder of the same place to which workbooks go whose corrections are all loaded.
        drop: Name of the Blob Drop block in whose account they lie; location and archive then begin with abfs://.
        corrected_by: Who has corrected them; without it, who has saved a workbook last, as it says.
        warehouse: Name of a Freight Warehouse block; without one, the warehouse of this installation.

    Returns:
        Completed with what became of each workbook; its name is Degraded when corrected rows are still wrong.
        Failed when a workbook cannot be used, or with the `DpaError` when the run could not go on.
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
    told = "\n".join([f"{len(files)} workbooks", *dropped.told()])
    if dropped.failures:
        return Failed(message=told)
    return Completed(message=told, data=dropped, name=DEGRADED if dropped.problems else None)


def _now() -> datetime:
    return datetime.now(UTC)
