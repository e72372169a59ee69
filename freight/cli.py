"""`dpa`: look after a warehouse from the shell."""

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from freight.catalog import read_catalog
from freight.errors import DpaError
from freight.log import log_to_file
from freight.settings import Settings, load_settings
from freight.simulator import fill_landing
from freight.warehouse import ledger
from freight.warehouse.connect import Engine, open_engine, safe_url, transaction
from freight.warehouse.migrate import drop_everything, migrate

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
console = Console(highlight=False, soft_wrap=True)


def _warehouse() -> tuple[Settings, Engine]:
    settings = load_settings()
    log_to_file(settings.logs)
    return settings, open_engine(settings.warehouse_url)


@app.command(name="migrate")
def migrate_command() -> None:
    """Bring the warehouse to the schema version of this release."""
    settings, engine = _warehouse()
    console.print(f"{safe_url(settings.warehouse_url)} has schema version {migrate(engine)}")


@app.command()
def demo() -> None:
    """Prepare a first run: migrate, and fill the landing folder with simulated files if the catalog wants them."""
    settings, engine = _warehouse()
    migrate(engine)
    if read_catalog(settings.catalog).simulated:
        summary = fill_landing(settings.landing)
        if summary.written:
            console.print(f"Simulated {summary.rows:,} rows in {summary.written} files under {settings.landing}")


@app.command()
def reset(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Empty the warehouse: drop every table and make them again. Source files stay."""
    settings, engine = _warehouse()
    place = safe_url(settings.warehouse_url)
    if not yes:
        typer.confirm(f"Delete everything in {place}?", abort=True)
    drop_everything(engine)
    migrate(engine)
    console.print(f"{place} is empty")


@app.command()
def retry(source: Annotated[str | None, typer.Option(help="Only this source.")] = None) -> None:
    """Let the next run try parked files again."""
    _, engine = _warehouse()
    with transaction(engine) as connection:
        released = ledger.release(connection, source, datetime.now(UTC))
    console.print(f"{released} parked files will be tried again by the next run")


def main() -> None:
    """Run a command; an error of ours is told in one line, without a traceback."""
    try:
        app()
    except DpaError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
