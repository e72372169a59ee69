"""Show the first rows of a source as the warehouse would store them, even if only a block reaches it."""

from datetime import UTC, datetime
from typing import Annotated, Any

import polars as pl
from prefect import State, flow
from prefect.states import Completed
from pydantic import Field

from blocks.places import BlockConnections, open_warehouse
from freight import pipeline
from freight.catalog import read_catalog
from freight.settings import load_settings
from freight.words import counted
from tasks.artifacts import publish_table
from tasks.endings import ends_in_words
from tasks.news import told
from tasks.run_names import dated

MOST_ROWS = 100  # Prefect stores them


@told
@flow(name="preview-source", flow_run_name=dated("preview-source"))
@ends_in_words
def preview_source(source: str, rows: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 10) -> State[Any]:
    """Show the first rows of a source, loaded or not, as `dpa sources preview` does.

    Args:
        source: A source of the catalog.
        rows: The number of rows to show.

    Returns:
        Completed, with the rows in the artifact preview-source; or Failed with the reason.
    """
    entry = read_catalog(load_settings().catalog).named(source)
    engine = open_warehouse(None, load_settings()) if entry.lookups else None
    seen = pipeline.preview_source(entry, datetime.now(UTC), rows, BlockConnections(), engine)
    summary = f"{counted(seen.rows.height, 'row')} of {source} {seen.location}; bad rows: {seen.bad_rows:,}"
    summary += f"; read with {seen.read_as}" if seen.read_as else ""
    summary += f"; stands for {seen.speaks_for}" if seen.speaks_for else ""
    publish_table(seen.rows.select(pl.all().cast(pl.String)).to_dicts(), "preview-source", summary)
    return Completed(message=summary, data=seen.rows)
