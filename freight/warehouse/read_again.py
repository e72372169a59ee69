"""What the warehouse remembers of offsets that are read once more, so that their messages get the origin they had."""

from dataclasses import dataclass

import sqlalchemy as sa

from freight.warehouse.connect import Engine, reading
from freight.warehouse.schema import batches, quarantine, stream_batches
from freight.warehouse.stream_load import OffsetRange, quarantined_of
from freight.warehouse.streams import NO_TIMES, Newest, Stream


@dataclass(frozen=True)
class Beginning:
    """An offset of a partition at which the newest times before it are known."""

    offset: int
    newest: Newest = NO_TIMES


def beginning_of(engine: Engine, stream: Stream, wanted: OffsetRange) -> Beginning:
    """Return where the batch begins that holds the first of some offsets.

    If the group has not read them, or only an earlier release has, they begin with their first message.
    """
    query = (
        sa.select(batches.c.first_row, stream_batches.c.sent_before_us, stream_batches.c.event_before_us)
        .join(stream_batches, stream_batches.c.batch_id == batches.c.batch_id)
        .where(
            stream_batches.c.consumer_group == stream.group,
            stream_batches.c.topic == stream.topic,
            stream_batches.c.topic_id == wanted.topic_id,
            stream_batches.c.partition_number == wanted.partition,
            stream_batches.c.sent_before_us.is_not(None),
            batches.c.cause == "load",
            batches.c.first_row <= wanted.from_offset,
        )
        .order_by(batches.c.first_row.desc())
        .limit(1)
    )
    with reading(engine) as connection:
        found = connection.execute(query).first()
    return Beginning(found[0], Newest(*found[1:])) if found else Beginning(wanted.from_offset)


def untimed_offsets(engine: Engine, stream: Stream, wanted: OffsetRange) -> list[int]:
    """Return the offsets whose time was out of range when they were read; later it may no longer be."""
    query = sa.select(quarantine.c.row_number).where(
        quarantined_of(stream, wanted), quarantine.c.reason == "sent_at_out_of_range"
    )
    with reading(engine) as connection:
        return list(connection.execute(query).scalars())
