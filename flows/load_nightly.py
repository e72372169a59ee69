"""Load every batch source of the catalog into the warehouse.

Running it again with the same inputs changes nothing. From the shell: `python -m flows.load_nightly`, and
`dpa run` if a source names a block.
"""

import sys
from argparse import ArgumentParser
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from prefect import State, flow, runtime
from prefect.states import Completed, Failed
from pydantic import Field

from blocks.places import warehouse_place
from freight.catalog import Catalog, read_catalog
from freight.console.load import show_run
from freight.console.progress import progress
from freight.console.summary import drifts, headline, reasons, remarks, shortfalls, summary_rows
from freight.errors import ConfigurationError, DpaError
from freight.exits import exits_in_words
from freight.pipeline import RunReport, run_catalog
from freight.settings import Settings, load_settings, started_by
from freight.types import RunId
from tasks.artifacts import publish_table
from tasks.endings import ends_in_words
from tasks.load import TaskSteps
from tasks.log import log_run
from tasks.news import told
from tasks.report import write_report
from tasks.run_names import DEGRADED, dated
from tasks.temporary_server import guard_temporary_server, login_hint

DEGRADED_SHARE = 0.05


def _run_name() -> str:
    day = runtime.flow_run.parameters["day"]
    return f"load {day}" if day else dated("load-nightly")()


@told
@flow(name="load-nightly", flow_run_name=_run_name)
@ends_in_words
def load_nightly(
    catalog: Path | None = None,
    warehouse: str | None = None,
    sources: list[str] | None = None,
    day: date | None = None,
    degraded_share: Annotated[float, Field(ge=0, le=1)] = DEGRADED_SHARE,
) -> State[Any]:
    """Load all sources; a bad file is reported and does not stop the others.

    Args:
        catalog: The YAML list of sources; by default the catalog of this installation.
        warehouse: The name of a Freight Warehouse block; by default the warehouse of this installation.
        sources: Only these sources of the catalog.
        day: Only the files of this day, for sources with a day in their location.
        degraded_share: The share of a source's rows in quarantine above which the run ends as Degraded.

    Returns:
        Completed with the `RunReport`, under the name Degraded if something was left out, a parked file or many rows,
        or if a fallback replaced a source.
        Failed if a file or a source failed; everything else is loaded. Failed with the `DpaError` that stopped the run.
    """
    settings = load_settings()
    chosen = read_catalog(catalog or settings.catalog).only(sources, dated=day is not None)
    report = _load_catalog(chosen.on_day(day) if day else chosen, warehouse, settings)
    return _ended(report, degraded_share)


def _load_catalog(catalog: Catalog, block: str | None, settings: Settings) -> RunReport:
    log = log_run(settings.logs)
    steps = TaskSteps(block, catalog, RunId(str(runtime.flow_run.id)))
    report = run_catalog(steps, started_by(), progress)
    _publish(report)
    places = {"report": write_report(block, simulated=catalog.simulated), "log": log}
    show_run(report, catalog, settings, warehouse_place(block, settings).url, places)
    return report


def _ended(report: RunReport, degraded_share: float) -> State[Any]:
    if report.failures:
        return Failed(message="\n".join([headline(report), *reasons(report, "failed")]))
    if left_out := shortfalls(report, degraded_share):
        return Completed(name=DEGRADED, message="\n".join([headline(report), *left_out]), data=report)
    return Completed(message=headline(report), data=report)


def _publish(report: RunReport) -> None:
    lines = reasons(report, "failed", "parked", "gone", "replaced", "waiting")
    paragraphs = [headline(report), *lines, *drifts(report), *remarks(report)]
    publish_table(summary_rows(report), "load-nightly-summary", *paragraphs)


@exits_in_words
def main() -> int:
    """Run the flow in this process; return 0 if all is loaded, 2 if a setting is wrong, 1 if anything else failed."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="*", help="Sources of the catalog; by default all.")
    sources = parser.parse_args().sources
    guard_temporary_server()
    with login_hint():
        state = load_nightly(sources=sources or None, return_state=True)
    error = state.result(raise_on_failure=False)
    if isinstance(error, DpaError):
        print(f"error: {error}", file=sys.stderr)
    if isinstance(error, ConfigurationError):
        return 2
    return 0 if state.is_completed() else 1


if __name__ == "__main__":
    sys.exit(main())
