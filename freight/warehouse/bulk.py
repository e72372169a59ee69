"""Write frames into tables as fast as each engine can: COPY on PostgreSQL, executemany on SQLite."""

import io
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from freight.warehouse.connect import is_postgresql

POSTGRES_INSTANT = "%Y-%m-%d %H:%M:%S%.6f+00"
SQLITE_INSTANT = "%Y-%m-%d %H:%M:%S%.6f"


def append(connection: sa.Connection, table: str, frames: Iterable[pl.DataFrame]) -> int:
    """Append frames whose columns are columns of the table; return the number of rows.

    Raises:
        IntegrityError: a key is there already; the transaction (or savepoint) must be rolled back.
    """
    write = _copy if is_postgresql(connection) else _execute_many
    return sum(write(connection, table, frame) for frame in frames)


def append_new(connection: sa.Connection, table: str, frames: Iterable[pl.DataFrame]) -> int | None:
    """Append frames if none of their keys is in the table yet; return the rows, or None and leave no trace."""
    savepoint = connection.begin_nested()
    try:
        rows = append(connection, table, frames)
    except IntegrityError:
        savepoint.rollback()
        return None
    savepoint.commit()
    return rows


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


def _copy(connection: sa.Connection, table: str, frame: pl.DataFrame) -> int:
    buffer = io.BytesIO()
    hexed = [
        pl.concat_str(pl.lit("\\x"), pl.col(n).bin.encode("hex")).alias(n)
        for n, k in frame.schema.items()
        if k == pl.Binary
    ]
    frame.with_columns(hexed).write_csv(
        buffer, include_header=False, datetime_format=POSTGRES_INSTANT, quote_style="necessary"
    )
    statement = f"COPY {table} ({columns_list(frame.columns)}) FROM STDIN (FORMAT csv)"
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(buffer.getbuffer())
    except driver_errors() as error:
        raise _as_sqlalchemy(statement, error) from error
    return frame.height


def driver_errors() -> type[Exception]:
    """Return psycopg's base error; imported late, since an embedded warehouse does not need the driver."""
    import psycopg

    return psycopg.Error


def _as_sqlalchemy(statement: str, error: Exception) -> Exception:
    import psycopg

    return sa.exc.DBAPIError.instance(  # COPY by-passes SQLAlchemy, which would have wrapped the error just so
        statement, None, error, psycopg.Error, connection_invalidated=getattr(error, "sqlstate", None) is None
    )


def _execute_many(connection: sa.Connection, table: str, frame: pl.DataFrame) -> int:
    instants = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    days = [name for name, kind in frame.schema.items() if kind == pl.Date]
    plain = frame.with_columns(pl.col(instants).dt.strftime(SQLITE_INSTANT), pl.col(days).dt.strftime("%Y-%m-%d"))
    marks = ", ".join("?" for _ in plain.columns)
    connection.exec_driver_sql(f"INSERT INTO {table} ({columns_list(plain.columns)}) VALUES ({marks})", plain.rows())
    return plain.height
