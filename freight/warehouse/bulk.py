"""Write frames into tables as fast as each engine can: binary COPY on PostgreSQL, inserts of many rows on SQLite."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import polars as pl
import polars.selectors as cs
import pyarrow as pa
import sqlalchemy as sa
from pgpq import ArrowToPostgresBinaryEncoder
from sqlalchemy.exc import IntegrityError

from freight.ahead import ahead
from freight.warehouse.connect import is_postgresql

BLOCK_ROWS = 5_000  # sent at once: the server stores them while the next ones are encoded
FEW_ROWS = 35_000  # working ahead pays off if the first frame has more rows
SQLITE_INSTANT = "%Y-%m-%d %H:%M:%S%.6f"
SQLITE_STATEMENT_ROWS = 500
SQLITE_VARIABLES = 32_766  # the most in one statement


def append(connection: sa.Connection, table: str, frames: Iterable[pl.DataFrame]) -> int:
    """Append frames of one schema, whose columns are columns of the table; return the number of rows.

    A second thread iterates over the frames, so producing them must not use the connection.

    Raises:
        IntegrityError: A key already exists; the transaction (or savepoint) must be rolled back.
    """
    write = _copy if is_postgresql(connection) else _insert
    return write(connection, table, frames)


def append_new(connection: sa.Connection, table: str, frames: Iterable[pl.DataFrame]) -> int | None:
    """Append frames if the table has none of their keys, and return the number of rows; else write nothing: None."""
    savepoint = connection.begin_nested()
    try:
        rows = append(connection, table, frames)
    except IntegrityError:
        savepoint.rollback()
        return None
    savepoint.commit()
    return rows


def insert_missing(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, object]]) -> int:
    """Insert a few rows, except those whose keys exist already; return how many were inserted.

    Args:
        connection: The connection, inside a transaction.
        table: The table.
        rows: The rows by the keys of their columns; all name the same ones.
    """
    if not rows:
        return 0
    columns = [table.c[key] for key in rows[0]]
    names, marks = ", ".join(column.name for column in columns), ", ".join(f":{column.key}" for column in columns)
    statement = sa.text(f"INSERT INTO {table.name} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING")
    typed = statement.bindparams(*(sa.bindparam(column.key, type_=column.type) for column in columns))
    return connection.execute(typed, rows).rowcount


def create_staging(connection: sa.Connection, table: str) -> str:
    """Make an empty temporary table with the columns of a table; return its name. Drop it with `drop_staging`."""
    name = f"staging_{table}"
    columns = f"CREATE TEMPORARY TABLE {name} AS SELECT * FROM {table} WHERE 1 = 0"
    connection.execute(sa.text(columns))
    return name


def drop_staging(connection: sa.Connection, name: str) -> None:
    """Drop a staging table."""
    connection.execute(sa.text(f"DROP TABLE {name}"))


def columns_list(names: Sequence[str]) -> str:
    """Return names as a SQL column list; names come from contracts, never from data."""
    return ", ".join(f'"{name}"' for name in names)


def stored_keys(connection: sa.Connection, table: str, keys: pl.DataFrame) -> pl.Series:
    """Return whether a table in PostgreSQL has each key, as booleans in the order of the keys.

    Args:
        connection: The connection to PostgreSQL.
        table: The table that may have the keys.
        keys: The columns of the table that are unique together.
    """
    names = [f"key_{number}" for number in range(keys.width)]
    same = " AND ".join(f't."{column}" = k.{name}' for column, name in zip(keys.columns, names, strict=True))
    statement = (
        f"SELECT k.ordinal - 1 FROM unnest({', '.join(['%b'] * keys.width)}) "
        f"WITH ORDINALITY AS k ({', '.join(names)}, ordinal) JOIN {table} AS t ON {same}"
    )
    with _driver_cursor(connection, statement) as cursor:
        found = cursor.execute(statement, [column.to_list() for column in keys]).fetchall()
    return pl.int_range(keys.height, eager=True).is_in([ordinal for (ordinal,) in found])


def _copy(connection: sa.Connection, table: str, frames: Iterable[pl.DataFrame]) -> int:
    tables = map(_as_sent_to_postgresql, frames)
    first = next(tables, None)
    if first is None:
        return 0
    statement = f"COPY {table} ({columns_list(first.column_names)}) FROM STDIN (FORMAT binary)"
    with _driver_cursor(connection, statement) as cursor:
        with cursor.copy(statement) as copy:
            blocks = _encoded(first.schema, chain([first], tables))
            for block in blocks if first.num_rows < FEW_ROWS else ahead(blocks):
                copy.write(block)
        return int(cursor.rowcount)


@contextmanager
def _driver_cursor(connection: sa.Connection, statement: str) -> Iterator[Any]:
    """Yield psycopg's own cursor for a statement, and wrap its errors as SQLAlchemy would have."""
    import psycopg  # late, since an embedded warehouse does not need the driver

    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor:
            yield cursor
    except psycopg.Error as error:
        raise sa.exc.DBAPIError.instance(
            statement, None, error, psycopg.Error, connection_invalidated=getattr(error, "sqlstate", None) is None
        ) from error


def _as_sent_to_postgresql(frame: pl.DataFrame) -> pa.Table:
    """Return a frame as Arrow; all our integer columns are BIGINT, and a binary COPY converts nothing."""
    return frame.with_columns(cs.integer().cast(pl.Int64)).to_arrow(compat_level=pl.CompatLevel.oldest())


def _encoded(schema: pa.Schema, tables: Iterable[pa.Table]) -> Iterator[bytes]:
    """Yield the bytes of a binary COPY; PostgreSQL stores them in half the time of text."""
    encoder = ArrowToPostgresBinaryEncoder(schema)
    yield encoder.write_header()
    for table in tables:
        yield from map(encoder.write_batch, table.to_batches(BLOCK_ROWS))
    yield encoder.finish()


def _insert(connection: sa.Connection, table: str, frames: Iterable[pl.DataFrame]) -> int:
    """Insert many rows per statement: for the driver, starting a statement costs more than storing a row."""
    rows = 0
    for frame in ahead(map(_as_stored_in_sqlite, frames)):
        marks = f"({', '.join('?' for _ in frame.columns)})"
        for part in frame.iter_slices(min(SQLITE_STATEMENT_ROWS, SQLITE_VARIABLES // frame.width)):
            statement = f"INSERT INTO {table} ({columns_list(frame.columns)}) VALUES {', '.join([marks] * part.height)}"
            connection.exec_driver_sql(statement, tuple(chain.from_iterable(part.rows())))
        rows += frame.height
    return rows


def _as_stored_in_sqlite(frame: pl.DataFrame) -> pl.DataFrame:
    instants = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    days = [name for name, kind in frame.schema.items() if kind == pl.Date]
    return frame.with_columns(pl.col(instants).dt.strftime(SQLITE_INSTANT), pl.col(days).dt.strftime("%Y-%m-%d"))
