"""Open a warehouse, run a transaction in it, and say in DPA's words what went wrong."""

import sqlite3
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import certifi
import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError

from freight.errors import ConfigurationError, DpaError, RowsRefused, TransientError
from freight.types import PasswordSource

__all__ = [
    "BATCH",
    "Engine",
    "Patience",
    "canceller",
    "closing",
    "holds_password",
    "is_postgresql",
    "open_engine",
    "reading",
    "safe_url",
    "transaction",
]

SQLITE_PAGE_BYTES = 16 << 10  # loads are faster than with 4 KiB, and a small change still writes little
WORK_MEMORY = "64MB"  # for the joins of a staged load; the server's 4 MB would spill them to disk
# A server that vanished without a word is noticed within a minute, not after the system's two hours.
DEAD_PEER = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
CANCEL_S = 2.0  # for a server to take note that a statement shall end
THIS_MACHINE = {"localhost", "127.0.0.1", "::1"}
READ_ONLY = "dpa_read_only"  # execution option: a reader on SQLite must not take the writer's lock

# SQLSTATE classes and codes after which the same transaction may succeed.
TRANSIENT_CLASSES = ("08", "53", "57")
PROTOCOL_VIOLATION = "08P01"  # a mistake of the program, although its class is that of lost connections
READ_ONLY_SERVER = "25006"
TRANSIENT_STATES = ("40001", "40P01", "55P03", READ_ONLY_SERVER, "25P03")
SQLITE_TRANSIENT = ("locked", "busy", "interrupted")
REFUSED_STATES = ("28P01", "28000", "3D000", "42501")
# What PostgreSQL says to one that it does not let in: a connection that failed has no SQLSTATE.
AUTHENTICATION_FAILED = "authentication failed"
CONNECTION_REFUSED = (AUTHENTICATION_FAILED, "no password supplied", "does not exist", "no pg_hba.conf entry")
# What the client says of a server that does not prove who it is.
UNPROVEN = ("certificate", "does not support SSL")
SQLITE_REFUSED = ("readonly", "read-only", "unable to open", "not a database")


@dataclass(frozen=True)
class Patience:
    """How long a connection waits for others, and others for it.

    Attributes:
        lock_s: for another one's lock; a wait beyond it is retried as a whole (PostgreSQL).
        busy_s: for the one writer of an embedded warehouse.
        idle_s: until the locks of a process that froze within a transaction are freed (PostgreSQL).
    """

    lock_s: int = 60
    busy_s: int = 30
    idle_s: int = 300


BATCH = Patience()


def open_engine(
    url: str, patience: Patience = BATCH, name: str = "dpa", password: PasswordSource | None = None
) -> Engine:
    """Return an engine for the warehouse at a SQLAlchemy URL (`sqlite:///…` or `postgresql://…`).

    A PostgreSQL on another machine has to prove by TLS that it is the one which the URL names, unless the URL says
    otherwise in `sslmode`.

    Args:
        url: where the warehouse is.
        patience: for locks.
        name: what the server shows of these connections.
        password: of the user in the URL, if the URL or a password file does not hold it.

    Raises:
        ConfigurationError: the URL names no engine that DPA supports.
    """
    parsed = _parsed(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _sqlite(parsed, patience)
    if backend == "postgresql":
        engine = _postgresql(parsed, patience, name)
        if password:
            _ask_for_password(engine, password)
        return engine
    raise ConfigurationError(f"no warehouse runs on {backend!r}: use sqlite or postgresql")


def _parsed(url: str) -> sa.URL:
    try:
        return sa.make_url(url)
    except sa.exc.ArgumentError:
        raise ConfigurationError("the warehouse URL cannot be read: expected sqlite:///… or postgresql://…") from None


def holds_password(url: str) -> bool:
    """Whether the URL of a warehouse shows a password to whoever sees it.

    Raises:
        ConfigurationError: the URL cannot be read.
    """
    parsed = _parsed(url)
    return parsed.password is not None or "password" in parsed.query


def safe_url(url: str) -> str:
    """Return the URL of a warehouse without its password, to show to people."""
    return sa.make_url(url).render_as_string(hide_password=True)


@contextmanager
def transaction(engine: Engine) -> Iterator[sa.Connection]:
    """Commit everything done on the connection, or nothing.

    Raises:
        TransientError: retrying the whole transaction may succeed.
        ConfigurationError: the warehouse cannot be written to as it is set up.
        RowsRefused: the warehouse does not take the values.
    """
    with _translated(engine), engine.begin() as connection:
        yield connection


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
    """Return what another thread calls to break off the statement that runs on a connection, if its server answers."""
    driver: Any = connection.connection.driver_connection
    return partial(_cancel, driver) if is_postgresql(connection) else driver.interrupt


def _cancel(driver: Any) -> None:
    """Ask PostgreSQL for it: psycopg's simple `cancel` would halt all threads for as long as the server is frozen."""
    import psycopg  # late, since an embedded warehouse does not need the driver

    with suppress(psycopg.Error):
        driver.cancel_safe(timeout=CANCEL_S)


def is_postgresql(connection: sa.Connection) -> bool:
    """Whether the warehouse is PostgreSQL (else it is SQLite)."""
    return connection.dialect.name == "postgresql"


def _sqlite(url: sa.URL, patience: Patience) -> Engine:
    if url.database and url.database != ":memory:":
        _make_folder(Path(url.database).parent)
    engine = sa.create_engine(url, connect_args={"timeout": patience.busy_s, "check_same_thread": False})

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


def _postgresql(url: sa.URL, patience: Patience, name: str) -> Engine:
    settings = {
        "lock_timeout": f"{patience.lock_s}s",
        "idle_in_transaction_session_timeout": f"{patience.idle_s}s",
        "work_mem": WORK_MEMORY,
        "TimeZone": "UTC",
    }
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return sa.create_engine(
        _over_tls(url).set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        pool_recycle=1_800,
        connect_args={"options": options, "application_name": name, "connect_timeout": 15, **DEAD_PEER},
    )


def _over_tls(url: sa.URL) -> sa.URL:
    named = {url.host, *(place.partition(":")[0] for place in url.normalized_query.get("host", ()))} - {None}
    if "sslmode" in url.query or (named and named <= THIS_MACHINE):
        return url
    # Not libpq's "system": the one in the wheel of psycopg looks for certificates in a folder that is nowhere.
    known = ssl.get_default_verify_paths().cafile or certifi.where()
    return url.update_query_dict({"sslmode": "verify-full", "sslrootcert": url.query.get("sslrootcert", known)})


def _ask_for_password(engine: Engine, password: PasswordSource) -> None:
    """Let each connection ask for the password, and once more if the one that was known is refused."""

    @sa.event.listens_for(engine, "do_connect")
    def connect(dialect: Any, _record: Any, args: Any, params: dict[str, Any]) -> Any:
        try:
            return dialect.connect(*args, **{**params, "password": password()})
        except dialect.loaded_dbapi.OperationalError as error:
            if AUTHENTICATION_FAILED not in str(error):
                raise
        return dialect.connect(*args, **{**params, "password": password(fresh=True)})


@contextmanager
def _translated(engine: Engine) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if _state(error) == READ_ONLY_SERVER:
            engine.dispose()  # a standby since a failover: new connections find the server that takes writes
        translated = _translate(error, f"the warehouse {engine.url.render_as_string(hide_password=True)}")
        if translated is None:
            raise
        raise translated from error


def _state(error: DBAPIError) -> str | None:
    """Return the SQLSTATE; SQLite has none, nor has a connection that failed."""
    return getattr(error.orig, "sqlstate", None)


def _translate(error: DBAPIError, warehouse: str) -> DpaError | None:
    """Return what a driver's error means for us, or None where it is a mistake of the program."""
    state, is_sqlite = _state(error), isinstance(error.orig, sqlite3.Error)
    message = str(error.orig).strip().splitlines()[0] if error.orig else type(error).__name__
    lowered = message.lower()
    if is_sqlite and any(word in lowered for word in SQLITE_REFUSED):
        return ConfigurationError(f"{warehouse} cannot be used: {message}")
    unconnected = state is None and isinstance(error, OperationalError)
    if state in REFUSED_STATES or (unconnected and any(word in lowered for word in CONNECTION_REFUSED)):
        return ConfigurationError(f"{warehouse} refuses us: {message}")
    if unconnected and not is_sqlite and any(word in message for word in UNPROVEN):
        return ConfigurationError(
            f"{warehouse} does not prove who it is: {message}; name the file of its authority with ?sslrootcert= in "
            "the URL, or do without the proof with ?sslmode="
        )
    if error.connection_invalidated or any(word in lowered for word in (*SQLITE_TRANSIENT, "disk is full", "disk i/o")):
        return TransientError(f"{warehouse} is not ready: {message}")
    if state == PROTOCOL_VIOLATION:
        return None
    if state and (state.startswith(TRANSIENT_CLASSES) or state in TRANSIENT_STATES):
        return TransientError(f"{warehouse} is not ready: {message} ({state})")
    if state is None and isinstance(error, (OperationalError, InterfaceError)) and not is_sqlite:
        return TransientError(f"{warehouse} cannot be reached: {message}")
    if isinstance(error, (DataError, IntegrityError)):
        return RowsRefused(f"{warehouse} refuses rows: {message}")
    return None
