"""`dpa quarantine`: list rows that break their contract, and let people correct them in a workbook."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer

from freight.quarantine.limits import MOST_ROWS, USUAL_ROWS
from freight.settings import load_settings, started_by
from freight.terminal import PlainConsole
from freight.types import RunId

app = typer.Typer(no_args_is_help=True, help=__doc__)
console = PlainConsole(highlight=False, soft_wrap=True)


@app.command(name="export")
def export_command(
    file: Annotated[Path | None, typer.Argument(help="A new .xlsx; by default in the folder reports.")] = None,
    source: Annotated[str | None, typer.Option(help="Only rows of this source or topic.")] = None,
    rows: Annotated[int, typer.Option(min=1, max=MOST_ROWS, help="The number of newest rows.")] = USUAL_ROWS,
) -> None:
    """Write the quarantined rows into a workbook for people to correct."""
    from freight.console.named import refuse_unknown_source
    from freight.quarantine.book import book_name, write_quarantine_book
    from freight.warehouse.connect import open_engine
    from freight.warehouse.migrate import require_current

    settings = load_settings()
    engine = open_engine(settings.warehouse_url)
    require_current(engine)
    refuse_unknown_source(settings, engine, source)
    path = file or settings.reports / book_name(_now())
    console.print(write_quarantine_book(engine, path, source, rows).summary(path), markup=False)


@app.command(name="import")
def import_command(
    file: Annotated[Path, typer.Argument(help="A workbook from `dpa quarantine export`.")],
    by: Annotated[str | None, typer.Option(help="Who corrected it; by default whoever saved it last.")] = None,
) -> None:
    """Load the corrected rows, each once; exit 1 if some are still wrong."""
    from freight.catalog import read_catalog
    from freight.errors import ConfigurationError
    from freight.log import log_to_file
    from freight.quarantine.corrections import Import, import_corrections
    from freight.readers import find_files
    from freight.warehouse.connect import open_engine
    from freight.warehouse.runs import noted_run

    if not file.is_file():
        raise ConfigurationError(f"there is no file {file}: name a workbook from `dpa quarantine export`")
    settings = load_settings()
    log_to_file(settings.logs)
    engine = open_engine(settings.warehouse_url)
    catalog = read_catalog(settings.catalog)
    (workbook,) = find_files(file.resolve().as_posix(), settings.home)
    run_id = RunId(f"import-{uuid4()}")
    with noted_run(engine, run_id, started_by(), _now):
        outcome = import_corrections(engine, catalog, workbook, Import(run_id, started_by(), by, _now))
    for problem in outcome.problems:
        console.print(f"WRONG {problem}", markup=False)
    console.print(str(outcome), markup=False)
    if outcome.problems:
        raise typer.Exit(1)


@app.command(name="list")
def list_command(
    source: Annotated[str | None, typer.Option(help="Only rows of this source or topic.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list for a program.")] = False,
) -> None:
    """List the rows that wait in quarantine by file and reason, with their age and the first of them."""
    from freight.console.as_json import print_json
    from freight.console.named import refuse_unknown_source
    from freight.console.waiting import EXAMPLES, as_data, waiting_lines
    from freight.warehouse.connect import open_engine, reading
    from freight.warehouse.migrate import require_current
    from freight.warehouse.quarantine import read_as_of, waiting_groups

    settings = load_settings()
    engine = open_engine(settings.warehouse_url)
    require_current(engine)
    refuse_unknown_source(settings, engine, source)
    with reading(engine) as connection:
        groups = waiting_groups(connection, source, EXAMPLES)
        read_as = read_as_of(connection, {row.batch_id for group in groups for row in group.first_rows})
    if as_json:
        print_json([as_data(group, read_as) for group in groups])
        return
    for line in waiting_lines(groups, read_as, _now()):
        console.print(line, markup=False)


def _now() -> datetime:
    return datetime.now(UTC)
