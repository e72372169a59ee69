"""Order within a partition: its newest time of sending, kept with the position and at the beginning of each batch.

A position begins with the newest time that its batches state, so that the next messages are newer than the stored ones.
An earlier release took times of any size: one that was more than a day ahead of its load does not count, as now.
"""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_AHEAD = timedelta(days=1)

PARTITION = ("consumer_group", "topic", "topic_id", "partition_number")
BATCHES = sa.table("batches", sa.column("batch_id", BIG), sa.column("as_of", INSTANT), sa.column("loaded_at", INSTANT))
STREAMED = sa.table("stream_batches", sa.column("batch_id", BIG), *map(sa.column, PARTITION))
POSITIONS = sa.table("stream_positions", sa.column("newest_sent_us", BIG), *map(sa.column, PARTITION))


def upgrade() -> None:
    op.add_column("stream_positions", sa.Column("newest_sent_us", BIG, nullable=False, server_default="0"))
    op.add_column("stream_batches", sa.Column("sent_before_us", BIG))
    op.add_column("stream_batches", sa.Column("event_before_us", BIG))
    connection = op.get_bind()
    for partition, newest in _newest().items():
        here = [POSITIONS.c[name] == value for name, value in zip(PARTITION, partition, strict=True)]
        connection.execute(POSITIONS.update().where(*here).values(newest_sent_us=newest))


def _newest() -> dict[tuple[object, ...], int]:
    """Return the newest usable time of each partition, in microseconds since 1970."""
    newest: dict[tuple[object, ...], int] = {}
    columns = (BATCHES.c.as_of, BATCHES.c.loaded_at, *(STREAMED.c[name] for name in PARTITION))
    query = sa.select(*columns).join(STREAMED, STREAMED.c.batch_id == BATCHES.c.batch_id)
    for as_of, loaded_at, *partition in op.get_bind().execute(query):
        if as_of <= loaded_at + MOST_AHEAD:
            sent_us = (as_of.replace(tzinfo=as_of.tzinfo or UTC) - EPOCH) // timedelta(microseconds=1)
            newest[tuple(partition)] = max(newest.get(tuple(partition), 0), sent_us)
    return newest
