"""The limit of any load: COPY of ready rows into an empty table with the same columns and primary key.

Run as a program, this module copies: `python -m benchmarks.streaming.copy_rows URL FOLDER FORMAT TABLE`. The folder
holds a file for each COPY, and each is committed; the table exists and is empty.
"""

import os
import sys
import time
from pathlib import Path
from typing import Literal

import psycopg

from benchmarks.streaming.figures import OwnFigures
from benchmarks.streaming.processes import memory_mib
from freight.contracts import Contract

ROWS_PER_COPY = 30_000  # the size of a micro-batch of DPA

Format = Literal["csv", "binary"]


def write_ready_rows(url: str, contract: Contract, folder: Path, form: Format) -> None:
    """Write the rows of a loaded table for COPY, in their stored order."""
    folder.mkdir(parents=True)
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SET max_parallel_workers_per_gather = 0")  # otherwise each query would see another order
        rows = cursor.execute(f"SELECT count(*) FROM {contract.table}").fetchone()
        for start in range(0, int(rows[0]) if rows else 0, ROWS_PER_COPY):
            part = f"SELECT * FROM {contract.table} OFFSET {start} LIMIT {ROWS_PER_COPY}"
            with cursor.copy(f"COPY ({part}) TO STDOUT (FORMAT {form})") as copy:
                (folder / f"{start:09}").write_bytes(b"".join(copy))


def make_empty_table(url: str, contract: Contract, name: str, *, only_needed: bool = False) -> None:
    """Make a table with the columns and the primary key of a dataset's table, unpartitioned and without other indexes.

    Args:
        url: The URL of a migrated database.
        contract: The contract of the dataset.
        name: The name of the new table.
        only_needed: True to allow nulls in the columns that the contract's messages lack.
    """
    own = {column.name for column in contract.columns}
    with psycopg.connect(url) as connection:
        connection.execute(f"CREATE TABLE {name} (LIKE {contract.table})")
        connection.execute(f"ALTER TABLE {name} ADD PRIMARY KEY ({', '.join(contract.business_key)})")
        names = connection.execute(f"SELECT * FROM {name}").description or []
        for column in names if only_needed else ():
            if column.name not in own:
                connection.execute(f"ALTER TABLE {name} ALTER COLUMN {column.name} DROP NOT NULL")


def main(url: str, folder: str, form: str, table: str) -> None:
    """COPY one file after the other."""
    ready = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
    rows = 0
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cpu_s, started = time.process_time(), time.perf_counter()
        for part in ready:
            with cursor.copy(f"COPY {table} FROM STDIN (FORMAT {form})") as copy:
                copy.write(part)
            connection.commit()
            rows += cursor.rowcount
        seconds = time.perf_counter() - started
        OwnFigures(rows, seconds, time.process_time() - cpu_s, memory_mib(os.getpid(), "VmHWM")).report()


if __name__ == "__main__":
    main(*sys.argv[1:])
