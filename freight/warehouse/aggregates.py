"""Daily site statistics, recomputed from the facts for the days and sites that loads have marked."""

import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import batched
from typing import NamedTuple

import sqlalchemy as sa

from freight.types import instant_of
from freight.warehouse.connect import is_postgresql, reading, transaction
from freight.warehouse.schema import aggr_daily_site_stats, dim_calendar, dirty_marks, metadata

AGGREGATOR_LOCK = 0x44504101  # any number that nothing else locks: one aggregator at a time
DAYS_PER_STATEMENT = 500
EPOCH_DAY = date(1970, 1, 1)


class SiteDay(NamedTuple):
    """A local day at a site; the day counts from 1970-01-01."""

    day_number: int
    site_location: str

    def __str__(self) -> str:
        return f"day {self.day_number}, {self.site_location}"


class SiteStats(NamedTuple):
    """The statistics of a site on one day.

    Attributes:
        total_transactions: The number of transactions.
        total_volume: The freight moved, in tonnes.
        total_alerts: The number of critical alerts.
        active_machines: The number of machines that have transactions.
        as_of: The instant that the newest transaction stands for.
    """

    total_transactions: int
    total_volume: float
    total_alerts: int
    active_machines: int
    as_of: datetime


Stats = dict[SiteDay, SiteStats]


def has_marks(engine: sa.Engine) -> bool:
    """Whether any day is marked as dirty."""
    with reading(engine) as connection:
        return connection.execute(sa.select(dirty_marks.c.mark_id).limit(1)).first() is not None


def refresh_aggregates(engine: sa.Engine, *, wait: bool = True) -> int:
    """Recompute the statistics marked as dirty, in one transaction; return how many rows changed.

    Only rows that differ are written, so a second call changes nothing. Without `wait` the call does nothing while
    another process refreshes.
    """
    with transaction(engine) as connection:
        if is_postgresql(connection):
            if not _is_alone(connection, wait=wait):
                return 0
            # Right after a load the planner knows nothing about the new rows and would sort them all to group them.
            connection.execute(sa.text("SET LOCAL enable_sort = off"))
        taken = connection.execute(
            dirty_marks.delete().returning(dirty_marks.c.day_number, dirty_marks.c.site_location)
        )
        marks = {SiteDay(*mark) for mark in taken}
        days = sorted({mark.day_number for mark in marks})
        return sum(_refresh_days(connection, part, marks) for part in batched(days, DAYS_PER_STATEMENT))


def _is_alone(connection: sa.Connection, *, wait: bool) -> bool:
    if wait:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(AGGREGATOR_LOCK)))
        return True
    return bool(connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(AGGREGATOR_LOCK))).scalar_one())


def _refresh_days(connection: sa.Connection, days: Sequence[int], marks: set[SiteDay]) -> int:
    wanted = {key: row for key, row in recompute(connection, days).items() if key in marks}
    stored = {key: row for key, row in stored_stats(connection, days).items() if key in marks}
    stale = [key for key in stored if not same_stats(stored[key], wanted.get(key))]
    fresh = [_stats_row(key, row) for key, row in wanted.items() if not same_stats(stored.get(key), row)]
    for day, site in stale:
        connection.execute(
            aggr_daily_site_stats.delete().where(
                aggr_daily_site_stats.c.day_number == day, aggr_daily_site_stats.c.site_location == site
            )
        )
    if fresh:
        _ensure_calendar(connection, min(days), max(days))
        connection.execute(aggr_daily_site_stats.insert(), fresh)
    return len(stale) + sum(1 for key in wanted if key not in stored)


def same_stats(one: SiteStats | None, other: SiteStats | None) -> bool:
    """Whether two statistics agree to 1e-9, since a sum of doubles depends on the order of its terms."""
    if one is None or other is None:
        return one is other
    return all(a == b or _close(a, b) for a, b in zip(one, other, strict=True))


def _close(a: object, b: object) -> bool:
    return isinstance(a, float) and isinstance(b, float) and math.isclose(a, b, rel_tol=1e-9)


def recompute(connection: sa.Connection, days: Sequence[int] | None = None) -> Stats:
    """Compute the statistics from the facts, for some days or for all."""
    facts = metadata.tables["fact_transactions"]
    # Grouped by machine first: to count the distinct machines of millions of facts, PostgreSQL would sort them all.
    # SQLite sorts anyway, fastest by the column that differs most.
    group = (facts.c.machine_id, facts.c.site_location, facts.c.day_number)
    by_machine = sa.select(
        *group,
        sa.func.count().label("transactions"),
        sa.func.sum(facts.c.volume_transferred_t).label("volume"),
        sa.func.sum(sa.case((facts.c.critical_alert, 1), else_=0)).label("alerts"),
        sa.func.max(facts.c.origin_us).label("origin_us"),
    ).group_by(*group)
    if days is not None:
        by_machine = by_machine.where(facts.c.day_number.in_(days))
    part = by_machine.subquery().c
    query = sa.select(
        part.day_number,
        part.site_location,
        sa.cast(sa.func.sum(part.transactions), sa.BigInteger),
        sa.func.coalesce(sa.func.sum(part.volume), 0.0),
        sa.cast(sa.func.sum(part.alerts), sa.BigInteger),
        sa.func.count(),
        sa.func.max(part.origin_us),
    ).group_by(part.day_number, part.site_location)
    return {
        SiteDay(day, site): SiteStats(transactions, volume_t, alerts, machines, instant_of(origin_us))
        for day, site, transactions, volume_t, alerts, machines, origin_us in connection.execute(query)
    }


def stored_stats(connection: sa.Connection, days: Sequence[int] | None = None) -> Stats:
    """Return the stored statistics, for some days or for all."""
    stats = aggr_daily_site_stats
    query = sa.select(*(stats.c[name] for name in (*SiteDay._fields, *SiteStats._fields)))
    if days is not None:
        query = query.where(stats.c.day_number.in_(days))
    return {SiteDay(day, site): SiteStats(*figures) for day, site, *figures in connection.execute(query)}


def _stats_row(key: SiteDay, row: SiteStats) -> dict[str, object]:
    return {**key._asdict(), "transaction_date": day_of(key.day_number), **row._asdict()}


def day_of(day_number: int) -> date:
    """Return the date of a day number (days since 1970-01-01)."""
    return EPOCH_DAY + timedelta(days=day_number)


def _ensure_calendar(connection: sa.Connection, first: int, last: int) -> None:
    """Fill the calendar with every day from the first fact to the last, without gaps."""
    bounds = sa.select(sa.func.min(dim_calendar.c.day_number), sa.func.max(dim_calendar.c.day_number))
    low, high = connection.execute(bounds).one()
    known = range(0) if low is None else range(low, high + 1)
    span = range(first, last + 1) if low is None else range(min(first, low), max(last, high) + 1)
    missing = [_calendar_row(day) for day in span if day not in known]
    if missing:
        connection.execute(dim_calendar.insert(), missing)


def _calendar_row(day_number: int) -> dict[str, object]:
    day = day_of(day_number)
    iso = day.isocalendar()
    return {
        "day_number": day_number,
        "calendar_date": day,
        "calendar_year": day.year,
        "calendar_month": day.month,
        "day_of_month": day.day,
        "iso_year": iso.year,
        "iso_week": iso.week,
        "iso_weekday": iso.weekday,
    }
