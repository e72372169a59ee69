"""Load quarantined rows and messages that now keep the contract, each once, with their original origin."""

from datetime import UTC, datetime
from typing import Any

from prefect import State, flow, runtime
from prefect.states import Completed

from blocks.places import open_warehouse
from freight.catalog import read_catalog
from freight.quarantine.replay import replay
from freight.settings import load_settings, started_by
from freight.types import RunId
from freight.warehouse.connect import closing
from freight.warehouse.runs import noted_run
from freight.words import counted
from tasks.endings import ends_in_words
from tasks.news import told
from tasks.run_names import dated


@told
@flow(name="replay-quarantine", flow_run_name=dated("replay-quarantine"))
@ends_in_words
def replay_quarantine(source: str | None = None, warehouse: str | None = None) -> State[Any]:
    """Replay the quarantine; running it again changes nothing.

    Args:
        source: Only this source of the catalog, or this topic.
        warehouse: The name of a Freight Warehouse block; by default the warehouse of this installation.

    Returns:
        Completed with the outcome of each file and partition, or Failed with the `DpaError`.
    """
    here = load_settings()
    run_id = RunId(str(runtime.flow_run.id))
    with (
        closing(open_warehouse(warehouse, here)) as engine,
        noted_run(engine, run_id, started_by(), _now),
    ):
        outcomes = replay(engine, read_catalog(here.catalog), run_id=run_id, source=source, clock=_now)
    replayed, waiting = (sum(of) for of in ([o.counts.read for o in outcomes], [o.waiting for o in outcomes]))
    lines = [f"{counted(replayed, 'row')} replayed, {waiting} still in quarantine", *map(str, outcomes)]
    return Completed(message="\n".join(lines), data=outcomes)


def _now() -> datetime:
    return datetime.now(UTC)
