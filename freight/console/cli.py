"""`dpa`: look after a warehouse from the shell."""

import sys
import tomllib
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import uuid4

import typer
from typer.core import TyperGroup

from freight.console.quarantine import app as quarantine_commands
from freight.console.sources import app as source_commands
from freight.errors import ConfigurationError
from freight.exits import exits_in_words
from freight.privacy import keep_private
from freight.settings import PROJECT_ROOT, Settings, load_settings, started_by
from freight.terminal import PlainConsole
from freight.types import Retention, RunId
from freight.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freight.warehouse.connect import Engine
    from freight.warehouse.explain import Explanation

# A command imports its modules when it runs: data libraries take seconds to load, and `--help` needs none of them.

EVERYDAY, CARE, SET_UP = "Everyday", "Proof, repair and housekeeping", "Set-up and demonstration"
IN_ORDER = (
    *("run", "sources", "parked", "retry", "history", "quarantine", "replay", "explain", "export"),
    *("reconcile", "accept-gap", "backup", "purge", "doctor"),
    *("migrate", "demo", "stream", "prefect-login", "alerts", "fetch-access", "reset"),
)


class _InOrder(TyperGroup):
    """Lists the commands by how often people need them, and the one that deletes everything last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return sorted(super().list_commands(ctx), key=IN_ORDER.index)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        print(f"dpa {_version()}")
        raise typer.Exit


def _version() -> str:
    try:
        return version("dpa")
    except PackageNotFoundError:  # a checkout runs without being installed
        project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return str(project["version"])


app = typer.Typer(
    cls=_InOrder, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)
app.add_typer(source_commands, name="sources", rich_help_panel=EVERYDAY)
app.add_typer(quarantine_commands, name="quarantine", rich_help_panel=EVERYDAY)
# By name: the core knows nothing of its orchestration, and this module imports Prefect only when a command runs.
app.add_typer(import_module("deployments.alert_commands").app, name="alerts", rich_help_panel=SET_UP)
console = PlainConsole(highlight=False, soft_wrap=True)

KEEP = Retention()
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """`dpa`: look after a warehouse from the shell."""


def _warehouse() -> "tuple[Settings, Engine]":
    from freight.log import log_to_file
    from freight.warehouse.connect import open_engine

    settings = load_settings()
    log_to_file(settings.logs)
    return settings, open_engine(settings.warehouse_url)


def _current_warehouse() -> "tuple[Settings, Engine]":
    """Open the warehouse, which must have the schema version of this release."""
    from freight.warehouse.migrate import require_current

    settings, engine = _warehouse()
    require_current(engine)
    return settings, engine


@app.command(name="run", rich_help_panel=EVERYDAY)
def run_command(
    sources: Annotated[list[str] | None, typer.Argument(help="Sources of the catalog; by default all.")] = None,
) -> None:
    """Load new files of all sources, or of some; repeating it changes nothing. Exit 1 if a file failed."""
    from freight.console.load import load

    raise typer.Exit(load(sources or None))


@app.command(name="migrate", rich_help_panel=SET_UP)
def migrate_command() -> None:
    """Migrate the warehouse to the schema version of this release."""
    from freight.database_urls import safe_url
    from freight.warehouse.migrate import migrate

    settings, engine = _warehouse()
    console.print(f"{safe_url(settings.warehouse_url)} has schema version {migrate(engine)}")


@app.command(rich_help_panel=SET_UP)
def demo() -> None:
    """Prepare a first run: migrate, and fill the landing folder with simulated files if the catalog is simulated."""
    from freight.catalog import read_catalog
    from freight.simulator import fill_landing
    from freight.warehouse.migrate import migrate

    settings, engine = _warehouse()
    migrate(engine)
    if read_catalog(settings.catalog).simulated:
        summary = fill_landing(settings.landing)
        if summary.written:
            written = f"{counted(summary.rows, 'row')} in {counted(summary.written, 'file')}"
            console.print(f"Simulated {written} under {settings.landing}")


@app.command(rich_help_panel=SET_UP)
def stream(
    rate: Annotated[float, typer.Option(min=0.1, help="Events per second of each topic.")] = 200.0,
    poison: Annotated[float, typer.Option(min=0, max=1, help="Share of events that belong in quarantine.")] = 0.01,
    seconds: Annotated[float | None, typer.Option(min=1, help="Seconds to send; by default until Ctrl-C.")] = None,
) -> None:
    """Stream simulated events through a local Kafka into the warehouse; print a balance, exit 1 if it does not hold.

    Ctrl-C lets the listeners read to the end; a second one ends at once.
    """
    from freight.demo.session import Wishes, stream_demo

    settings, _ = _warehouse()
    if not stream_demo(settings, Wishes(rate, poison, seconds), PlainConsole(highlight=False)):
        raise typer.Exit(1)


@app.command(name="prefect-login", rich_help_panel=SET_UP)
def prefect_login_command() -> None:
    """Show the login of the Prefect that `make up` starts, and the line that sets it in a shell."""
    path = load_settings().prefect_login
    if not path.exists():
        raise ConfigurationError("no Prefect was started here: make up (python bootstrap.py up) starts one")
    print(path.read_text(encoding="utf-8"), end="")  # unchanged: a console would wrap and colour it


@app.command(name="fetch-access", rich_help_panel=SET_UP)
def fetch_access_command() -> None:
    """Fetch the reader for MS Access files, once: Jackcess, by Maven. Windows needs Microsoft's driver instead."""
    from freight.readers.access_jars import fetch_access

    console.print(f"MS Access can be read, with {fetch_access(load_settings().access)}")


@app.command(rich_help_panel=SET_UP)
def reset(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Empty the warehouse: drop and recreate all tables, and delete the demo's topics. Source files stay."""
    from freight.database_urls import safe_url
    from freight.demo.broker import delete_demo_data
    from freight.warehouse.migrate import drop_everything, migrate

    settings, engine = _warehouse()
    place = safe_url(settings.warehouse_url)
    if not yes:
        typer.confirm(f"Delete everything in {place}?", abort=True)
    delete_demo_data(settings.home)
    drop_everything(engine)
    migrate(engine)
    console.print(f"{place} is empty")


@app.command(rich_help_panel=EVERYDAY)
def retry(source: Annotated[str | None, typer.Option(help="Only this source.")] = None) -> None:
    """Release parked files, so that the next run tries them again."""
    from freight.console.named import refuse_unknown_source
    from freight.warehouse import ledger
    from freight.warehouse.connect import transaction

    settings, engine = _current_warehouse()
    refuse_unknown_source(settings, engine, source)
    with transaction(engine) as connection:
        released = ledger.release(connection, source, datetime.now(UTC))
    console.print(f"{counted(released, 'parked file')} will be tried again by the next run")


@app.command(name="parked", rich_help_panel=EVERYDAY)
def parked_command(
    source: Annotated[str | None, typer.Option(help="Only this source or topic.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the files that failed and wait for `dpa retry`, with reason and remedy, and those that are gone."""
    from freight.console.as_json import print_json
    from freight.console.named import refuse_unknown_source
    from freight.warehouse import ledger
    from freight.warehouse.connect import reading

    settings, engine = _current_warehouse()
    refuse_unknown_source(settings, engine, source)
    with reading(engine) as connection:
        found = ledger.all_parked(connection, source)
    if as_json:
        print_json(found)
        return
    for one in found:
        state = "GONE" if one.is_gone else "PARKED"
        console.print(f"{state} since {one.since:%Y-%m-%d %H:%M} UTC {one.source}: {one.message}", markup=False)
    parked = sum(not one.is_gone for one in found)
    console.print(f"Parked files: {parked}" if parked else "No file is parked")


@app.command(name="history", rich_help_panel=EVERYDAY)
def history_command(
    wanted: Annotated[
        str | None, typer.Argument(metavar="[PATH|SOURCE]", help="A file, a source or a topic; by default all.")
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="The number of newest entries.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List what was loaded when, with its counts, and what failed, with its reason; the newest first."""
    from freight.console.as_json import print_json
    from freight.console.history import history_lines
    from freight.warehouse.connect import reading
    from freight.warehouse.history import history

    settings, engine = _current_warehouse()
    with reading(engine) as connection:
        entries = history(connection, wanted and _as_noted(wanted, settings), last)
    if as_json:
        print_json(entries)
        return
    for line in (line for entry in entries for line in history_lines(entry)):
        console.print(line, markup=False)
    if not entries:
        _say_nothing_loaded(wanted, settings)


def _say_nothing_loaded(wanted: str | None, settings: "Settings") -> None:
    from freight.catalog import read_catalog

    if wanted is None:
        console.print("Nothing was loaded yet")
    elif any(source.name == wanted for source in read_catalog(settings.catalog).sources):
        console.print(f"Nothing was loaded from {wanted}", markup=False)
    else:
        console.print(f"Nothing is known of {wanted}: name a source, a topic, or a file of one", markup=False)
        raise typer.Exit(1)


def _as_noted(wanted: str, settings: "Settings") -> str:
    """Return a path as the ledger has it: relative to the home folder if it is inside."""
    path = Path(wanted)
    is_inside = path.exists() and path.resolve().is_relative_to(settings.home.resolve())
    return path.resolve().relative_to(settings.home.resolve()).as_posix() if is_inside else wanted


@app.command(name="reconcile", rich_help_panel=CARE)
def reconcile_command(as_json: AsJson = False) -> None:
    """Prove the ledger against the tables; print any discrepancies and exit 1."""
    from freight.care.reconcile import AGREE, reconcile
    from freight.console.as_json import print_json

    _, engine = _current_warehouse()
    findings = reconcile(engine)
    if as_json:
        print_json(findings)
    else:
        for line in [f"BROKEN {finding}" for finding in findings] or [AGREE]:
            console.print(line, markup=False)
    if findings:
        raise typer.Exit(1)


@app.command(name="explain", rich_help_panel=EVERYDAY)
def explain_command(
    table: Annotated[str, typer.Argument(help="Dataset or its table, such as transactions or fact_transactions.")],
    key: Annotated[str, typer.Argument(help="Business key, such as TRX-1.")],
    as_json: AsJson = False,
) -> None:
    """Show the file, row, run and contract version that a row came from."""
    from freight.console.as_json import print_json
    from freight.warehouse.connect import reading
    from freight.warehouse.explain import explain

    _, engine = _current_warehouse()
    with reading(engine) as connection:
        found = explain(connection, table, key)
    if as_json:
        print_json([{"row": dict(one.row), "lineage": dict(one.lineage)} for one in found])
    elif not found:
        told = "if it was delivered, `dpa quarantine list` and `dpa history` show what became of it"
        console.print(f"{table} has no row {key}; {told}", markup=False)
    else:
        for line in (line for one in found for line in _explained(one)):
            console.print(line, markup=False)
    if not found:
        raise typer.Exit(1)


def _explained(found: "Explanation") -> "Iterator[str]":
    yield from (f"{name:<22} {value}" for name, value in found.row)
    yield from (f"  {name:<20} {value}" for name, value in found.lineage or [("from", "lineage was purged")])


@app.command(name="replay", rich_help_panel=EVERYDAY)
def replay_command(source: Annotated[str | None, typer.Option(help="Only this source or topic.")] = None) -> None:
    """Load quarantined rows that keep the current contract, each once."""
    from freight.catalog import read_catalog
    from freight.quarantine.replay import replay
    from freight.warehouse.runs import noted_run

    settings, engine = _warehouse()
    run_id = RunId(f"replay-{uuid4()}")
    with noted_run(engine, run_id, started_by(), _now):
        outcomes = replay(engine, read_catalog(settings.catalog), run_id=run_id, source=source, clock=_now)
    for outcome in outcomes:
        console.print(str(outcome), markup=False)
    console.print(f"{counted(sum(outcome.counts.read for outcome in outcomes), 'row')} replayed in all")


def _now() -> datetime:
    return datetime.now(UTC)


@app.command(name="export", rich_help_panel=EVERYDAY)
def export_command(
    name: Annotated[str, typer.Argument(help="A view or table, such as v_station_reliability.")],
    file: Annotated[Path, typer.Argument(help="A .csv or .xlsx.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing file.")] = False,
    opened_in: Annotated[
        Literal["excel"] | None,
        typer.Option("--for", help="Program that opens a .csv: a spreadsheet, unless --raw."),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Leave text in a .csv unchanged, for programs.")] = False,
) -> None:
    """Write a view or table into a file; text stays text, even if a spreadsheet opens a .csv."""
    from freight.reports.export import export

    if opened_in and raw:
        raise ConfigurationError("--raw is for programs: leave out --for excel, or --raw")
    _, engine = _current_warehouse()
    console.print(str(export(engine, name, file, replace=replace, raw=raw)), markup=False)


@app.command(rich_help_panel=CARE)
def backup(
    file: Annotated[Path, typer.Argument(help="The copy, such as backup/dwh.sqlite.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing file.")] = False,
) -> None:
    """Copy the warehouse into one file, even while it is in use; on PostgreSQL by pg_dump."""
    from freight.database_urls import safe_url
    from freight.errors import ConfigurationError
    from freight.warehouse.backup import back_up
    from freight.warehouse.connect import embedded_path
    from freight.whole_files import new_file

    settings, engine = _warehouse()
    own = embedded_path(settings.warehouse_url)
    if own and own.resolve() == file.resolve():
        raise ConfigurationError(f"{file} is the warehouse itself: name another file for its copy")
    with new_file(file, replace=replace) as unfinished:
        version = back_up(engine, unfinished)
    place = safe_url(settings.warehouse_url)
    console.print(f"{file} is a copy of {place}, of schema version {version}", markup=False)


@app.command(name="accept-gap", rich_help_panel=CARE)
def accept_gap_command(
    gaps: Annotated[list[int], typer.Argument(help="Numbers of the gaps, from the listener's message.")],
) -> None:
    """Let listeners continue behind messages that are gone for good."""
    from freight.warehouse.streams import accept_gaps

    _, engine = _current_warehouse()
    accepted = accept_gaps(engine, gaps, started_by(), datetime.now(UTC))
    console.print(f"{counted(accepted, 'gap')} accepted; start the listener again")


@app.command(rich_help_panel=CARE)
def doctor(as_json: AsJson = False) -> None:
    """Check which of DPA's files other users can read, and whether parsers are confined; exit 1 if not well."""
    from freight.care.doctor import examine
    from freight.console.as_json import print_json

    findings = [*examine(load_settings())]
    if as_json:
        print_json([{"finding": finding, "remedy": remedy} for finding, remedy in findings])
    else:
        for finding, remedy in findings:
            console.print(f"{finding}. Remedy: {remedy}" if remedy else finding, markup=False)
    if any(remedy for _, remedy in findings):
        raise typer.Exit(1)


@app.command(name="purge", rich_help_panel=CARE)
def purge_command(
    quarantine_days: Annotated[int, typer.Option(min=1, help="Keep quarantine this long.")] = KEEP.quarantine_days,
    lineage_days: Annotated[int, typer.Option(min=1, help="Keep lineage this long.")] = KEEP.lineage_days,
    spool_days: Annotated[
        int, typer.Option(min=0, help="Keep spool files of failed runs this long.")
    ] = KEEP.spool_days,
) -> None:
    """Delete quarantine, lineage and spool files beyond their retention; totals stay in the ledger."""
    from freight.care.maintain import maintain

    settings, engine = _warehouse()
    retention = Retention(quarantine_days, lineage_days, spool_days)
    for name, count in maintain(engine, settings.spool, retention, datetime.now(UTC)).items():
        console.print(f"{name}: {counted(count, 'folder' if name == 'spool' else 'row')} deleted")


def main() -> None:
    """Run a command; print an error of ours in one line, without a traceback."""
    keep_private()
    sys.exit(_run())


@exits_in_words
def _run() -> int:
    app(prog_name="dpa")  # it ends the process by itself
    return 0


if __name__ == "__main__":
    main()
