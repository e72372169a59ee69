"""The limit of any load: COPY of ready rows into an empty table with the same columns and primary key.

Run as a program, this module does it: `python -m benchmarks.streaming.copy_rows URL FOLDER FORMAT TABLE`. The folder
holds a file for each COPY, and each is committed; the table is there and empty.
"""

import os
import sys
import time
from pathlib import Path
from typing import Literal

import psycopg

from benchmarks.streaming.figures import Told
from benchmarks.streaming.processes import memory_mib
from freight.contracts import Contract

ROWS_PER_COPY = 30_000  # as many as a micro-batch of DPA holds

Format = Literal["csv", "binary"]


def write_ready_rows(url: str, contract: Contract, folder: Path, form: Format) -> None:
    """Write the rows of a loaded table as COPY takes them, in the order in which they lie in it."""
    folder.mkdir(parents=True)
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SET max_parallel_workers_per_gather = 0")  # or each query would see another order
        rows = cursor.execute(f"SELECT count(*) FROM {contract.table}").fetchone()
        for start in range(0, int(rows[0]) if rows else 0, ROWS_PER_COPY):
            part = f"SELECT * FROM {contract.table} OFFSET {start} LIMIT {ROWS_PER_COPY}"
            with cursor.copy(f"COPY ({part}) TO STDOUT (FORMAT {form})") as copy:
                (folder / f"{start:09}").write_bytes(b"".join(copy))


def make_empty_table(url: str, contract: Contract, name: str, *, only_needed: bool = False) -> None:
    """Make a table with the columns and the primary key of a dataset's, in one piece and without other indexes.

    Args:
        url: of a migrated database.
        contract: of the dataset.
        name: of the new table.
        only_needed: let the columns that are not in the contract's messages be empty.
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
    """COPY file after file."""
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
        Told(rows, seconds, time.process_time() - cpu_s, memory_mib(os.getpid(), "VmHWM")).tell()


if __name__ == "__main__":
    main(*sys.argv[1:])
