"""`dpa sources`: look at what sources have before it is loaded."""

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated

import polars as pl
import typer
from rich.console import Console
from rich.table import Table

from freight.catalog import read_catalog
from freight.frames import ROW_NUMBER
from freight.pipeline import Check, check_source, preview_source
from freight.settings import load_settings
from freight.warehouse.connect import open_engine
from freight.warehouse.migrate import require_current

SHOWN_BAD_ROWS, SHOWN_RAW = 5, 200
WIDE = 1_000  # characters: a value that is cut off is a wrong one

app = typer.Typer(no_args_is_help=True, help=__doc__)
console = Console(highlight=False, soft_wrap=True)


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Of the catalog; all without a name.")] = None,
) -> None:
    """Read and validate what is new, and tell what loading it would change; exit 1 if something would fail.

    Nothing is written: what is loaded for the comparison is taken back.
    """
    settings = load_settings()
    engine = open_engine(settings.warehouse_url)
    require_current(engine)
    catalog = read_catalog(settings.catalog).only(names)
    found = [c for source in catalog.sources for c in check_source(engine, catalog, source, datetime.now(UTC))]
    for name, files in Counter(one.outcome.source for one in found if one.outcome.state == "unchanged").items():
        console.print(f"UNCHANGED {name}: {files} loaded before", markup=False)
    for one in found:
        if one.outcome.state != "unchanged":
            _show(one)
    if any(one.outcome.state == "failed" for one in found):
        raise typer.Exit(1)


def _show(one: Check) -> None:
    outcome = one.outcome
    what = outcome.message
    if outcome.state == "loaded":
        counts = outcome.counts
        told = [
            f"{counts.read:,} rows: {counts.inserted:,} new",
            f"{counts.updated:,} changed",
            f"{counts.unchanged:,} unchanged",
            f"{counts.superseded:,} superseded",
            f"{counts.quarantined:,} to quarantine",
        ]
        what = "; ".join(filter(None, [", ".join(told), outcome.message, outcome.drift]))
    state = "DRIFT" if outcome.drift else "OK" if outcome.state == "loaded" else outcome.state.upper()
    console.print(f"{state} {outcome.source} {outcome.location}: {what}", markup=False)
    for row in one.first_bad_rows.head(SHOWN_BAD_ROWS).iter_rows(named=True):
        raw = row["raw"].decode("utf-8", "backslashreplace")[:SHOWN_RAW]
        console.print(f"  row {row[ROW_NUMBER]}: {row['detail'] or row['reason']} in {raw}", markup=False)


@app.command()
def preview(
    name: Annotated[str, typer.Argument(help="Of the catalog.")],
    rows: Annotated[int, typer.Option(min=1, help="So many rows.")] = 10,
) -> None:
    """Show the first rows of a source as the warehouse would have them, loaded before or not."""
    settings = load_settings()
    catalog = read_catalog(settings.catalog).only([name])
    location, frame, bad_rows = preview_source(catalog, catalog.sources[0], datetime.now(UTC), rows)
    console.print(f"{name} {location}", markup=False)
    Console(highlight=False, width=WIDE).print(_table(frame))
    if bad_rows:
        console.print(f"{bad_rows:,} rows of it break the contract: dpa sources check {name}", markup=False)


def _table(frame: pl.DataFrame) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in frame.columns:
        table.add_column(column, no_wrap=True)
    for row in frame.iter_rows():
        table.add_row(*("" if value is None else str(value) for value in row))
    return table
