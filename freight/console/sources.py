"""`dpa sources`: make a source from a sample, and check or preview sources before a load."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from freight.errors import ConfigurationError
from freight.settings import PROJECT_ROOT, load_settings
from freight.terminal import PlainConsole

WIDE = 1_000  # characters: a truncated value is a wrong value

app = typer.Typer(no_args_is_help=True, help=__doc__)
console = PlainConsole(highlight=False, soft_wrap=True)


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Sources of the catalog; by default all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Read and validate new data, and show what a load would change; exit 1 if it would fail.

    Nothing is written: the load for the comparison is rolled back. For sources with a block use the flow check-sources.
    """
    from freight.catalog import read_catalog
    from freight.console.as_json import print_json
    from freight.console.summary import check_data, check_lines
    from freight.pipeline import check_source
    from freight.warehouse.connect import open_engine
    from freight.warehouse.migrate import require_current

    settings = load_settings()
    engine = open_engine(settings.warehouse_url)
    require_current(engine)
    catalog = read_catalog(settings.catalog).only(names)
    found = [c for source in catalog.sources for c in check_source(engine, source, datetime.now(UTC))]
    if as_json:
        print_json(check_data(found))
    else:
        for line in check_lines(found, catalog):
            console.print(line, markup=False)
    if any(one.outcome.state == "failed" for one in found):
        raise typer.Exit(1)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the source: lower-case letters, digits and _.")],
    sample: Annotated[Path, typer.Argument(help="A file of the source, in the folder of its future files.")],
    dataset: Annotated[str | None, typer.Option(help="Dataset of its rows; by default from its header.")] = None,
    key: Annotated[list[str] | None, typer.Option(help="Column that identifies the rows of a new dataset.")] = None,
    reader: Annotated[
        str | None, typer.Option(help="csv, excel, json, jsonl or access; by default from the file name.")
    ] = None,
    option: Annotated[list[str] | None, typer.Option(help="Option of the reader, such as sheet=Data.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Number of the sample's rows in the test.")] = 20,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the files without writing them.")] = False,
) -> None:
    """Write a source's catalog entry and test; for a new dataset also contract, migration and dictionary.

    An installation gets the catalog entry alone; the other files go into a checkout of the project. Existing files are
    not overwritten. --key and --option may be given more than once.
    """
    from freight.console.scaffolded import next_steps, scaffold_lines
    from freight.scaffold import Wish, scaffold_source

    wish = Wish(name, sample, dataset, key or (), reader, _options(option or ()), rows)
    catalog = load_settings().catalog
    made = scaffold_source(wish, PROJECT_ROOT, catalog, datetime.now(UTC).replace(microsecond=0))
    if not dry_run:
        made.write()
    for line in (*scaffold_lines(made, dry_run=dry_run), *next_steps(name, made)):
        console.print(line, markup=False)


def _options(given: Iterable[str]) -> dict[str, str]:
    """Return options by name."""
    if wrong := next((option for option in given if "=" not in option), None):
        raise ConfigurationError(f"--option {wrong}: write it as name=value, such as sheet=Data")
    named = (option.partition("=") for option in given)
    return {name: value for name, _, value in named}


@app.command()
def preview(
    name: Annotated[str, typer.Argument(help="A source of the catalog.")],
    rows: Annotated[int, typer.Option(min=1, help="Number of rows.")] = 10,
) -> None:
    """Show the first rows of a source as the warehouse would store them, loaded before or not."""
    from freight.catalog import read_catalog
    from freight.console.summary import frame_table
    from freight.pipeline import preview_source
    from freight.warehouse.connect import open_engine

    settings = load_settings()
    source = read_catalog(settings.catalog).named(name)
    engine = open_engine(settings.warehouse_url) if source.lookups else None
    seen = preview_source(source, datetime.now(UTC), rows, engine=engine)
    speaks_for = f"; stands for {seen.speaks_for}" if seen.speaks_for else ""
    console.print(f"{name} {seen.location}{speaks_for}", markup=False)
    if seen.read_as:
        console.print(f"read with {seen.read_as}", markup=False)
    PlainConsole(highlight=False, width=WIDE).print(frame_table(seen.rows))
    if seen.bad_rows:
        console.print(f"bad rows: {seen.bad_rows:,}; dpa sources check {name} shows the first", markup=False)
