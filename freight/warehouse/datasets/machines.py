"""Machines: a snapshot is a set of observations, from which the history of each machine follows."""

import polars as pl
import sqlalchemy as sa

from freight.warehouse import machine_history
from freight.warehouse.upsert import Batch, CountsByBatch, UpsertCounts


class Writer:
    """A snapshot is stated as a whole, so it is one batch."""

    def write(self, connection: sa.Connection, batch: Batch) -> CountsByBatch:
        """See `DatasetWriter`."""
        (batch_id,) = batch.batch_ids
        stated = list(batch.frames())
        if not stated:
            return {batch_id: UpsertCounts()}
        snapshot = pl.concat(stated)
        counts = machine_history.observe(connection, snapshot)
        machine_history.refresh(connection, batch_id, snapshot["machine_id"].to_list())
        return {batch_id: counts}
