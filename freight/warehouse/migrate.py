"""Bring a warehouse to the schema version of this release, and refuse one of another version."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.exc import DBAPIError

from freight.errors import ConfigurationError
from freight.warehouse import machine_history
from freight.warehouse.aggregates import refresh_aggregates
from freight.warehouse.connect import Engine, is_postgresql, reading, transaction
from freight.warehouse.partitions import keep_partitions
from freight.warehouse.schema import batches, metadata, schema_views

SQL_FOLDER = Path(__file__).resolve().parents[2] / "sql"
MIGRATION_LOCK = 0x44504102
DEPENDENT_OBJECTS = "2BP01"  # PostgreSQL's SQLSTATE when other objects depend on the one to drop


def migrate(engine: Engine) -> str:
    """Run the missing migrations, recreate the views, and create partitions; return the schema version.

    Everything happens in one transaction under a lock, so a failure leaves the old version and two calls do no harm.
    Statistics that a migration marks are computed after it, or by the next load.
    """
    with transaction(engine) as connection:
        if is_postgresql(connection):
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        is_behind = _version(connection) != newest_version()
        if is_behind:
            _drop_views(connection)  # a table that a view reads cannot be altered
            command.upgrade(alembic_config(connection), "head")
            _derive_history(connection)
        _make_views(connection)
    if is_behind:
        refresh_aggregates(engine)
    keep_partitions(engine, datetime.now(UTC))
    return newest_version()


def _derive_history(connection: sa.Connection) -> None:
    """Derive the machines' history from their observations, which a migration may have changed."""
    newest = connection.execute(sa.select(sa.func.max(batches.c.batch_id))).scalar_one()
    if newest is not None:
        machine_history.lock_history(connection)
        machine_history.refresh(connection, newest)


def require_current(engine: Engine) -> None:
    """Check that the warehouse has the schema version of this release.

    Raises:
        ConfigurationError: The warehouse has another version, or none.
    """
    found = schema_version(engine)
    if found != newest_version():
        raise ConfigurationError(
            f"the warehouse has schema version {found or 'none'}, this release needs {newest_version()}: "
            "run `dpa migrate`"
        )


def schema_version(engine: Engine) -> str | None:
    """Return the schema version of a warehouse; None if it was never migrated."""
    with reading(engine) as connection:
        return _version(connection)


def alembic_config(connection: sa.Connection | None = None) -> Config:
    """Return Alembic's configuration: the folder of the migrations, and the connection to run them on."""
    config = Config()
    config.set_main_option("script_location", str(SQL_FOLDER / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@cache  # each run asks, and the answer takes longer than most of its queries
def newest_version() -> str:
    """Return the schema version of this release."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if head is None:
        raise ConfigurationError(f"there are no migrations in {SQL_FOLDER}")
    return head


def _version(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def views() -> dict[str, str]:
    """Return the text of each view of this release, in the order of their numbers: a later one may read an earlier."""
    files = sorted((SQL_FOLDER / "views").glob("*.sql"))
    return {file.stem.partition("_")[2]: file.read_text(encoding="utf-8") for file in files}


def _made_views(connection: sa.Connection) -> dict[str, str]:
    """Return the fingerprint of each view that was created."""
    columns = {column["name"] for column in _columns_of(connection, schema_views.name)}
    if "view_name" not in columns:  # before schema version 0003
        return {}
    return {row.view_name: row.fingerprint for row in connection.execute(sa.select(schema_views))}


def _columns_of(connection: sa.Connection, table: str) -> Sequence[ReflectedColumn]:
    inspector = sa.inspect(connection)
    return inspector.get_columns(table) if inspector.has_table(table) else []


def _drop_views(connection: sa.Connection) -> None:
    """Drop the views of this release and those that an earlier one made.

    Raises:
        ConfigurationError: A user's own view reads one of them.
    """
    made = _made_views(connection)
    names = [*made, *(name for name in views() if name not in made)]
    # PostgreSQL drops views that read each other in one statement only; SQLite takes one view a statement, in any order
    for dropped in [", ".join(names)] if is_postgresql(connection) else names:
        _drop(connection, dropped)
    if made:
        connection.execute(schema_views.delete())


def _drop(connection: sa.Connection, views: str) -> None:
    try:
        connection.execute(sa.text(f"DROP VIEW IF EXISTS {views}"))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != DEPENDENT_OBJECTS:
            raise
        detail = getattr(error.orig, "diag", None)
        raise ConfigurationError(
            "the views cannot be made again, because views of your own read them: "
            f"{getattr(detail, 'message_detail', '')} Drop those first, and make them again after `dpa migrate`"
        ) from None


def _make_views(connection: sa.Connection) -> None:
    """Recreate the views if the text of one has changed; views that people read are not dropped without need."""
    queries = views()
    wanted = {name: hashlib.sha256(query.encode()).hexdigest() for name, query in queries.items()}
    if _made_views(connection) == wanted:
        return
    _drop_views(connection)
    for name, query in queries.items():
        connection.exec_driver_sql(f"CREATE VIEW {name} AS\n{query.rstrip().rstrip(';')}")
    rows = [{"view_name": name, "fingerprint": fingerprint} for name, fingerprint in wanted.items()]
    connection.execute(schema_views.insert(), rows)


def drop_everything(engine: Engine) -> None:
    """Drop all views and tables that belong to DPA; `migrate` recreates them empty."""
    with transaction(engine) as connection:
        _drop_views(connection)
        metadata.drop_all(connection)
        connection.execute(sa.text("DROP TABLE IF EXISTS alembic_version"))
