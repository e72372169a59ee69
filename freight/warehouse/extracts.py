"""Whole tables and views, row by row, for export."""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from freight.errors import ConfigurationError
from freight.warehouse.connect import Engine, reading
from freight.warehouse.dictionary import typed_columns
from freight.warehouse.migrate import views
from freight.warehouse.schema import metadata

ROWS_AT_A_TIME = 10_000


@dataclass
class Extract:
    """The rows of a table or view, which are read as they are consumed.

    Attributes:
        columns: The names of the columns.
        rows: The rows, each once.
        taken: The number of rows consumed so far.
    """

    columns: tuple[str, ...]
    rows: Iterable[sa.Row[Any]]
    taken: int = 0

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for row in self.rows:
            self.taken += 1
            yield tuple(row)


@contextmanager
def extract(engine: Engine, name: str) -> Iterator[Extract]:
    """Yield a table or view as it is at one instant, in no particular order.

    Raises:
        ConfigurationError: The table or view does not exist.
    """
    if name not in views() and name not in metadata.tables:
        raise ConfigurationError(f"there is no table or view {name!r}: the views are {', '.join(views())}")
    streamed = _rows_of(name).execution_options(yield_per=ROWS_AT_A_TIME)
    with reading(engine) as connection, closing(connection.execute(streamed)) as result:
        yield Extract(tuple(result.keys()), result)


def _rows_of(name: str) -> sa.Select[Any]:
    if name in metadata.tables:
        return sa.select(metadata.tables[name])
    return sa.select(*typed_columns(name)).select_from(sa.table(name))
