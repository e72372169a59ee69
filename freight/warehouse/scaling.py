"""What a scaler reads and writes: signs of life of listeners, requests to drain, and what it remembers of a stream."""

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
        polled_at: when its loop last turned.
        heartbeat_at: when it wrote this.
        commit_s: how long its commits take of late; None without any.
        drain_requested_at: when it was asked to drain.
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
    """Ask a listener to commit what it has read and to end; it sees that with its next sign of life."""
    asked = stream_listeners.update().where(
        stream_listeners.c.listener_id == listener_id, stream_listeners.c.drain_requested_at.is_(None)
    )
    with transaction(engine) as connection:
        connection.execute(asked.values(drain_requested_at=now))


def note_lost(engine: Engine, life: ListenerLife, now: datetime) -> bool:
    """Note that a listener is gone, unless it has shown a sign of life meanwhile; return whether it is.

    One that was only frozen takes that back with its next sign of life.
    """
    same = (stream_listeners.c.listener_id == life.listener_id) & (stream_listeners.c.heartbeat_at == life.heartbeat_at)
    with transaction(engine) as connection:
        gone = stream_listeners.update().where(same, stream_listeners.c.ended_at.is_(None))
        return connection.execute(gone.values(state=LOST, ended_at=now)).rowcount == 1


@dataclass(frozen=True)
class ScalingMemory:
    """What a scaler remembers of a stream from one look to the next, whichever run of it looks.

    Attributes:
        target: how many listeners there should be; None before the first look.
        capacity: messages a second that one listener managed when there was enough to read; None if unknown.
        changed_at: when the target last changed.
        quiet_since: since when fewer listeners would have been enough.
        lagging_since: since when more messages wait than may.
        told_lagging: whether people were told that.
        told_stopped: whether people were told that no more listeners are started.
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
    """Become or stay the one who scales a stream, and return what is remembered.

    It writes, so it also tells that the warehouse takes writes: where it does not, listeners are silent for no fault of
    theirs.

    Args:
        engine: the warehouse.
        stream: what is scaled.
        run_id: who wants to scale.
        now: the instant to note.
        silent_since: another one that has not looked since then is gone.

    Returns:
        None if another one scales.
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
    """Write down what is remembered and was said; return whether this run still scales the stream."""
    mine = stream_scaling.update().where(_is_of(stream), stream_scaling.c.run_id == run_id)
    with transaction(engine) as connection:
        return connection.execute(mine.values(said=said, **asdict(memory))).rowcount == 1


def hand_over(engine: Engine, stream: Stream, run_id: RunId) -> None:
    """Let another run scale a stream from now on, as if this one had looked long ago."""
    mine = stream_scaling.update().where(_is_of(stream), stream_scaling.c.run_id == run_id)
    with transaction(engine) as connection:
        connection.execute(mine.values(looked_at=EPOCH))


def _is_of(stream: Stream) -> sa.ColumnElement[bool]:
    return (stream_scaling.c.consumer_group == stream.group) & (stream_scaling.c.topic == stream.topic)
