"""Open a warehouse, run transactions in it, and translate database errors to DPA's own."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from freight.database_urls import over_tls, read_url, shown
from freight.databases import CONNECT_S, DEAD_PEER, READ_ONLY_SERVER, log_in, sqlstate, translate
from freight.errors import ConfigurationError
from freight.types import PasswordSource
from freight.warehouse.whole import leave_whole_later

__all__ = [
    "BATCH",
    "Engine",
    "LockTimeouts",
    "canceller",
    "closing",
    "embedded_path",
    "is_postgresql",
    "open_engine",
    "reading",
    "transaction",
]

SQLITE_PAGE_BYTES = 16 << 10  # loads are faster than with 4 KiB, and a small change still writes little
WORK_MEMORY = "64MB"  # for the joins of a staged load; the server's 4 MB would spill them to disk
CANCEL_S = 2.0  # for a server to acknowledge the cancellation of a statement
READ_ONLY = "dpa_read_only"  # execution option: a reader on SQLite must not take the writer's lock


@dataclass(frozen=True)
class LockTimeouts:
    """The limits on waits of a connection for others, and of others for it.

    Attributes:
        lock_s: The wait for another connection's lock; beyond it the whole transaction is retried (PostgreSQL).
        busy_s: The wait for the single writer of an embedded warehouse.
        idle_s: The time until the locks of a process that froze within a transaction are freed (PostgreSQL).
    """

    lock_s: int = 60
    busy_s: int = 30
    idle_s: int = 300


BATCH = LockTimeouts()


def open_engine(
    url: str, timeouts: LockTimeouts = BATCH, name: str = "dpa", password: PasswordSource | None = None
) -> Engine:
    """Return an engine for the warehouse at a SQLAlchemy URL (`sqlite:///…` or `postgresql://…`).

    A PostgreSQL server on another machine has to prove by TLS that it is the one named in the URL, unless the URL sets
    `sslmode` otherwise.

    Args:
        url: The URL of the warehouse.
        timeouts: The limits on waits for locks.
        name: The name that the server shows for these connections.
        password: The password of the user in the URL, if neither the URL nor a password file holds it.

    Raises:
        ConfigurationError: The URL names no engine that DPA supports.
    """
    parsed = read_url(url, "the warehouse URL")
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _sqlite(parsed, timeouts)
    if backend == "postgresql":
        engine = _postgresql(parsed, timeouts, name)
        log_in(engine, password)
        return engine
    raise ConfigurationError(f"no warehouse runs on {backend!r}: use sqlite or postgresql")


def embedded_path(url: str) -> Path | None:
    """Return the path of the file that holds a warehouse; None if it is on a server or in memory.

    Raises:
        ConfigurationError: The URL cannot be parsed.
    """
    return _path(read_url(url, "the warehouse URL"))


def _path(url: sa.URL) -> Path | None:
    in_file = url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:"
    return Path(url.database) if in_file and url.database else None


@contextmanager
def transaction(engine: Engine) -> Iterator[sa.Connection]:
    """Commit everything done on the connection, or nothing.

    Raises:
        TransientError: Retrying the whole transaction may succeed.
        ConfigurationError: The setup of the warehouse does not allow writes.
        RowsRefused: The warehouse does not accept the values.
    """
    with _translated(engine), engine.begin() as connection:
        yield connection


@contextmanager
def taken_back(engine: Engine) -> Iterator[sa.Connection]:
    """Do everything as a `transaction` would, and roll it back at the end.

    Raises:
        TransientError, ConfigurationError, RowsRefused: See `transaction`.
    """
    with _translated(engine), engine.connect() as connection, connection.begin() as everything:
        yield connection
        everything.rollback()


@contextmanager
def reading(engine: Engine) -> Iterator[sa.Connection]:
    """Read one consistent state of the warehouse."""
    options: dict[str, Any] = {READ_ONLY: True}
    if engine.dialect.name == "postgresql":
        options["isolation_level"] = "REPEATABLE READ"
    with _translated(engine), engine.connect() as connection:
        yield connection.execution_options(**options)


@contextmanager
def closing(engine: Engine) -> Iterator[Engine]:
    """Close the connections of an engine at the end of the context."""
    try:
        yield engine
    finally:
        engine.dispose()


def canceller(connection: sa.Connection) -> Callable[[], None]:
    """Return a function for another thread that cancels a connection's running statement, if its server answers."""
    driver: Any = connection.connection.driver_connection
    return partial(_cancel, driver) if is_postgresql(connection) else driver.interrupt


def _cancel(driver: Any) -> None:
    """Ask PostgreSQL to cancel: psycopg's simple `cancel` would block all threads while the server is frozen."""
    import psycopg  # late, since an embedded warehouse does not need the driver

    with suppress(psycopg.Error):
        driver.cancel_safe(timeout=CANCEL_S)


def is_postgresql(connection: sa.Connection) -> bool:
    """Whether the warehouse is PostgreSQL (else it is SQLite)."""
    return connection.dialect.name == "postgresql"


def _sqlite(url: sa.URL, timeouts: LockTimeouts) -> Engine:
    if path := _path(url):
        _make_folder(path.parent)
    engine = sa.create_engine(url, connect_args={"timeout": timeouts.busy_s, "check_same_thread": False})
    if path:
        leave_whole_later(engine, path)

    @sa.event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None  # we begin transactions ourselves, see below
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA page_size = {SQLITE_PAGE_BYTES}")  # of a new file; before WAL, which fixes it
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA temp_store = FILE")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A deferred BEGIN fails at once when it has to turn into a writer beside another one; IMMEDIATE waits.
        read_only = connection.get_execution_options().get(READ_ONLY)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"the folder of the warehouse cannot be made: {error}") from None


def _postgresql(url: sa.URL, timeouts: LockTimeouts, name: str) -> Engine:
    settings = {
        "lock_timeout": f"{timeouts.lock_s}s",
        "idle_in_transaction_session_timeout": f"{timeouts.idle_s}s",
        "work_mem": WORK_MEMORY,
        "TimeZone": "UTC",
    }
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return sa.create_engine(
        over_tls(url).set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        pool_recycle=1_800,
        connect_args={"options": options, "application_name": name, "connect_timeout": CONNECT_S, **DEAD_PEER},
    )


@contextmanager
def _translated(engine: Engine) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if sqlstate(error) == READ_ONLY_SERVER:
            engine.dispose()  # a standby since a failover: new connections find the server that accepts writes
        translated = translate(error, f"the warehouse {shown(engine.url)}")
        if translated is None:
            raise
        raise translated from error
