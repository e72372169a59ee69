"""The content of a warehouse: compares it, empties it, and finds the remains of a half-done load."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from freight.warehouse.connect import Engine, reading, transaction
from freight.warehouse.schema import metadata

# The run and the time of a load differ between two ways to the same tables.
TECHNICAL = {"batch_id", "loaded_at", "run_id", "quarantine_id", "mark_id", "replayed_batch_id"}
DATA_TABLES = ("dim_stations", "dim_machines", "fact_transactions", "machine_observations", "quarantine")
JOURNALS = {
    "runs",
    "load_attempts",
    "load_attempt_reasons",
    "load_attempt_rows",
    "purges",
    "schema_views",
    "history_changes",
}
LEDGER = {"batches", "file_positions", "quarantine"}

Content = dict[str, list[tuple[Any, ...]]]


def content_of(engine: Engine, without: Collection[str] = ()) -> Content:
    """Return the rows of all tables except the journals, sorted and without technical columns."""
    tables = [table for name, table in metadata.tables.items() if name not in JOURNALS and name not in without]
    with reading(engine) as connection:
        return {table.name: sorted(_comparable_rows(connection, table), key=repr) for table in tables}


def _comparable_rows(connection: sa.Connection, table: sa.Table) -> Iterator[tuple[Any, ...]]:
    columns = [column for column in table.c if column.name not in TECHNICAL]
    for row in connection.execute(sa.select(*columns)):
        yield tuple(_comparable(value) for value in row)


def _comparable(value: object) -> object:
    if isinstance(value, memoryview):
        return bytes(value)
    # The sum of a day depends on the order of its terms; 1e-6 t is far below the precision of any scale.
    return round(value, 6) if isinstance(value, float) else value


def empty(engine: Engine) -> None:
    """Delete every row, so that a migrated warehouse can be used again."""
    with transaction(engine) as connection:
        for table in metadata.tables.values():
            if table.name != "schema_views":
                connection.execute(table.delete())


@contextmanager
def watched_writes(engine: Engine, tables: Sequence[str]) -> Any:
    """Yield a list that holds, at the end, every row of some tables that was written meanwhile."""
    written: list[Any] = []
    if engine.dialect.name == "sqlite":
        yield from _watched_by_triggers(engine, tables, written)
    else:
        before = _physical_rows(engine, tables)
        yield written
        written += sorted(before ^ _physical_rows(engine, tables))


def _watched_by_triggers(engine: Engine, tables: Sequence[str], written: list[Any]) -> Any:
    """SQLite has no row versions: triggers note every write, even one that stores the same values."""
    with transaction(engine) as connection:
        connection.execute(sa.text("CREATE TABLE noted_writes (what TEXT)"))
        for table in tables:
            for verb in ("INSERT", "UPDATE", "DELETE"):
                connection.exec_driver_sql(
                    f"CREATE TRIGGER noted_{table}_{verb} AFTER {verb} ON {table} "
                    f"BEGIN INSERT INTO noted_writes VALUES ('{verb} {table}'); END"
                )
    yield written
    with transaction(engine) as connection:
        written += [row[0] for row in connection.execute(sa.text("SELECT what FROM noted_writes"))]
        for table in tables:
            for verb in ("INSERT", "UPDATE", "DELETE"):
                connection.exec_driver_sql(f"DROP TRIGGER noted_{table}_{verb}")
        connection.execute(sa.text("DROP TABLE noted_writes"))


def _physical_rows(engine: Engine, tables: Sequence[str]) -> set[tuple[str, str, str]]:
    """PostgreSQL writes a new row version with every change: the place and writer of each row show it."""
    with reading(engine) as connection:
        return {
            (table, *row)
            for table in tables
            for row in connection.execute(sa.text(f"SELECT CAST(ctid AS TEXT), CAST(xmin AS TEXT) FROM {table}"))
        }


def contradictions(engine: Engine) -> list[str]:
    """Return the remains of a half-done load, found without the code under test."""
    outcomes = "inserted + updated + unchanged + superseded + quarantined"
    checks = {
        "a batch does not balance": f"SELECT batch_id FROM batches WHERE read_rows <> {outcomes}",
        "a file is loaded twice": "SELECT location FROM batches "
        "GROUP BY source, location, file_hash HAVING count(*) > 1",
        "a batch has no position": "SELECT batch_id FROM batches "
        "WHERE batch_id NOT IN (SELECT batch_id FROM file_positions)",
        "quarantine is not what was counted": "SELECT batch_id FROM batches AS b WHERE quarantined <> "
        "(SELECT count(*) FROM quarantine AS q WHERE q.batch_id = b.batch_id)",
    }
    for table in (*DATA_TABLES, "file_positions", "dirty_marks"):
        strays = f"SELECT batch_id FROM {table} WHERE batch_id NOT IN (SELECT batch_id FROM batches)"
        checks[f"a row of {table} has no batch"] = strays
    with reading(engine) as connection:
        found = {check: connection.execute(sa.text(query)).all() for check, query in checks.items()}
    return [f"{check}: {rows}" for check, rows in found.items() if rows]


def is_intact(engine: Engine) -> bool:
    """Return True if SQLite finds its file intact; PostgreSQL checks itself during recovery."""
    if engine.dialect.name != "sqlite":
        return True
    with reading(engine) as connection:
        return bool(connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok")


def assert_sound(engine: Engine, clean: Content) -> None:
    """Check that a warehouse has lost and doubled nothing compared with a clean one, and is consistent."""
    assert content_of(engine) == clean
    assert contradictions(engine) == []
    assert is_intact(engine)


def forbid(engine: Engine, table: str, condition: str) -> None:
    """Add a constraint to the warehouse that refuses rows."""
    with transaction(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.text(f"ALTER TABLE {table} ADD CONSTRAINT forbidden CHECK (NOT ({condition}))"))
            return
        condition = condition.replace("transaction_id", "NEW.transaction_id").replace("event_id", "NEW.event_id")
        connection.exec_driver_sql(
            f"CREATE TRIGGER forbidden BEFORE INSERT ON {table} WHEN {condition} "
            "BEGIN SELECT RAISE(ABORT, 'forbidden'); END"
        )


def allow(engine: Engine, table: str) -> None:
    """Remove the constraint of `forbid`."""
    with transaction(engine) as connection:
        postgresql = engine.dialect.name == "postgresql"
        connection.execute(
            sa.text(f"ALTER TABLE {table} DROP CONSTRAINT forbidden" if postgresql else "DROP TRIGGER forbidden")
        )
