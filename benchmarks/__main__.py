"""`make bench`: load one file of simulated transactions by DPA and by what one would use instead.

All targets are empty, all rows are the same, and everything runs in this one call; the figures are medians of repeated
runs and ratios to a limit: COPY of ready rows on PostgreSQL, a bare `executemany` upsert on SQLite.
"""

import argparse
import io
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import psycopg
import sqlalchemy as sa

from benchmarks.peers import load_by_dlt_from_arrow, load_by_dlt_from_rows
from freight.catalog import Catalog, Source
from freight.pipeline import run_catalog
from freight.simulator import COMMA, Corridor, write_csv, write_json
from freight.types import RunId
from freight.warehouse.connect import open_engine
from freight.warehouse.migrate import drop_everything, migrate
from tests.lib.postgres import PostgresServer

DAY = date(2026, 2, 28)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TABLE = "fact_transactions"


def main() -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, PostgresServer(_server_folder()) as server:
        catalog = _write_sources(Path(folder), asked.rows)
        _print("PostgreSQL", "COPY of ready rows", _on_postgres(catalog, server, asked.repeat))
        _print("SQLite", "bare executemany upsert", _on_sqlite(catalog, asked.repeat))


def _server_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="dpa-bench-"))


def _write_sources(folder: Path, rows: int) -> Catalog:
    corridor = Corridor()
    write_json(corridor.machines_on(DAY), folder / "machines_20260101.json")
    write_csv(corridor.transaction_chunks(DAY, rows), folder / "erp_20260301.csv", COMMA)
    machines = Source(name="machines", dataset="machines", reader="json", location="machines*.json")
    erp = Source(name="erp", dataset="transactions", reader="csv", location="erp*.csv")
    return Catalog(sources=(machines, erp), folder=folder)


def _on_postgres(catalog: Catalog, server: PostgresServer, repeat: int) -> dict[str, float]:
    url = server.new_database()
    erp = catalog.folder / "erp_20260301.csv"
    _dpa(url, catalog, 0)
    ready = _ready_rows(url)
    peers: dict[str, Callable[[], object]] = {
        "COPY of ready rows": lambda: _copy(url, ready),
        "DPA": lambda: _dpa(url, catalog, 1),
        "pandas to_sql": lambda: _to_sql(url, erp),
        "dlt merge from Arrow": lambda: load_by_dlt_from_arrow(url, erp),
        "dlt merge from rows": lambda: load_by_dlt_from_rows(url, erp),
    }
    return _medians(peers, repeat)


def _on_sqlite(catalog: Catalog, repeat: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/dpa.sqlite"
        _dpa(url, catalog, 0)
        with sqlite3.connect(f"{folder}/dpa.sqlite") as source:
            definition = source.execute("SELECT sql FROM sqlite_master WHERE name = ?", [TABLE]).fetchone()[0]
            rows = source.execute(f"SELECT * FROM {TABLE}").fetchall()
        peers: dict[str, Callable[[], object]] = {
            "bare executemany upsert": lambda: _execute_many(Path(folder) / "bare.sqlite", definition, rows),
            "DPA": lambda: _dpa(url, catalog, 1),
        }
        return _medians(peers, repeat)


def _medians(peers: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Time every peer `repeat` times in turns, so that a noisy minute does not hit one of them alone."""
    times: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(repeat):
        for name, load in peers.items():
            started = time.perf_counter()
            took = load()
            times[name].append(took if isinstance(took, float) else time.perf_counter() - started)
    return {name: statistics.median(taken) for name, taken in times.items()}


def _dpa(url: str, catalog: Catalog, run: int) -> float:
    """Load into an empty warehouse; return the seconds from the file to the committed rows."""
    engine = open_engine(url)
    drop_everything(engine)
    migrate(engine)
    with tempfile.TemporaryDirectory() as spool:
        started = time.perf_counter()
        report = run_catalog(
            engine, catalog, run_id=RunId(f"bench-{run}"), spool=Path(spool), started_by="bench", clock=lambda: NOW
        )
        took = time.perf_counter() - started
    engine.dispose()
    assert not report.failures, report.failures
    return took


def _ready_rows(url: str) -> bytes:
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        buffer = io.BytesIO()
        with cursor.copy(f"COPY {TABLE} TO STDOUT (FORMAT csv)") as copy:
            for block in copy:
                buffer.write(block)
    return buffer.getvalue()


def _copy(url: str, ready: bytes) -> float:
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE IF EXISTS raw_limit")
        connection.execute(f"CREATE TABLE raw_limit (LIKE {TABLE})")
        connection.execute("ALTER TABLE raw_limit ADD PRIMARY KEY (transaction_id)")
        connection.commit()
        started = time.perf_counter()
        with connection.cursor() as cursor, cursor.copy("COPY raw_limit FROM STDIN (FORMAT csv)") as copy:
            copy.write(ready)
        connection.commit()
        return time.perf_counter() - started


def _to_sql(url: str, erp: Path) -> None:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    pd.read_csv(erp).to_sql("by_pandas", engine, if_exists="replace", index=False)
    engine.dispose()


def _execute_many(path: Path, definition: str, rows: list[tuple[object, ...]]) -> float:
    path.unlink(missing_ok=True)
    marks = ", ".join("?" * len(rows[0]))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(definition)
        started = time.perf_counter()
        connection.executemany(
            f"INSERT INTO {TABLE} VALUES ({marks}) ON CONFLICT (transaction_id) DO UPDATE SET "
            "volume_transferred_t = excluded.volume_transferred_t",
            rows,
        )
        connection.commit()
        return time.perf_counter() - started


def _print(engine: str, limit: str, seconds: dict[str, float]) -> None:
    print(f"\n| {engine} | seconds | speed against {limit} |\n|---|---|---|")
    for name, taken in seconds.items():
        print(f"| {name} | {taken:.2f} | {seconds[limit] / taken:.2f} |")


if __name__ == "__main__":
    main()
