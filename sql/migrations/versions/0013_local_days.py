"""Local days: the day in a file name begins at local midnight, no longer at midnight UTC.

What was loaded from such a file gets the origin that it would get now, so that it compares with later deliveries, and a
machine moves at the midnight of its day. The zone is that of the corridor: the catalog, which may name another one for
a source, is not known here. The statistics of the days concerned are marked; `migrate` computes them again.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)

DAY_IN_NAME = re.compile(r"(?<!\d)(20\d{2})[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?!\d)")
TIME_AFTER_DAY = re.compile(r"[ _.T-]((?:[01]\d|2[0-3])[hH:]?[0-5]\d(?:[mM:]?[0-5]\d)?)(?![0-9A-Za-z])")
LOCAL = timedelta(hours=1)  # Africa/Douala, all year
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND_US, DAY_US = 1_000_000, 86_400_000_000
STEPS = ((9 * DAY_US, SECOND_US // 20), (365 * DAY_US, SECOND_US), (24 * 365 * DAY_US, 60 * SECOND_US))

BATCHES = sa.table(
    "batches",
    *(sa.column(name) for name in ("source", "location", "file_hash")),
    sa.column("batch_id", BIG),
    sa.column("as_of", INSTANT),
)
POSITIONS = sa.table(
    "file_positions", *(sa.column(name) for name in ("source", "location", "file_hash")), sa.column("modified_us", BIG)
)
STREAMED = sa.table("stream_batches", sa.column("batch_id", BIG))
MOVED = sa.table("moved_batches", sa.column("batch_id", BIG), sa.column("by_us", BIG))
# The tables whose rows have the origin of their batch.
BY_BATCH = ("fact_transactions", "dim_stations", "machine_observations", "quarantine", "file_positions")


def upgrade() -> None:
    op.execute("CREATE TEMPORARY TABLE moved_batches (batch_id BIGINT PRIMARY KEY, by_us BIGINT NOT NULL)")
    if moved := [*_moved()]:
        op.bulk_insert(MOVED, moved)
        for table in BY_BATCH:
            op.execute(
                f"UPDATE {table} SET origin_us = origin_us + (SELECT m.by_us FROM moved_batches AS m "
                f"WHERE m.batch_id = {table}.batch_id) "
                f"WHERE batch_id IN (SELECT batch_id FROM moved_batches) AND origin_us % {DAY_US} < {SECOND_US}"
            )
        op.execute(
            "INSERT INTO dirty_marks (batch_id, day_number, site_location) "
            "SELECT MIN(batch_id), day_number, site_location FROM fact_transactions "
            "WHERE batch_id IN (SELECT batch_id FROM moved_batches) GROUP BY day_number, site_location"
        )
    op.execute("DROP TABLE moved_batches")


def _moved() -> Iterator[dict[str, int]]:
    """Move `as_of` of every batch of a file with a day in its name; yield by how many microseconds."""
    connection = op.get_bind()
    for batch_id, location, stored, changed_us in connection.execute(_files()).all():
        as_of = stored.replace(tzinfo=stored.tzinfo or UTC)
        by_us = _by_us(location, as_of, changed_us)
        if by_us is not None:
            moved = as_of + timedelta(microseconds=by_us)
            value = moved if connection.dialect.name == "postgresql" else moved.replace(tzinfo=None)
            connection.execute(BATCHES.update().where(BATCHES.c.batch_id == batch_id).values(as_of=value))
            yield {"batch_id": batch_id, "by_us": by_us}


def _files() -> sa.Select[tuple[int, str, datetime, int | None]]:
    """Return the batches that no stream has made, with the last change of the file if that is known."""
    same = sa.and_(*(POSITIONS.c[name] == BATCHES.c[name] for name in ("source", "location", "file_hash")))
    columns = (BATCHES.c.batch_id, BATCHES.c.location, BATCHES.c.as_of, POSITIONS.c.modified_us)
    return (
        sa.select(*columns)
        .select_from(BATCHES.outerjoin(POSITIONS, same))
        .where(BATCHES.c.batch_id.not_in(sa.select(STREAMED.c.batch_id)))
    )


def _by_us(location: str, as_of: datetime, changed_us: int | None) -> int | None:
    """Return by how much the origin of a file moves; None if it is not the midnight UTC of a day in its name."""
    for found in reversed([*DAY_IN_NAME.finditer(location)]):
        midnight = _midnight(*found.groups())
        if midnight and timedelta() <= as_of - midnight < timedelta(seconds=1):
            return _of_name(midnight, location[found.end() :], changed_us)
    return None


def _of_name(midnight: datetime, rest: str, changed_us: int | None) -> int:
    clock = TIME_AFTER_DAY.match(rest)
    hour, minute, second = [*map(int, re.findall(r"\d\d", clock[1] if clock else "")), 0, 0, 0][:3]
    stated = midnight - LOCAL + timedelta(hours=hour, minutes=minute, seconds=second)
    steps = _steps(changed_us - (stated - EPOCH) // timedelta(microseconds=1)) if changed_us else 0
    return (stated - midnight) // timedelta(microseconds=1) + (steps // 60 if second else steps)


def _midnight(year: str, month: str, day: str) -> datetime | None:
    try:
        return datetime(int(year), int(month), int(day), tzinfo=UTC)
    except ValueError:
        return None


def _steps(since_stated_us: int) -> int:
    left_us, steps = since_stated_us + DAY_US, 0
    for span_us, step_us in STEPS:
        steps += min(max(left_us, 0), span_us) // step_us
        left_us -= span_us
    return steps
