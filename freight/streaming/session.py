"""A session of a listener: its run, from the note of its start to the note of its end."""

import logging
import os
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from uuid import uuid4

import polars as pl

from freight.errors import ConfigurationError, QuarantineLimitExceeded, TransientError
from freight.frames import PARTITION, ROW_NUMBER
from freight.streaming.consumer import TopicReader
from freight.streaming.listener import ListenerLoop, ListenSettings
from freight.streaming.status import Snapshot, Status
from freight.streaming.threads import Every
from freight.streaming.trouble import Trouble
from freight.types import EPOCH, PasswordSource, RunId
from freight.warehouse import ledger
from freight.warehouse.aggregates import has_marks, refresh_aggregates
from freight.warehouse.connect import Engine, LockTimeouts, open_engine, transaction
from freight.warehouse.ledger import LoadUnit
from freight.warehouse.migrate import require_current
from freight.warehouse.partitions import keep_partitions
from freight.warehouse.streams import ListenerRef, ListenerSign, Stream, application_name, note_listener

log = logging.getLogger("freight")

TIMEOUTS = LockTimeouts(lock_s=5, busy_s=5, idle_s=15)
HEARTBEAT_S = 10.0
AGGREGATES_S = 5.0
PARTITIONS_S = 6 * 3_600.0
DRAINED = "told to drain: fewer listeners are enough"
NOT_BEGUN = "told to stop before the warehouse answered"
AGGREGATES_SHARE = 10.0  # daily statistics take at most a tenth of the time
BEGIN_WAIT_S = 5.0


def topic_of(dataset: str) -> str:
    """Return the default topic of a dataset, such as freight.terminal-events for `terminal_events`."""
    return f"freight.{dataset.replace('_', '-')}"


def open_stream_engine(url: str, stream: Stream, password: PasswordSource | None = None) -> Engine:
    """Return an engine for a listener: with short timeouts, and the group in its application name."""
    return open_engine(url, TIMEOUTS, application_name(stream), password)


def new_listener(run_id: RunId) -> ListenerRef:
    """Return a listener with a unique name."""
    return ListenerRef(f"{platform.node()}-{os.getpid()}-{uuid4().hex[:8]}", run_id)


def listen(
    engine: Engine,
    stream: Stream,
    listener: ListenerRef,
    reader: TopicReader,
    settings: ListenSettings,
    *,
    started_by: str,
    stop: threading.Event,
    status: Status | None = None,
) -> str:
    """Listen until `stop`, a request to drain in the warehouse, or a rule ends it; return the reason.

    Args:
        engine: The engine of the warehouse, from `open_stream_engine`.
        stream: The stream to read.
        listener: The name and the run of the listener.
        reader: The reader of its topic.
        settings: The settings of the listener.
        started_by: The person or program that starts it.
        stop: The event that ends the listener.
        status: The status to update; a new one by default.

    Raises:
        QuarantineLimitExceeded: There were too many bad messages; none of them was committed, and the stream is parked.
        OffsetGap: Messages that were never read are gone.
        ConfigurationError: The broker or the warehouse refuses us, or the stream is parked.
    """
    status, drain = status or Status(), threading.Event()
    if not _has_begun(engine, stream, listener, started_by, stop, status):
        reader.close()
        log.info("%s: %s", stream.topic, NOT_BEGUN)
        return NOT_BEGUN
    outcome = "failed"
    try:
        with _upkeep(engine, stream, listener, status, _setter(drain, stop)):
            why = ListenerLoop(engine, stream, listener, reader, settings, status).run(stop)
        why = DRAINED if drain.is_set() else why
        outcome = "completed"
        log.info("%s: %s; %s", stream.topic, why, status.now().counts)
        return why
    except QuarantineLimitExceeded as error:
        _park(engine, stream, listener, error)
        raise
    finally:
        _end(engine, stream, listener, status, outcome)


def _setter(*events: threading.Event) -> Callable[[], None]:
    def set_all() -> None:
        for event in events:
            event.set()

    return set_all


def _has_begun(
    engine: Engine, stream: Stream, listener: ListenerRef, started_by: str, stop: threading.Event, status: Status
) -> bool:
    """Check that the stream may be loaded, and note the run; wait while the warehouse is away, unless told to stop."""
    trouble = Trouble(f"{stream.topic}: the warehouse answers")
    while not stop.is_set():
        try:
            _begin(engine, stream, listener, started_by)
            trouble.over()
            return True
        except TransientError as error:
            trouble.note(f"{stream.topic} waits: {error}")
            status.tell(state=f"waiting: {error}")
            status.polled()  # the wait is intended: a restart would not help
            stop.wait(BEGIN_WAIT_S)
    return False


def _begin(engine: Engine, stream: Stream, listener: ListenerRef, started_by: str) -> None:
    if stream.contract.event_time is None:
        raise ConfigurationError(f"the dataset {stream.dataset!r} has no event time, so it cannot be streamed")
    require_current(engine)
    keep_partitions(engine, datetime.now(UTC))
    with transaction(engine) as connection:
        ledger.refuse_to_mix(connection, simulated=stream.simulated)
        if ledger.parked(connection, _unit(stream, listener)):
            raise ConfigurationError(
                f"{stream.topic} is parked: too many of its messages were bad, see load_attempts; correct the producer "
                "or the contract, then `dpa retry`"
            )
        ledger.start_run(connection, listener.run_id, started_by, datetime.now(UTC))
    log.info("run %s started by %s: %s as group %s", listener.run_id, started_by, stream.topic, stream.group)


def _unit(stream: Stream, listener: ListenerRef) -> LoadUnit:
    """Return the stream as the unit to park: until it is released, or read with another version of the contract."""
    return stream.unit(listener.run_id, stream.topic, stream.group, EPOCH)


def _park(engine: Engine, stream: Stream, listener: ListenerRef, error: QuarantineLimitExceeded) -> None:
    with transaction(engine) as connection:
        ledger.record_attempt(
            connection,
            _unit(stream, listener),
            fault=error.fault,
            message=str(error),
            now=datetime.now(UTC),
            read_rows=error.read_rows,
            reason_counts=error.reason_counts,
            first_bad_rows=_numbered(error.first_bad_rows, stream),
        )


def _numbered(bad_rows: pl.DataFrame, stream: Stream) -> pl.DataFrame:
    """Number the bad messages of several partitions from 1, and add their coordinates to the detail."""
    place = pl.format(f"{stream.topic}/{{}} offset {{}}: {{}}", PARTITION, ROW_NUMBER, pl.col("detail").fill_null(""))
    numbers = pl.int_range(1, bad_rows.height + 1, eager=True)
    located = bad_rows.with_columns(place.alias("detail")).drop(PARTITION, "origin_us")
    return located.with_columns(numbers.alias(ROW_NUMBER))


@contextmanager
def _upkeep(
    engine: Engine,
    stream: Stream,
    listener: ListenerRef,
    status: Status,
    drain: Callable[[], None],
) -> Iterator[None]:
    """Send heartbeats and keep the daily statistics fresh while the listener works; pass on a request to drain."""

    def show_life() -> None:
        if _note_life(engine, stream, listener, status.now()):
            drain()

    def refresh() -> None:
        if has_marks(engine):
            refresh_aggregates(engine, wait=False)

    with suppress(TransientError):  # the next heartbeat follows soon
        show_life()
    with (
        Every("heartbeat", show_life, HEARTBEAT_S),
        Every("daily statistics", refresh, AGGREGATES_S, AGGREGATES_SHARE),
        Every("partitions", lambda: keep_partitions(engine, datetime.now(UTC)), PARTITIONS_S),
    ):
        yield


def _note_life(
    engine: Engine, stream: Stream, listener: ListenerRef, snapshot: Snapshot, ended_at: datetime | None = None
) -> bool:
    sign = ListenerSign(
        state=snapshot.state,
        partitions=snapshot.partitions,
        lag=snapshot.lag,
        messages=snapshot.messages,
        started_at=snapshot.started_at,
        polled_at=snapshot.polled_at,
        committed_at=snapshot.committed_at,
        ended_at=ended_at,
        commit_s=snapshot.commit_s,
    )
    return note_listener(engine, stream, listener, sign, datetime.now(UTC))


def _end(engine: Engine, stream: Stream, listener: ListenerRef, status: Status, outcome: str) -> None:
    """Note the end; an absent warehouse must not keep the process from ending."""
    status.tell(state=outcome)
    now = datetime.now(UTC)
    try:
        refresh_aggregates(engine, wait=False)
        _note_life(engine, stream, listener, status.now(), now)
        with transaction(engine) as connection:
            ledger.end_run(connection, listener.run_id, outcome, now)
    except TransientError as error:
        log.warning("the end of the run was not recorded: %s", error)
