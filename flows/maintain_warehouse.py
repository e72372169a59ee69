"""Make partitions that are needed soon, and delete what is beyond its retention; what people read stays as it is."""

from datetime import UTC, datetime
from typing import Annotated, Any

from prefect import State, flow
from prefect.states import Completed
from pydantic import Field

from blocks.places import open_warehouse
from freight.care.maintain import SPOOL_DAYS, maintain
from freight.settings import load_settings
from freight.warehouse.connect import closing
from freight.warehouse.purge import Retention
from tasks.endings import ends_in_words
from tasks.run_names import dated

KEEP = Retention()

Days = Annotated[int, Field(ge=1)]


@flow(name="maintain-warehouse", flow_run_name=dated("maintain-warehouse"))
@ends_in_words
def maintain_warehouse(
    quarantine_days: Days = KEEP.quarantine_days,
    lineage_days: Days = KEEP.lineage_days,
    spool_days: Days = SPOOL_DAYS,
    warehouse: str | None = None,
) -> State[Any]:
    """Do what `dpa purge` does; totals of what is deleted stay in the ledger, so reconcile can still prove the rest.

    Args:
        quarantine_days: How long quarantined rows and failed attempts are kept.
        lineage_days: How long is kept which run and file a row came from.
        spool_days: How long the spool files of failed runs are kept.
        warehouse: Name of a Freight Warehouse block; without one, the warehouse of this installation.

    Returns:
        Completed with the deleted rows by table, or Failed with the `DpaError`.
    """
    here = load_settings()
    retention = Retention(quarantine_days, lineage_days)
    with closing(open_warehouse(warehouse, here)) as engine:
        deleted = maintain(engine, here.spool, retention, spool_days, datetime.now(UTC))
    told = [f"{name}: {count:,}" for name, count in deleted.items() if count]
    return Completed(message=f"deleted: {', '.join(told) or 'nothing was old enough'}", data=deleted)
