"""Load the files of a span of days, each day in a run of its own on the work pool.

Loaded files are left alone, so an interrupted backfill continues when it is started again.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

from prefect import State, flow
from prefect.states import Completed, Failed
from pydantic import Field

from blocks.places import BlockConnections, open_warehouse
from freight.catalog import read_catalog
from freight.errors import ConfigurationError
from freight.pipeline import DayPlan, plan_days
from freight.settings import load_settings
from freight.warehouse.connect import closing
from freight.warehouse.migrate import require_current
from tasks.artifacts import publish_table
from tasks.day_runs import DayRun, run_days
from tasks.endings import ends_in_words
from tasks.news import told
from tasks.run_names import dated

MOST_DAYS = 3_660
SHOWN = 20  # days in the message of a run; the artifact shows all


@told
@flow(name="backfill", flow_run_name=dated("backfill"))
@ends_in_words
def backfill(
    from_day: date,
    until_day: date,
    sources: list[str] | None = None,
    dry_run: bool = True,
    at_once: Annotated[int, Field(ge=1, le=16)] = 1,
    catalog: Path | None = None,
    warehouse: str | None = None,
) -> State[Any]:
    """Load the days of a span that have unloaded files, oldest first; a bad day does not stop the others.

    Args:
        from_day: The first day, by the date in the paths of the files.
        until_day: The last day, included.
        sources: Only these sources of the catalog; by default all with a day in their location.
        dry_run: Only show what would be loaded, in the artifact backfill-plan.
        at_once: The number of days to load at the same time.
        catalog: The YAML list of sources; by default the catalog of this installation.
        warehouse: The name of a Freight Warehouse block; by default the warehouse of this installation.

    Returns:
        Completed with the plan after a dry run, else with the run of each day; Failed when one of them failed, or with
        the `DpaError`.
    """
    here = load_settings()
    days = _span(from_day, until_day)
    known = read_catalog(catalog or here.catalog).only(sources, dated=True)
    with closing(open_warehouse(warehouse, here)) as engine:
        require_current(engine)
        plans = plan_days(engine, known, days, BlockConnections())
    _publish(plans)
    if dry_run:
        return Completed(message=f"dry run, nothing was loaded. {_headline(plans)}", data=plans)
    shared = {"catalog": str(catalog) if catalog else None, "warehouse": warehouse}
    runs = run_days({day: {**shared, "sources": names} for day, names in _wanted(plans).items()}, at_once)
    return _ended(plans, runs)


def _span(first: date, last: date) -> list[date]:
    days = (last - first).days + 1
    if not 1 <= days <= MOST_DAYS:
        raise ConfigurationError(
            f"from_day {first} to until_day {last} is not a span of 1 to {MOST_DAYS:,} days: correct the parameters"
        )
    return [first + timedelta(days=day) for day in range(days)]


def _wanted(plans: Sequence[DayPlan]) -> dict[date, list[str]]:
    """Return the sources with something to load, by day."""
    wanted: dict[date, list[str]] = {}
    for plan in plans:
        if plan.new or plan.fault:  # a fault may be gone by then; if not, the run of the day reports it
            wanted.setdefault(plan.day, []).append(plan.source)
    return wanted


def _publish(plans: Sequence[DayPlan]) -> None:
    rows = [
        {"day": str(plan.day), "source": plan.source, "files": plan.files, "to load": plan.new, "note": plan.note}
        for plan in plans
    ]
    publish_table(rows, "backfill-plan", _headline(plans))


def _headline(plans: Sequence[DayPlan]) -> str:
    wanted, days = _wanted(plans), {plan.day for plan in plans}
    files, new = sum(plan.files for plan in plans), sum(plan.new for plan in plans)
    return f"{len(wanted)} of {len(days)} days have files to load: {new:,} of {files:,} files"


def _ended(plans: Sequence[DayPlan], runs: Sequence[DayRun]) -> State[Any]:
    failed = [run for run in runs if not run.is_loaded]
    if not failed:
        return Completed(message=f"{_headline(plans)}; all loaded", data=runs)
    lines = [f"{len(failed)} of {len(runs)} days are not loaded", *map(str, failed[:SHOWN])]
    return Failed(message="\n".join(lines), data=runs)
