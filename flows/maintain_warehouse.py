"""Create partitions for the near future and delete rows past their retention; the data that people read stays."""

from datetime import UTC, datetime
from typing import Annotated, Any

from prefect import State, flow
from prefect.states import Completed
from pydantic import Field

from blocks.places import open_warehouse
from freight.care.maintain import maintain
from freight.settings import load_settings
from freight.types import Retention
from freight.warehouse.connect import closing
from tasks.endings import ends_in_words
from tasks.news import told
from tasks.run_names import dated

KEEP = Retention()

Days = Annotated[int, Field(ge=1)]


@told
@flow(name="maintain-warehouse", flow_run_name=dated("maintain-warehouse"))
@ends_in_words
def maintain_warehouse(
    quarantine_days: Days = KEEP.quarantine_days,
    lineage_days: Days = KEEP.lineage_days,
    spool_days: Days = KEEP.spool_days,
    warehouse: str | None = None,
) -> State[Any]:
    """Do what `dpa purge` does; totals of the deleted rows stay in the ledger, so reconcile can still prove the rest.

    Args:
        quarantine_days: The days to keep quarantined rows and failed attempts.
        lineage_days: The days to keep the lineage of rows to runs and files.
        spool_days: The days to keep the spool files of failed runs.
        warehouse: The name of a Freight Warehouse block; by default the warehouse of this installation.

    Returns:
        Completed with the deleted rows by table, or Failed with the `DpaError`.
    """
    here = load_settings()
    retention = Retention(quarantine_days, lineage_days, spool_days)
    with closing(open_warehouse(warehouse, here)) as engine:
        deleted = maintain(engine, here.spool, retention, datetime.now(UTC))
    counts = [f"{name}: {count:,}" for name, count in deleted.items() if count]
    return Completed(message=f"deleted: {', '.join(counts) or 'nothing was old enough'}", data=deleted)
