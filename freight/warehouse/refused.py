"""Find rows that keep their contract but that the warehouse still refuses, by bisection, so that the others load."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import polars as pl
import sqlalchemy as sa
from sqlalchemy.exc import DataError, IntegrityError

MOST_REFUSED = 100  # with more, the table is at fault and not the rows

Write = Callable[[pl.DataFrame], object]


def refused_rows(connection: sa.Connection, frames: Iterable[pl.DataFrame], write: Write) -> pl.DataFrame | None:
    """Return the rows that the warehouse refuses, with the reason in a column `detail`; nothing remains written.

    The result is None if it refuses no single row, or more than `MOST_REFUSED`.

    Args:
        connection: A connection inside a transaction.
        frames: The rows that cannot be written together.
        write: Tries to write some of them.
    """
    refused = (row for frame in frames for row in _refused(connection, frame, write))
    found = list(islice(refused, MOST_REFUSED + 1))
    return pl.concat(found) if 0 < len(found) <= MOST_REFUSED else None


def _refused(connection: sa.Connection, rows: pl.DataFrame, write: Write) -> Iterator[pl.DataFrame]:
    why = _why_refused(connection, rows, write)
    if why is None:
        return
    if rows.height == 1:
        yield rows.with_columns(detail=pl.lit(why))
        return
    middle = rows.height // 2
    yield from _refused(connection, rows[:middle], write)
    yield from _refused(connection, rows[middle:], write)


def _why_refused(connection: sa.Connection, rows: pl.DataFrame, write: Write) -> str | None:
    savepoint = connection.begin_nested()
    try:
        write(rows)
    except (DataError, IntegrityError) as error:
        return str(error.orig).splitlines()[0]
    finally:
        savepoint.rollback()
    return None
