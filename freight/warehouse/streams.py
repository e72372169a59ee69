"""Stream state: the positions of consumer groups in each partition, the gaps, and the live listeners."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa

from freight.contracts import LOCAL_ZONE, Contract, contract_for
from freight.errors import ConfigurationError, OffsetGap
from freight.notation.days import DayOrder
from freight.notation.evidence import Notation
from freight.types import Fingerprint, GapKind, RunId
from freight.warehouse.bulk import insert_missing
from freight.warehouse.connect import Engine, transaction
from freight.warehouse.ledger import LoadUnit
from freight.warehouse.schema import (
    stream_assignments,
    stream_gaps,
    stream_listeners,
    stream_positions,
)

FROZEN_S = 5  # a client that is silent for this long within a transaction is frozen


@dataclass(frozen=True)
class Stream:
    """A topic that one consumer group loads as one dataset.

    Attributes:
        dataset: The dataset whose contract the messages keep.
        topic: The name of the topic; also the name of the source in the ledger.
        group: The consumer group; each group has its own positions.
        time_zone: The zone of times that have no offset.
        simulated: Whether the simulator makes the messages.
        day_first: Whether 03/02/2026 is the 3rd of February; None if nobody has said it. No other message can prove it
            as the rows of a file do, so then such a day is refused.
    """

    dataset: str
    topic: str
    group: str
    time_zone: str = LOCAL_ZONE
    simulated: bool = False
    day_first: bool | None = None

    @property
    def notation(self) -> Notation:
        """The way in which its messages write what can be written in several ways."""
        return Notation(days=DayOrder(self.day_first is not False, is_disputed=self.day_first is None))

    @property
    def contract(self) -> Contract:
        """The contract of the dataset."""
        return contract_for(self.dataset)

    def location(self, partition: int) -> str:
        """Return the ledger's name for a partition."""
        return f"{self.topic}/{partition}"

    def unit(self, run_id: RunId, location: str, content_id: str, as_of: datetime) -> LoadUnit:
        """Return a unit of the stream.

        Args:
            run_id: The run that loads it.
            location: The name of a partition, or of the topic, in the ledger.
            content_id: The content id; see `Fingerprint`.
            as_of: The instant of its newest message.
        """
        return LoadUnit(
            run_id=run_id,
            source=self.topic,
            dataset=self.dataset,
            location=location,
            fingerprint=Fingerprint(content_id),
            as_of=as_of,
            contract_version=self.contract.version,
            simulated=self.simulated,
        )


@dataclass(frozen=True)
class ListenerRef:
    """One process that listens, and the run it belongs to."""

    listener_id: str
    run_id: RunId


@dataclass(frozen=True)
class PartitionLog:
    """The broker's view of a partition.

    Attributes:
        topic_id: The identity of the topic; a recreated topic has another. Empty if the broker has none.
        start, end: The first offset that can still be read, and the one after the last.
        committed: The offset from which Kafka itself would deliver, or None.
    """

    partition: int
    topic_id: str
    start: int
    end: int
    committed: int | None = None


@dataclass(frozen=True)
class Newest:
    """The newest times of a partition's messages before an offset.

    Attributes:
        sent_us: The newest time of sending; 0 without one. It is the least origin of the messages that follow.
        event_us: The newest event time; None without one. It decides which of them are late.
    """

    sent_us: int = 0
    event_us: int | None = None


NO_TIMES = Newest()


@dataclass(frozen=True)
class StreamPosition:
    """The offset up to which a partition has been read."""

    partition: int
    topic_id: str
    first_offset: int
    next_offset: int
    listener_id: str
    newest: Newest = NO_TIMES


def read_positions(connection: sa.Connection, stream: Stream) -> list[StreamPosition]:
    """Return the positions of all partitions, including those of earlier topics of this name."""
    table = stream_positions
    query = sa.select(
        table.c.partition_number,
        table.c.topic_id,
        table.c.first_offset,
        table.c.next_offset,
        table.c.listener_id,
        table.c.newest_sent_us,
        table.c.newest_event_us,
    ).where(table.c.consumer_group == stream.group, table.c.topic == stream.topic)
    found = connection.execute(query.order_by(table.c.partition_number))
    return [
        StreamPosition(p, topic_id, first, following, listener_id, Newest(*newest))
        for p, topic_id, first, following, listener_id, *newest in found
    ]


def take_positions(
    engine: Engine,
    stream: Stream,
    listener: ListenerRef,
    logs: Sequence[PartitionLog],
    assigned: Collection[int],
    now: datetime,
    *,
    from_end: bool = False,
) -> dict[int, StreamPosition]:
    """Return the positions from which to read the assigned partitions, and record the assignment.

    A new group gets positions for the whole topic at once, at the start or at the end of the broker's log; so a
    partition without a position appeared later, and is read from offset 0.

    Args:
        engine: The engine of the warehouse.
        stream: The stream to read.
        listener: The listener that reads it.
        logs: All partitions of the topic.
        assigned: The partitions assigned to the listener.
        now: The instant to record.
        from_end: Whether a new group starts at the end.

    Raises:
        OffsetGap: Messages that were never read are gone, and nobody has accepted the gap.
    """
    given = [log for log in logs if log.partition in assigned]
    with transaction(engine) as connection:
        known = read_positions(connection, stream)
        gaps = [gap for log in given for gap in _gaps(log, known)]
        open_gaps = _note_gaps(connection, stream, gaps, now)
        if not open_gaps:
            _make_positions(connection, stream, listener, logs, known, now, from_end=from_end)
            _close_gaps(connection, stream, gaps, now)
            positions = _current(read_positions(connection, stream), given)
            _note_assignments(connection, stream, listener, given, positions, now)
    if open_gaps:
        raise OffsetGap(_gaps_in_words(stream, open_gaps))
    return positions


@dataclass(frozen=True)
class _Gap:
    partition: int
    topic_id: str
    kind: GapKind
    from_offset: int
    until_offset: int | None


def _gaps(log: PartitionLog, known: Sequence[StreamPosition]) -> list[_Gap]:
    here = [position for position in known if position.partition == log.partition]
    same = next((position for position in here if position.topic_id == log.topic_id), None)
    if same is None:
        earlier = [_Gap(log.partition, p.topic_id, "recreated", p.next_offset, None) for p in here]
        appeared_later = any(position.topic_id == log.topic_id for position in known)
        if appeared_later and log.start > 0:
            return [*earlier, _Gap(log.partition, log.topic_id, "retention", 0, log.start)]
        return earlier
    if same.next_offset < log.start:
        return [_Gap(log.partition, log.topic_id, "retention", same.next_offset, log.start)]
    if same.next_offset > log.end:
        return [_Gap(log.partition, log.topic_id, "truncated", same.next_offset, log.end)]
    return []


def _note_gaps(connection: sa.Connection, stream: Stream, gaps: Sequence[_Gap], now: datetime) -> dict[int, _Gap]:
    """Record new gaps; return those that nobody has accepted, by number."""
    waiting = {}
    for gap in gaps:
        row = connection.execute(sa.select(stream_gaps).where(*_is_gap(stream, gap))).mappings().first()
        if row is None:
            values = {
                "consumer_group": stream.group,
                "topic": stream.topic,
                "topic_id": gap.topic_id,
                "partition_number": gap.partition,
                "kind": gap.kind,
                "from_offset": gap.from_offset,
                "until_offset": gap.until_offset,
                "noted_at": now,
            }
            new = stream_gaps.insert().values(values).returning(stream_gaps.c.gap_id)
            waiting[int(connection.execute(new).scalar_one())] = gap
        elif row["accepted_at"] is None:
            waiting[int(row["gap_id"])] = gap
    return waiting


def _is_gap(stream: Stream, gap: _Gap) -> list[sa.ColumnElement[bool]]:
    table = stream_gaps
    return [
        table.c.consumer_group == stream.group,
        table.c.topic == stream.topic,
        table.c.topic_id == gap.topic_id,
        table.c.partition_number == gap.partition,
        table.c.kind == gap.kind,
        table.c.from_offset == gap.from_offset,
    ]


def _gaps_in_words(stream: Stream, gaps: Mapping[int, _Gap]) -> str:
    said = {
        "retention": "the broker deleted {n} messages that were never read",
        "recreated": "the topic was created again; the old one's messages from offset {from_offset} on are gone",
        "truncated": "the partition ends at {until_offset}, before the position: the broker lost messages",
    }
    lines = [
        f"gap {number}: {stream.location(gap.partition)} from offset {gap.from_offset}: "
        + said[gap.kind].format(n=(gap.until_offset or 0) - gap.from_offset, **asdict(gap))
        for number, gap in gaps.items()
    ]
    numbers = " ".join(str(number) for number in gaps)
    return "\n".join([*lines, f"`dpa accept-gap {numbers}` lets the group {stream.group} continue after it"])


def _make_positions(
    connection: sa.Connection,
    stream: Stream,
    listener: ListenerRef,
    logs: Sequence[PartitionLog],
    known: Sequence[StreamPosition],
    now: datetime,
    *,
    from_end: bool,
) -> None:
    """Insert the missing positions; skip any that another listener inserts at the same time."""
    read_topics = {position.topic_id for position in known}
    there = {(position.partition, position.topic_id) for position in known}
    moved = {"listener_id": listener.listener_id, "moved_at": now}
    shared = {"consumer_group": stream.group, "topic": stream.topic, **moved}
    # Insert only the missing ones: an attempt to insert the others would wait for whoever is moving them.
    missing = [log for log in logs if (log.partition, log.topic_id) not in there]
    rows = []
    for log in missing:
        start = log.end if from_end else log.start
        first = 0 if log.topic_id in read_topics else start
        position = {"partition_number": log.partition, "first_offset": first, "next_offset": first}
        rows.append({**shared, "topic_id": log.topic_id, **position})
    insert_missing(connection, stream_positions, rows)


def _close_gaps(connection: sa.Connection, stream: Stream, gaps: Sequence[_Gap], now: datetime) -> None:
    """Move positions past accepted gaps, even if these have grown since; a position that has moved stays."""
    for gap in gaps:
        closed = stream_gaps.update().where(*_is_gap(stream, gap))
        connection.execute(closed.values(until_offset=gap.until_offset, closed_at=now))
        if gap.until_offset is not None:
            connection.execute(
                stream_positions.update()
                .where(*_is_position(stream, gap.topic_id, gap.partition))
                .where(stream_positions.c.next_offset == gap.from_offset)
                .values(next_offset=gap.until_offset)
            )


def _is_position(stream: Stream, topic_id: str, partition: int) -> list[sa.ColumnElement[bool]]:
    table = stream_positions
    return [
        table.c.consumer_group == stream.group,
        table.c.topic == stream.topic,
        table.c.topic_id == topic_id,
        table.c.partition_number == partition,
    ]


def _current(positions: Sequence[StreamPosition], logs: Sequence[PartitionLog]) -> dict[int, StreamPosition]:
    wanted = {(log.partition, log.topic_id) for log in logs}
    return {p.partition: p for p in positions if (p.partition, p.topic_id) in wanted}


def _note_assignments(
    connection: sa.Connection,
    stream: Stream,
    listener: ListenerRef,
    logs: Sequence[PartitionLog],
    positions: Mapping[int, StreamPosition],
    now: datetime,
) -> None:
    """Record that nothing is read twice or left out: Kafka would redeliver the messages that the position skips."""
    rows = []
    for log in logs:
        position = positions[log.partition]
        redelivered = max(0, position.next_offset - (position.first_offset if log.committed is None else log.committed))
        rows.append(
            {
                **asdict(listener),
                "consumer_group": stream.group,
                "topic": stream.topic,
                "partition_number": log.partition,
                "next_offset": position.next_offset,
                "log_start": log.start,
                "log_end": log.end,
                "redelivered": redelivered,
                "skipped": redelivered,
                "gap": max(0, log.start - position.next_offset),
                "assigned_at": now,
            }
        )
    if rows:
        connection.execute(stream_assignments.insert(), rows)


def accept_gaps(engine: Engine, gap_ids: Sequence[int], accepted_by: str, now: datetime) -> int:
    """Accept gaps so that listeners continue after them; return how many were accepted.

    Raises:
        ConfigurationError: A gap does not exist.
    """
    with transaction(engine) as connection:
        known = set(connection.execute(sa.select(stream_gaps.c.gap_id)).scalars())
        if unknown := sorted(set(gap_ids) - known):
            raise ConfigurationError(f"there is no gap {unknown[0]}: the table stream_gaps lists them")
        waiting = stream_gaps.c.gap_id.in_(gap_ids) & stream_gaps.c.accepted_at.is_(None)
        accepted = stream_gaps.update().where(waiting).values(accepted_at=now, accepted_by=accepted_by)
        return connection.execute(accepted).rowcount


@dataclass(frozen=True)
class ListenerSign:
    """A sign of life of a listener.

    Attributes:
        state: Its current activity, for people.
        partitions: The number of partitions that it holds.
        lag: The number of messages that wait in them.
        messages: The number of messages read since it started.
        polled_at: The instant of its last loop; shows a stuck loop.
        committed_at: The instant of its last commit.
        commit_s: The recent duration of its commits, including waits for the warehouse.
    """

    state: str
    partitions: int
    lag: int
    messages: int
    started_at: datetime
    polled_at: datetime
    committed_at: datetime | None
    ended_at: datetime | None = None
    commit_s: float | None = None


def note_listener(engine: Engine, stream: Stream, listener: ListenerRef, sign: ListenerSign, now: datetime) -> bool:
    """Write a sign of life; return whether the listener was asked to drain."""
    values = {"run_id": listener.run_id, **asdict(sign), "heartbeat_at": now}
    here = stream_listeners.c.listener_id == listener.listener_id
    with transaction(engine) as connection:
        update = stream_listeners.update().where(here).values(values).returning(stream_listeners.c.drain_requested_at)
        known = connection.execute(update).first()
        if known is None:
            new = {"listener_id": listener.listener_id, "consumer_group": stream.group, "topic": stream.topic, **values}
            connection.execute(stream_listeners.insert().values(new))
    return known is not None and known.drain_requested_at is not None


def application_name(stream: Stream) -> str:
    """Return the name that all listeners of a group give their connections; PostgreSQL keeps 63 bytes of it."""
    return f"dpa listen {stream.group}"[:63]


def free_frozen_listeners(engine: Engine, stream: Stream) -> int:
    """Disconnect listeners of this group that hold locks and have gone silent; return how many.

    PostgreSQL waits forever for a client that froze within COPY; its uncommitted work is rolled back. Healthy listeners
    are safe: they open a transaction only when everything is ready, so none of them is silent for seconds.
    """
    if engine.dialect.name != "postgresql":
        return 0
    frozen = sa.text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = :name "
        "AND datname = current_database() AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL "
        "AND (state = 'idle in transaction' OR (state = 'active' AND wait_event = 'ClientRead')) "
        "AND state_change < clock_timestamp() - make_interval(secs => :seconds)"
    )
    with transaction(engine) as connection:
        return int(connection.execute(frozen, {"name": application_name(stream), "seconds": FROZEN_S}).scalar_one())
