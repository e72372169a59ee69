"""Machines: a snapshot is a set of observations; the history of each machine derives from them."""

import polars as pl
import sqlalchemy as sa

from freight.warehouse import machine_history
from freight.warehouse.upsert import Batch, CountsByBatch, UpsertCounts


class Writer:
    """Writes a snapshot as one batch, since it is a single statement."""

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
