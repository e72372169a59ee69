"""Write the quarantined rows into a workbook for people to correct."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from prefect import State, flow
from prefect.states import Completed
from pydantic import Field

from blocks.places import BlockConnections, open_warehouse
from freight.quarantine.book import book_name, write_quarantine_book
from freight.quarantine.limits import MOST_ROWS, USUAL_ROWS
from freight.readers import put_file
from freight.settings import load_settings
from freight.warehouse.connect import closing
from freight.warehouse.migrate import require_current
from tasks.endings import ends_in_words
from tasks.news import told
from tasks.run_names import dated


@told
@flow(name="export-quarantine", flow_run_name=dated("export-quarantine"))
@ends_in_words
def export_quarantine(
    folder: str = "corrections/to do",
    drop: str | None = None,
    source: str | None = None,
    rows: Annotated[int, Field(ge=1, le=MOST_ROWS)] = USUAL_ROWS,
    warehouse: str | None = None,
) -> State[Any]:
    """Export the rows in quarantine; an existing workbook and its corrections stay.

    Args:
        folder: The folder for the workbook: a path relative to the home folder, or a URL.
        drop: The name of the Blob Drop block whose account holds the folder, which then begins with abfs://.
        source: Only rows of this source of the catalog, or of this topic.
        rows: The number of newest rows to export.
        warehouse: The name of a Freight Warehouse block; by default the warehouse of this installation.

    Returns:
        Completed with the location of the workbook, or a note that nothing waits; else Failed with the reason.
    """
    here = load_settings()
    location = f"{folder}/{book_name(datetime.now(UTC))}"
    with closing(open_warehouse(warehouse, here)) as engine, TemporaryDirectory(prefix="dpa-export-") as scratch:
        require_current(engine)
        written = Path(scratch) / "quarantine.xlsx"
        exported = write_quarantine_book(engine, written, source, rows)
        if exported.rows:
            put_file(written, location, here.home, BlockConnections().drop(drop) if drop else None)
    return Completed(message=exported.summary(location))
