"""The state of a scaler: signs of life of listeners, requests to drain, and its memory of a stream."""

from dataclasses import asdict, dataclass, fields
from datetime import datetime

import sqlalchemy as sa

from freight.types import EPOCH, RunId
from freight.warehouse.connect import Engine, transaction
from freight.warehouse.schema import stream_listeners, stream_scaling
from freight.warehouse.streams import Stream

LOST = "lost"  # state of a listener that went silent


@dataclass(frozen=True)
class ListenerLife:
    """A listener by its last sign of life.

    Attributes:
        polled_at: The instant of its last loop.
        heartbeat_at: The instant of this sign of life.
        commit_s: The recent duration of its commits; None without any.
        drain_requested_at: The instant when it was asked to drain.
    """

    listener_id: str
    run_id: RunId
    state: str
    partitions: int
    started_at: datetime
    polled_at: datetime
    heartbeat_at: datetime
    ended_at: datetime | None = None
    commit_s: float | None = None
    drain_requested_at: datetime | None = None


def read_listeners(connection: sa.Connection, stream: Stream, since: datetime) -> list[ListenerLife]:
    """Return the listeners of a stream that have not ended, and those that ended since an instant."""
    table = stream_listeners
    query = sa.select(*(table.c[field.name] for field in fields(ListenerLife))).where(
        table.c.consumer_group == stream.group,
        table.c.topic == stream.topic,
        table.c.ended_at.is_(None) | (table.c.ended_at >= since),
    )
    return [ListenerLife(*row) for row in connection.execute(query.order_by(table.c.listener_id))]


def request_drain(engine: Engine, listener_id: str, now: datetime) -> None:
    """Ask a listener to commit the messages it has read and end; it sees the request at its next sign of life."""
    asked = stream_listeners.update().where(
        stream_listeners.c.listener_id == listener_id, stream_listeners.c.drain_requested_at.is_(None)
    )
    with transaction(engine) as connection:
        connection.execute(asked.values(drain_requested_at=now))


def note_lost(engine: Engine, life: ListenerLife, now: datetime) -> bool:
    """Record that a listener is lost, unless it has shown a sign of life meanwhile; return whether it is lost.

    A listener that was only frozen reverts this at its next sign of life.
    """
    same = (stream_listeners.c.listener_id == life.listener_id) & (stream_listeners.c.heartbeat_at == life.heartbeat_at)
    with transaction(engine) as connection:
        gone = stream_listeners.update().where(same, stream_listeners.c.ended_at.is_(None))
        return connection.execute(gone.values(state=LOST, ended_at=now)).rowcount == 1


@dataclass(frozen=True)
class ScalingMemory:
    """A scaler's memory of a stream from one look to the next, shared by all of its runs.

    Attributes:
        target: The wanted number of listeners; None before the first look.
        capacity: The messages per second that one listener handled when there was enough to read; None if unknown.
        changed_at: The instant when the target last changed.
        quiet_since: The instant since which fewer listeners would have been enough.
        lagging_since: The instant since which too many messages wait.
        told_lagging: Whether people were notified of the lag.
        told_stopped: Whether people were notified that no more listeners are started.
    """

    target: int | None = None
    capacity: float | None = None
    changed_at: datetime | None = None
    quiet_since: datetime | None = None
    lagging_since: datetime | None = None
    told_lagging: bool = False
    told_stopped: bool = False


def take_over(
    engine: Engine, stream: Stream, run_id: RunId, now: datetime, silent_since: datetime
) -> ScalingMemory | None:
    """Become or remain the scaler of a stream, and return its memory.

    The call writes, so it also proves that the warehouse accepts writes: if it does not, the silence of listeners is
    not their fault.

    Args:
        engine: The engine of the warehouse.
        stream: The stream to scale.
        run_id: The run that wants to scale it.
        now: The instant to record.
        silent_since: Another scaler that has not looked since this instant is gone.

    Returns:
        The memory, or None if another run scales the stream.
    """
    table = stream_scaling
    may = (table.c.run_id == run_id) | (table.c.looked_at < silent_since)
    names = [field.name for field in fields(ScalingMemory)]
    taken = table.update().where(_is_of(stream), may).values(run_id=run_id, looked_at=now)
    with transaction(engine) as connection:
        known = connection.execute(taken.returning(*(table.c[name] for name in names))).first()
        if known is None and connection.execute(sa.select(table.c.run_id).where(_is_of(stream))).first() is None:
            connection.execute(table.insert().values(_first(stream, run_id, now)))
            return ScalingMemory()
    return None if known is None else ScalingMemory(*known)


def _first(stream: Stream, run_id: RunId, now: datetime) -> dict[str, object]:
    key = {"consumer_group": stream.group, "topic": stream.topic}
    return {**key, "run_id": run_id, "looked_at": now, "said": "", **asdict(ScalingMemory())}


def remember(engine: Engine, stream: Stream, run_id: RunId, memory: ScalingMemory, said: str) -> bool:
    """Store the memory and the last statement; return whether this run still scales the stream."""
    mine = stream_scaling.update().where(_is_of(stream), stream_scaling.c.run_id == run_id)
    with transaction(engine) as connection:
        return connection.execute(mine.values(said=said, **asdict(memory))).rowcount == 1


def hand_over(engine: Engine, stream: Stream, run_id: RunId) -> None:
    """Allow another run to scale a stream from now on, as if this one had looked long ago."""
    mine = stream_scaling.update().where(_is_of(stream), stream_scaling.c.run_id == run_id)
    with transaction(engine) as connection:
        connection.execute(mine.values(looked_at=EPOCH))


def _is_of(stream: Stream) -> sa.ColumnElement[bool]:
    return (stream_scaling.c.consumer_group == stream.group) & (stream_scaling.c.topic == stream.topic)
