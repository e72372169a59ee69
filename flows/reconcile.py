"""Prove that the tables hold what the ledger counted; it changes nothing."""

from typing import Any

from prefect import State, flow
from prefect.states import Completed, Failed

from blocks.places import open_warehouse
from freight.care.reconcile import AGREE
from freight.care.reconcile import reconcile as find_broken
from freight.settings import load_settings
from freight.warehouse.connect import closing
from freight.warehouse.migrate import require_current
from tasks.endings import ends_in_words
from tasks.news import told
from tasks.run_names import dated

SHOWN = 20  # findings in the message of a run; `dpa reconcile` prints all of them


@told
@flow(name="reconcile", flow_run_name=dated("reconcile"))
@ends_in_words
def reconcile(warehouse: str | None = None) -> State[Any]:
    """Prove the ledger against the tables, the streams' offsets and every stored row, as `dpa reconcile` does.

    Args:
        warehouse: The name of a Freight Warehouse block; by default the warehouse of this installation.

    Returns:
        Completed if everything agrees. Failed with the findings, listed in the message, or with the `DpaError`.
    """
    here = load_settings()
    with closing(open_warehouse(warehouse, here)) as engine:
        require_current(engine)
        findings = find_broken(engine)
    if not findings:
        return Completed(message=AGREE, data=findings)
    lines = [f"{len(findings)} things do not hold", *map(str, findings[:SHOWN])]
    return Failed(message="\n".join(lines), data=findings)
