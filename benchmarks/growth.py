"""How a warehouse on PostgreSQL behaves as it grows: `make bench ARGS="growth"`.

Days of simulated transactions are loaded, file after file, as production loads them. At a hundredth of the rows, at a
tenth and at all of them the same acts are measured, in seconds: what costs the same at each size does not grow with the
warehouse.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from benchmarks import dpa
from freight.care.reconcile import reconcile
from freight.catalog import Catalog
from freight.reports.workbook import write_workbook
from freight.simulator import COMMA, Corridor, write_csv, write_json
from freight.warehouse.connect import Engine, open_engine
from freight.warehouse.migrate import migrate
from freight.warehouse.schema import metadata
from tests.lib.postgres import PostgresServer

ROWS_PER_DAY = 1_000_000
NEXT_ROWS = 800_000
NIGHTLY_ROWS = 2_000
BY_ROW = ("v_transactions", "v_terminal_events")  # have a row for each fact
FACTS = "fact_transactions"
QUERIES = Path(__file__).resolve().parents[1] / "sql" / "advanced_queries.sql"

Figures = dict[str, float]


class Growing:
    """A warehouse that grows by one day of transactions after the other.

    Args:
        url: A new database.
        folder: A folder for the files.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url, folder
        self._corridor = Corridor()
        self._day = dpa.DAY - timedelta(days=400)
        self.engine = open_engine(url)
        migrate(self.engine)
        self.rows = 0

    def grow(self, rows: int) -> None:
        """Load days until the warehouse has a number of transactions."""
        while self.rows < rows:
            self.load(self.next_day(min(ROWS_PER_DAY, rows - self.rows)))

    def next_day(self, rows: int) -> Catalog:
        """Write the files of the next day; return their catalog."""
        self._day += timedelta(days=1)
        folder = self._folder / f"{self._day:%Y%m%d}"
        folder.mkdir()
        write_json(self._corridor.machines_on(self._day), folder / f"machines_{self._day:%Y%m%d}.json")
        write_csv(self._corridor.transaction_chunks(self._day, rows), folder / f"erp_{self._day:%Y%m%d}.csv", COMMA)
        return dpa.catalog_of(folder)

    def load(self, catalog: Catalog) -> float:
        """Load files; return the seconds."""
        seconds, counts = dpa.load_again(self._url, catalog)
        self.rows += counts.inserted
        return seconds

    def forget(self, catalog: Catalog) -> None:
        """Delete the files of a day."""
        shutil.rmtree(catalog.folder)


def main(arguments: Sequence[str]) -> None:
    """Print a Markdown table of what grows."""
    parser = argparse.ArgumentParser(prog="growth", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    asked = parser.parse_args(arguments)
    columns: dict[int, Figures] = {}
    with (
        tempfile.TemporaryDirectory(prefix="dpa-growth-") as scratch,
        tempfile.TemporaryDirectory(prefix="dpa-growth-") as data,
        PostgresServer(Path(data)) as server,
    ):
        growing = Growing(server.new_database(), Path(scratch))
        for rows in (asked.rows // 100, asked.rows // 10, asked.rows):
            growing.grow(rows)
            at = growing.rows
            columns[at] = dict(_figures(growing))
            print(f"measured at {at:,} rows, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    _print(columns)


def _figures(growing: Growing) -> Iterator[tuple[str, float]]:
    """Yield what is measured at a size, and its seconds."""
    day = growing.next_day(NEXT_ROWS)
    yield f"load of the next {NEXT_ROWS:,} new rows", growing.load(day)
    yield f"COPY of {NEXT_ROWS:,} ready rows into the same table", _copy(growing.engine)
    dpa.change_every_tenth(next(day.folder.glob("erp*")))
    yield "the same file with every tenth row changed", growing.load(day)
    growing.forget(day)
    yield f"a nightly of {NIGHTLY_ROWS:,} rows", growing.load(growing.next_day(NIGHTLY_ROWS))
    yield from _read(growing.engine)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xlsx")
        now = datetime.now(UTC)
        yield "the workbook", _seconds(lambda: write_workbook(growing.engine, report, simulated=False, now=now))
    yield "dpa reconcile", _seconds(lambda: _prove(growing.engine))


def _copy(engine: Engine) -> float:
    """Insert the newest facts once more under other keys, and delete them: what COPY alone costs."""
    names = [column.name for column in metadata.tables[FACTS].columns]
    chosen = ", ".join("'RAW-' || transaction_id" if name == "transaction_id" else name for name in names)
    newest = f"SELECT {chosen} FROM {FACTS} WHERE batch_id = (SELECT max(batch_id) FROM {FACTS})"
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.cursor()
        with cursor.copy(f"COPY ({newest}) TO STDOUT (FORMAT binary)") as out:
            ready = b"".join(map(bytes, out))

        def copied() -> None:
            with cursor.copy(f"COPY {FACTS} ({', '.join(names)}) FROM STDIN (FORMAT binary)") as into:
                into.write(ready)

        seconds = _seconds(copied)
        cursor.execute(f"DELETE FROM {FACTS} WHERE transaction_id LIKE 'RAW-%'")
        cursor.execute(f"VACUUM (ANALYZE) {FACTS}")
    return seconds


def _read(engine: Engine) -> Iterator[tuple[str, float]]:
    """Yield the seconds of each view and of each query for analysts."""
    with engine.connect() as connection:
        views = connection.exec_driver_sql(
            "SELECT table_name FROM information_schema.views WHERE table_schema = current_schema() ORDER BY 1"
        ).scalars()
        questions = {view: f"SELECT * FROM {view}" for view in views if view not in BY_ROW}
        statements = QUERIES.read_text(encoding="utf-8").split(";")[:-1]
        questions |= {f"query {number}": text for number, text in enumerate(statements, start=1)}
        for name, question in questions.items():
            yield name, _seconds(lambda question=question: connection.exec_driver_sql(question).all())  # type: ignore[misc]


def _prove(engine: Engine) -> None:
    found = reconcile(engine)
    assert not found, found


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _print(columns: dict[int, Figures]) -> None:
    first, last = min(columns), max(columns)
    print("| seconds | " + " | ".join(f"at {rows:,} rows" for rows in columns) + " | grows by |")
    print("|---|" + "---|" * (len(columns) + 1))
    for name in columns[last]:
        cells = " | ".join(f"{figures[name]:.2f}" for figures in columns.values())
        print(f"| {name} | {cells} | {columns[last][name] / columns[first][name]:.1f} x |")


if __name__ == "__main__":
    main(sys.argv[1:])
