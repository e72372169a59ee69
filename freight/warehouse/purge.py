"""Retention: delete data after its time, and keep the totals so that reconcile can still prove the rest."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from freight.types import LoadCounts, Retention
from freight.warehouse.connect import Engine, transaction
from freight.warehouse.ledger import record_purge
from freight.warehouse.partitions import keep_partitions
from freight.warehouse.schema import (
    COUNT_NAMES,
    batches,
    corrections,
    file_positions,
    load_attempt_reasons,
    load_attempt_rows,
    load_attempts,
    quarantine,
    reshapes,
    runs,
    stream_assignments,
    stream_batches,
    stream_listeners,
)


def purge(engine: Engine, retention: Retention, now: datetime) -> dict[str, int]:
    """Delete rows older than their retention; return the deleted rows by table."""
    events = keep_partitions(engine, now)
    lineage_before = now - timedelta(days=retention.lineage_days)
    with transaction(engine) as connection:
        return {
            **events,
            "quarantine": _purge_quarantine(connection, now - timedelta(days=retention.quarantine_days), now),
            "load_attempts": _purge_attempts(connection, now - timedelta(days=retention.quarantine_days)),
            "batches": _purge_batches(connection, lineage_before, now),
            "stream_assignments": _purge_older(connection, stream_assignments.c.assigned_at, lineage_before),
            "stream_listeners": _purge_older(connection, stream_listeners.c.heartbeat_at, lineage_before),
            "corrections": _purge_older(connection, corrections.c.corrected_at, lineage_before),
            "runs": _purge_runs(connection, lineage_before),
        }


def _purge_quarantine(connection: sa.Connection, before: datetime, now: datetime) -> int:
    old = sa.select(batches.c.batch_id).where(batches.c.loaded_at < before)
    groups = connection.execute(
        sa.select(quarantine.c.source, quarantine.c.dataset, sa.func.count())
        .where(quarantine.c.batch_id.in_(old))
        .group_by(quarantine.c.source, quarantine.c.dataset)
    ).all()
    for source, dataset, rows in groups:
        record_purge(connection, "quarantine", source, dataset, "load", rows, LoadCounts(), now)
    return connection.execute(quarantine.delete().where(quarantine.c.batch_id.in_(old))).rowcount


def _purge_attempts(connection: sa.Connection, before: datetime) -> int:
    old = sa.select(load_attempts.c.attempt_id).where(load_attempts.c.attempted_at < before)
    for table in (load_attempt_rows, load_attempt_reasons):
        connection.execute(table.delete().where(table.c.attempt_id.in_(old)))
    return connection.execute(load_attempts.delete().where(load_attempts.c.attempted_at < before)).rowcount


def _purge_batches(connection: sa.Connection, before: datetime, now: datetime) -> int:
    """Fold the counts of old batches into one row per source; positions and quarantine keep their batches.

    Batches of streams stay: they are few, and they account for every offset since the first.
    """
    old = (
        (batches.c.loaded_at < before)
        & batches.c.batch_id.not_in(sa.select(file_positions.c.batch_id))
        & batches.c.batch_id.not_in(sa.select(quarantine.c.batch_id))
        & batches.c.batch_id.not_in(sa.select(stream_batches.c.batch_id))
    )
    names = (batches.c.source, batches.c.dataset, batches.c.cause)
    sums = [sa.func.sum(batches.c[name]) for name in COUNT_NAMES]
    groups = connection.execute(sa.select(*names, sa.func.count(), *sums).where(old).group_by(*names)).all()
    for source, dataset, cause, rows, *counts in groups:
        record_purge(connection, "batches", source, dataset, cause, rows, LoadCounts(*map(int, counts)), now)
    connection.execute(reshapes.delete().where(reshapes.c.batch_id.in_(sa.select(batches.c.batch_id).where(old))))
    return connection.execute(batches.delete().where(old)).rowcount


def _purge_older(connection: sa.Connection, written_at: sa.Column[datetime], before: datetime) -> int:
    return connection.execute(written_at.table.delete().where(written_at < before)).rowcount


def _purge_runs(connection: sa.Connection, before: datetime) -> int:
    old = (runs.c.started_at < before) & runs.c.run_id.not_in(sa.select(batches.c.run_id))
    return connection.execute(runs.delete().where(old)).rowcount
