"""Stations: upsert them, and keep all of their spellings in a separate table."""

import sqlalchemy as sa

from freight.contracts.headers import fold
from freight.warehouse import machine_history
from freight.warehouse.schema import metadata, station_aliases
from freight.warehouse.upsert import Batch, CountsByBatch, upsert


class Writer:
    """Stations give machines the names of their sites, so a change of a station may re-site facts."""

    def write(self, connection: sa.Connection, batch: Batch) -> CountsByBatch:
        """See `DatasetWriter`."""
        machine_history.lock_history(connection)
        counts = upsert(connection, batch)
        if any(part.inserted or part.updated for part in counts.values()):
            _write_aliases(connection)
            machine_history.refresh(connection, batch.batch_ids[0])
        return counts


def _write_aliases(connection: sa.Connection) -> None:
    stations = metadata.tables["dim_stations"]
    named = connection.execute(
        sa.select(stations.c.station_code, stations.c.station_name).order_by(stations.c.station_code.desc())
    )
    # In descending order, so that of two stations that fold alike the smaller code is written last and wins.
    aliases = {fold(spelling): code for code, name in named for spelling in (code, name)}
    connection.execute(station_aliases.delete())
    if aliases:
        connection.execute(station_aliases.insert(), [{"alias": a, "station_code": c} for a, c in aliases.items()])
