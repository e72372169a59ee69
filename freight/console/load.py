"""`dpa run`: load every batch source of the catalog, in this process and without a Prefect server."""

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from freight.care.open_places import open_places, privacy_warning
from freight.catalog import Catalog, read_catalog
from freight.console.progress import progress
from freight.console.summary import print_summary
from freight.database_urls import safe_url
from freight.errors import ConfigurationError, DpaError
from freight.exits import REFUSED
from freight.log import log_to_file
from freight.pipeline import CoreSteps, Run, RunReport, run_catalog
from freight.reports.written import report_or_reason
from freight.settings import Settings, environment_with, load_settings, started_by
from freight.terminal import PlainConsole
from freight.types import RunId
from freight.warehouse.connect import Engine, open_engine
from freight.warehouse.migrate import require_current
from freight.warehouse.whole import leave_whole

FLOW = "flows.load_nightly"  # started by its name: the core does not know Prefect


def load(names: Sequence[str] | None) -> int:
    """Load the sources of the catalog, or some of them; print progress and a summary.

    Sources that name a block are loaded by the flow, since blocks are stored in Prefect.

    Args:
        names: The names of the sources; None for all.

    Returns:
        0 if everything is loaded, 1 if a file failed or the load had to stop, 2 if a setting is wrong.

    Raises:
        DpaError: The load cannot begin.
    """
    here = load_settings()
    catalog = read_catalog(here.catalog).only(names)
    if any(source.connection or source.drop for source in catalog.sources):
        return _by_the_flow(names or ())
    log = log_to_file(here.logs)
    engine = open_engine(here.warehouse_url)
    require_current(engine)
    return _load(engine, catalog, here, log)


def _by_the_flow(names: Sequence[str]) -> int:
    quiet = environment_with(PREFECT_LOGGING_LEVEL="WARNING")  # the summary says it
    return subprocess.run([sys.executable, "-m", FLOW, *names], env=quiet, check=False).returncode


def _load(engine: Engine, catalog: Catalog, here: Settings, log: Path) -> int:
    run = Run(engine, RunId(str(uuid4())), here.spool, _now)
    try:
        report = run_catalog(CoreSteps(run, catalog), started_by(), progress)
    except DpaError as error:  # some files may be loaded
        print(f"error: {error}", file=sys.stderr)
        return REFUSED if isinstance(error, ConfigurationError) else 1
    written = report_or_reason(engine, here.reports, simulated=catalog.simulated, now=_now())
    show_run(report, catalog, here, here.warehouse_url, {"report": written, "log": log})
    return 1 if report.failures else 0


def show_run(
    report: RunReport, catalog: Catalog, here: Settings, warehouse_url: str, places: dict[str, Path | str]
) -> None:
    """Leave an embedded warehouse as one file, and print the summary of a run with warnings about the machine.

    Args:
        report: The report of the run.
        catalog: The loaded sources.
        here: The settings of the installation.
        warehouse_url: The URL of the warehouse.
        places: The other places to name, such as that of the log.
    """
    warnings = [*leave_whole(), privacy_warning(open_places(here, warehouse_url))]
    print_summary(
        PlainConsole(),
        report,
        simulated=catalog.simulated,
        places={"warehouse": safe_url(warehouse_url), **places},
        warnings=[*filter(None, warnings)],
    )


def _now() -> datetime:
    return datetime.now(UTC)
