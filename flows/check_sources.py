"""Show what a load would change now, including sources that only blocks reach; it writes nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.states import Completed, Failed

from freight.catalog import read_catalog
from freight.console.summary import bad_row_cells, check_headline, check_line, check_rows
from freight.pipeline import Check, tied_sources
from freight.settings import load_settings
from tasks.artifacts import publish_table
from tasks.check import check
from tasks.endings import ends_in_words
from tasks.news import told
from tasks.run_names import dated

SHOWN = 20  # failures, and ties, in the message of a run; the artifact shows all failures


@told
@flow(name="check-sources", flow_run_name=dated("check-sources"))
@ends_in_words
def check_sources(
    sources: list[str] | None = None, catalog: Path | None = None, warehouse: str | None = None
) -> State[Any]:
    """Read and validate new data, and show what a load would change, as `dpa sources check` does.

    Args:
        sources: Only these sources of the catalog.
        catalog: The YAML list of sources; by default the catalog of this installation.
        warehouse: The name of a Freight Warehouse block; by default the warehouse of this installation.

    Returns:
        Completed with the checks; Failed if a load would fail, with the reasons in the message, or with the `DpaError`.
        The artifacts check-sources and check-sources-bad-rows show each file and its first bad rows.
    """
    here = load_settings()
    chosen = read_catalog(catalog or here.catalog).only(sources)
    checks = [found for source in chosen.sources for found in check(warehouse, source)]
    _publish(checks)
    failures = [check_line(found) for found in checks if found.outcome.state == "failed"]
    ties = tied_sources([found.outcome for found in checks], chosen)
    message = "\n".join([check_headline(checks), *failures[:SHOWN], *ties[:SHOWN]])
    return Failed(message=message, data=checks) if failures else Completed(message=message, data=checks)


def _publish(checks: Sequence[Check]) -> None:
    publish_table(check_rows(checks), "check-sources", check_headline(checks))
    bad_rows = [row for found in checks for row in bad_row_cells(found)]
    publish_table(bad_rows, "check-sources-bad-rows", "The first bad rows of each file")
