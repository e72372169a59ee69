"""Check for overdue work: a nightly load that is not done, or a dataset that is too old. It changes nothing."""

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
from tasks.news import told
from tasks.overdue import overdue_nightlies
from tasks.run_names import OVERDUE, dated

ON_TIME = "nothing is overdue"
SIMULATED = "the warehouse holds simulated data, which is never overdue"


@told
@flow(name="watch", flow_run_name=dated("watch"))
@ends_in_words
def watch(
    warehouse: str | None = None,
    nightly_from: time = time(2),
    nightly_by: time = time(4),
    freshness_s: dict[str, float] | None = None,
) -> State[Any]:
    """Check that the nightly load is done in time, and that each dataset is as fresh as its contract requires.

    Args:
        warehouse: The name of a Freight Warehouse block; by default the warehouse of this installation.
        nightly_from: The start of the nightly load, in Douala time.
        nightly_by: The deadline of the nightly load, in Douala time.
        freshness_s: The limits of age in seconds in place of the contracts', such as {"terminal_events": 86400}.

    Returns:
        Completed if nothing is overdue. Failed under the name Overdue, with a message that lists everything
        overdue. Failed with the `DpaError` if the check was not possible.
    """
    here, now = load_settings(), datetime.now(UTC)
    loads = _loads(open_warehouse(warehouse, here))
    if loads is None:
        return Completed(message=SIMULATED)
    stale = stale_datasets(loads, freshness_s or {}, now)
    nightlies = overdue_nightlies(load_nightly.name, Night.before(now, nightly_from, nightly_by))
    return _state([*nightlies, *stale])


def _loads(warehouse: Engine) -> dict[str, datetime] | None:
    """Return the last load of each dataset; None if the data is simulated."""
    with closing(warehouse) as engine:
        require_current(engine)
        with reading(engine) as connection:
            return None if holds_simulated_data(connection) else newest_loads(connection)


def _state(findings: list[Overdue]) -> State[Any]:
    if not findings:
        return Completed(message=ON_TIME, data=findings)
    names = ", ".join(found.name for found in findings)
    lines = [f"{names} {'is' if len(findings) == 1 else 'are'} overdue", *map(str, findings)]
    return Failed(name=OVERDUE, message="\n".join(lines), data=findings)
