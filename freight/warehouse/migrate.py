"""Bring a warehouse to the schema version of this release, and refuse one of another version."""

import hashlib
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from freight.errors import ConfigurationError
from freight.warehouse.connect import Engine, is_postgresql, reading, transaction
from freight.warehouse.schema import metadata, schema_views

SQL_FOLDER = Path(__file__).resolve().parents[2] / "sql"
MIGRATION_LOCK = 0x44504102


def migrate(engine: Engine) -> str:
    """Run the migrations that are missing, then make the views again; return the schema version.

    Everything happens in one transaction under a lock, so a failure leaves the old version and two calls do no harm.
    """
    with transaction(engine) as connection:
        if is_postgresql(connection):
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        found = _version(connection)
        if found != _newest():
            _drop_views(connection)  # a table that a view reads cannot be altered
            if found:
                connection.execute(schema_views.delete())
            command.upgrade(_config(connection), "head")
        _make_views(connection)
    return _newest()


def require_current(engine: Engine) -> None:
    """Check that the warehouse has the schema version of this release.

    Raises:
        ConfigurationError: it has another one, or none.
    """
    with reading(engine) as connection:
        found = _version(connection)
    if found != _newest():
        raise ConfigurationError(
            f"the warehouse has schema version {found or 'none'}, this release needs {_newest()}: run `dpa migrate`"
        )


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(SQL_FOLDER / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _newest() -> str:
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise ConfigurationError(f"no migrations are in {SQL_FOLDER}")
    return head


def _version(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _view_files() -> list[Path]:
    """Return the views in the order of their numbers: a later one may read an earlier one."""
    return sorted((SQL_FOLDER / "views").glob("*.sql"))


def _view_name(file: Path) -> str:
    return file.stem.partition("_")[2]


def _drop_views(connection: sa.Connection) -> None:
    for file in reversed(_view_files()):
        connection.execute(sa.text(f"DROP VIEW IF EXISTS {_view_name(file)}"))


def _make_views(connection: sa.Connection) -> None:
    """Make the views again where their text has changed; a view that people read is not dropped for nothing."""
    queries = {_view_name(file): file.read_text(encoding="utf-8") for file in _view_files()}
    fingerprint = hashlib.sha256("\0".join(queries.values()).encode()).hexdigest()
    if connection.execute(sa.select(schema_views.c.fingerprint)).scalar_one_or_none() == fingerprint:
        return
    _drop_views(connection)
    for name, query in queries.items():
        connection.exec_driver_sql(f"CREATE VIEW {name} AS\n{query.rstrip().rstrip(';')}")
    connection.execute(schema_views.delete())
    connection.execute(schema_views.insert().values(fingerprint=fingerprint))


def drop_everything(engine: Engine) -> None:
    """Drop all views and tables that belong to DPA; `migrate` makes them again, empty."""
    with transaction(engine) as connection:
        _drop_views(connection)
        metadata.drop_all(connection)
        connection.execute(sa.text("DROP TABLE IF EXISTS alembic_version"))
