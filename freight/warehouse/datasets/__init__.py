"""Writers for the rows of datasets, found by module: a module named after a dataset has a `Writer`.

A dataset without one is upserted as its contract says.
"""

from functools import cache
from typing import Protocol

import sqlalchemy as sa

from freight.contracts import by_dataset
from freight.warehouse.upsert import Batch, CountsByBatch, upsert


class DatasetWriter(Protocol):
    """Writes the rows of one dataset; it may cache the data it has read for the following batches."""

    def write(self, connection: sa.Connection, batch: Batch) -> CountsByBatch:
        """Write the rows of a batch, and everything derived from them, in the caller's transaction."""


class Upserter:
    """Writes the rows as their contract says; see `DatasetWriter`."""

    def write(self, connection: sa.Connection, batch: Batch) -> CountsByBatch:
        """See `DatasetWriter`."""
        return upsert(connection, batch)


@cache
def writers() -> dict[str, type[DatasetWriter]]:
    """Return every writer by dataset slug."""
    return by_dataset(__name__, "Writer")


class RowWriter:
    """Writes the rows of batches of any dataset; a caller that loads many keeps one for its writers' caches."""

    def __init__(self) -> None:
        self._writers: dict[str, DatasetWriter] = {}

    def write(self, connection: sa.Connection, batch: Batch) -> CountsByBatch:
        """See `DatasetWriter`."""
        dataset = batch.contract.dataset
        if dataset not in self._writers:
            self._writers[dataset] = writers().get(dataset, Upserter)()
        return self._writers[dataset].write(connection, batch)
