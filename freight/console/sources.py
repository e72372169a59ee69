"""`dpa sources`: make a source from a sample, and look at what sources have before it is loaded."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from freight.errors import ConfigurationError
from freight.settings import PROJECT_ROOT, load_settings
from freight.terminal import Terminal

WIDE = 1_000  # characters: a value that is cut off is a wrong one

app = typer.Typer(no_args_is_help=True, help=__doc__)
console = Terminal(highlight=False, soft_wrap=True)


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Of the catalog; all without a name.")] = None,
) -> None:
    """Read and validate what is new, and tell what loading it would change; exit 1 if something would fail.

    Nothing is written: what is loaded for the comparison is taken back. Sources with a block: the flow check-sources.
    """
    from freight.catalog import read_catalog
    from freight.console.summary import bad_row_lines, check_line
    from freight.pipeline import check_source
    from freight.warehouse.connect import open_engine
    from freight.warehouse.migrate import require_current

    settings = load_settings()
    engine = open_engine(settings.warehouse_url)
    require_current(engine)
    catalog = read_catalog(settings.catalog).only(names)
    found = [c for source in catalog.sources for c in check_source(engine, source, datetime.now(UTC))]
    for name, files in Counter(one.outcome.source for one in found if one.outcome.state == "unchanged").items():
        console.print(f"UNCHANGED {name}: {files} loaded before", markup=False)
    for one in found:
        if one.outcome.state != "unchanged":
            for line in (check_line(one), *(f"  {row}" for row in bad_row_lines(one))):
                console.print(line, markup=False)
    if any(one.outcome.state == "failed" for one in found):
        raise typer.Exit(1)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of the source: lower-case letters, digits and _.")],
    sample: Annotated[Path, typer.Argument(help="A file of it, in the folder where its files will be.")],
    dataset: Annotated[str | None, typer.Option(help="Of its rows; by default the one that its header fits.")] = None,
    key: Annotated[list[str] | None, typer.Option(help="Column that tells rows of a new dataset apart.")] = None,
    reader: Annotated[
        str | None, typer.Option(help="csv, excel, json, jsonl or access; by default by its name.")
    ] = None,
    option: Annotated[list[str] | None, typer.Option(help="Of the reader, such as sheet=Data.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="So many rows of the sample go into the test.")] = 20,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written.")] = False,
) -> None:
    """Write what a source needs: catalog entry and test; of a new dataset contract, migration and dictionary, too.

    An installation gets the catalog entry alone; what else there is goes into a checkout of the project. Nothing that
    is there is overwritten. --key and --option may be given more than once.
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
    name: Annotated[str, typer.Argument(help="Of the catalog.")],
    rows: Annotated[int, typer.Option(min=1, help="So many rows.")] = 10,
) -> None:
    """Show the first rows of a source as the warehouse would have them, loaded before or not."""
    from freight.catalog import read_catalog
    from freight.console.summary import frame_table
    from freight.pipeline import preview_source

    settings = load_settings()
    source = read_catalog(settings.catalog).named(name)
    location, frame, bad_rows = preview_source(source, datetime.now(UTC), rows)
    console.print(f"{name} {location}", markup=False)
    Terminal(highlight=False, width=WIDE).print(frame_table(frame))
    if bad_rows:
        console.print(f"{bad_rows:,} rows of it break the contract: dpa sources check {name}", markup=False)
