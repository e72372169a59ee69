"""The limits and the usual alternatives: COPY, executemany, pandas, dlt."""

import csv
import io
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import dlt
import pandas as pd
import psycopg
import pyarrow.csv as pacsv
import sqlalchemy as sa

TABLE = "fact_transactions"


def settle(url: str) -> None:
    """Make a PostgreSQL server write its pending data to disk."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    os.sync()


def ready_rows(url: str) -> bytes:
    """Return the facts of a PostgreSQL warehouse as COPY writes them."""
    buffer = io.BytesIO()
    with (
        psycopg.connect(url) as connection,
        connection.cursor() as cursor,
        cursor.copy(f"COPY {TABLE} TO STDOUT (FORMAT csv)") as copy,
    ):
        for block in copy:
            buffer.write(block)
    return buffer.getvalue()


def copy_ready_rows(url: str, ready: bytes) -> float:
    """COPY ready rows into an empty table with a primary key: the limit of any load."""
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


def stored_rows(warehouse: Path) -> tuple[str, list[tuple[object, ...]]]:
    """Return the definition of the fact table of a SQLite warehouse, and its rows."""
    with sqlite3.connect(warehouse) as connection:
        definition = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", [TABLE]).fetchone()[0]
        return definition, connection.execute(f"SELECT * FROM {TABLE}").fetchall()


def execute_many(target: Path, definition: str, rows: list[tuple[object, ...]]) -> float:
    """Upsert ready rows into an empty SQLite file with one `executemany`: the limit of any load from Python."""
    target.unlink(missing_ok=True)
    marks = ", ".join("?" * len(rows[0]))
    with sqlite3.connect(target) as connection:
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


def load_by_pandas(url: str, erp: Path) -> None:
    """Append with `DataFrame.to_sql`, which neither validates nor upserts."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    pd.read_csv(erp).to_sql("by_pandas", engine, if_exists="replace", index=False)
    engine.dispose()


def load_by_dlt_from_rows(url: str, erp: Path) -> None:
    """Merge the rows of a CSV file as dictionaries."""

    def rows() -> Iterator[dict[str, str]]:
        with erp.open(encoding="utf-8", newline="") as stream:
            yield from csv.DictReader(stream)

    _merge(url, rows)


def load_by_dlt_from_arrow(url: str, erp: Path) -> None:
    """Merge a CSV file that Arrow has parsed."""
    _merge(url, lambda: iter([pacsv.read_csv(erp)]))


def _merge(url: str, data: Any) -> None:
    resource = dlt.resource(
        data,
        name="by_dlt",
        primary_key="transaction_id",
        write_disposition={"disposition": "merge", "strategy": "upsert"},
    )
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            pipeline_name="bench",
            pipelines_dir=folder,
            # the benchmark's server accepts everybody, but dlt requires a password
            destination=dlt.destinations.postgres(url.replace("postgres@", "postgres:unused@")),
            dataset_name=f"peer_{uuid4().hex}",  # a new schema each time: the target is empty
        )
        pipeline.run(resource)
