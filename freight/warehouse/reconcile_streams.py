"""Prove the ledger of streams: every offset between a position's first and next offset is accounted for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from freight.warehouse.schema import batches, stream_batches, stream_gaps, stream_positions

PARTITION_KEY = ("consumer_group", "topic", "topic_id", "partition_number")


@dataclass(frozen=True)
class Piece:
    """Offsets [from_offset, until_offset) that were read, or that are gone."""

    from_offset: int
    until_offset: int
    what: str


@dataclass(frozen=True)
class Break:
    """A break in the offsets of a partition, where they are not consecutive."""

    partition: str
    expected: object
    found: object


def broken_partitions(connection: sa.Connection) -> Iterator[Break]:
    """Yield each partition whose offsets are not all accounted for, once."""
    pieces = _pieces(connection)
    columns = [stream_positions.c[name] for name in (*PARTITION_KEY, "first_offset", "next_offset")]
    for *key, first, following in connection.execute(sa.select(*columns)):
        name = f"{key[1]}/{key[3]} of group {key[0]}"
        found = pieces.pop(tuple(key), [])
        yield from (Break(name, *wrong) for wrong in _breaks(found, first, following))
    for left in pieces:
        yield Break(f"{left[1]}/{left[3]} of group {left[0]}", "a position", None)


def overfull_batches(connection: sa.Connection) -> Iterator[Break]:
    """Yield stream batches that count more messages than they have offsets."""
    span = batches.c.last_row - batches.c.first_row + 1
    query = sa.select(batches.c.location, batches.c.batch_id, span, batches.c.read_rows).join(
        stream_batches, stream_batches.c.batch_id == batches.c.batch_id
    )
    for location, batch_id, offsets, messages in connection.execute(query.where(batches.c.read_rows > span)):
        yield Break(f"batch {batch_id} ({location})", f"at most {offsets} messages", messages)


def _pieces(connection: sa.Connection) -> dict[tuple[object, ...], list[Piece]]:
    found: dict[tuple[object, ...], list[Piece]] = {}
    read = (
        sa.select(*(stream_batches.c[name] for name in PARTITION_KEY), batches.c.first_row, batches.c.last_row + 1)
        .join(batches, batches.c.batch_id == stream_batches.c.batch_id)
        .where(batches.c.cause == "load")
        .order_by(batches.c.batch_id)
    )
    gone = sa.select(
        *(stream_gaps.c[name] for name in PARTITION_KEY), stream_gaps.c.from_offset, stream_gaps.c.until_offset
    ).where(stream_gaps.c.closed_at.is_not(None), stream_gaps.c.until_offset.is_not(None))
    for what, query in (("read", read), ("gone", gone)):
        for *key, start, end in connection.execute(query):
            found.setdefault(tuple(key), []).append(Piece(start, end, what))
    return found


def _breaks(pieces: Sequence[Piece], first: int, following: int) -> Iterator[tuple[object, object]]:
    """Follow the pieces from the first offset to the next one."""
    if any(piece.until_offset < piece.from_offset for piece in pieces):
        # The broker lost messages and used their offsets again: only the sum can be proved.
        total = sum(piece.until_offset - piece.from_offset for piece in pieces)
        if total != following - first:
            yield f"{following - first} offsets", total
        return
    reached = first
    for piece in sorted(pieces, key=lambda piece: (piece.from_offset, piece.until_offset)):
        if piece.from_offset != reached:
            yield f"offset {reached} to follow", f"{piece.what} from {piece.from_offset}"
            return
        reached = piece.until_offset
    if reached != following:
        yield f"read up to offset {following}", reached
