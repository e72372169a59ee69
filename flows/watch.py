"""Look whether something is overdue: a nightly load that is not done, a dataset that gets old. It changes nothing."""

from datetime import UTC, datetime, time
from typing import Any

from prefect import State, flow
from prefect.states import Completed, Failed

from blocks.places import open_warehouse
from flows.load_nightly import load_nightly
from freight.care.overdue import Night, Overdue, stale_datasets
from freight.settings import load_settings
from freight.warehouse.connect import Engine, closing, reading
from freight.warehouse.freshness import newest_loads
from freight.warehouse.ledger import holds_simulated_data
from freight.warehouse.migrate import require_current
from tasks.endings import ends_in_words
from tasks.overdue import overdue_nightlies, tell
from tasks.run_names import dated

ON_TIME = "nothing is overdue"
SIMULATED = "the warehouse holds simulated data, for which nobody waits"


@flow(name="watch", flow_run_name=dated("watch"))
@ends_in_words
def watch(
    warehouse: str | None = None,
    nightly_from: time = time(2),
    nightly_by: time = time(4),
    freshness_s: dict[str, float] | None = None,
) -> State[Any]:
    """Look whether the nightly load is done in time, and whether each dataset is as fresh as its contract wants.

    Args:
        warehouse: Name of a Freight Warehouse block; without one, the warehouse of this installation.
        nightly_from: When the nightly load begins, in Douala.
        nightly_by: When it has to be done, in Douala.
        freshness_s: Other limits of age in seconds than those of the contracts, such as {"terminal_events": 86400}.

    Returns:
        Completed when nothing is overdue. Failed by the name Overdue, with a message that names each thing; Prefect has
        got an event for each, too. Failed with the `DpaError` when it could not look.
    """
    here, now = load_settings(), datetime.now(UTC)
    loads = _loads(open_warehouse(warehouse, here))
    if loads is None:
        return Completed(message=SIMULATED)
    stale = stale_datasets(loads, freshness_s or {}, now)
    findings = [*overdue_nightlies(load_nightly.name, Night.before(now, nightly_from, nightly_by)), *stale]
    tell(findings)
    return _state(findings)


def _loads(warehouse: Engine) -> dict[str, datetime] | None:
    """Return when each dataset was last loaded, None if the data is simulated."""
    with closing(warehouse) as engine:
        require_current(engine)
        with reading(engine) as connection:
            return None if holds_simulated_data(connection) else newest_loads(connection)


def _state(findings: list[Overdue]) -> State[Any]:
    if not findings:
        return Completed(message=ON_TIME, data=findings)
    told = [f"{len(findings)} overdue", *map(str, findings)]
    return Failed(name="Overdue", message="\n".join(told), data=findings)
