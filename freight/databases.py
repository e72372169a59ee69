"""Databases of any kind: how to log in to them, and how drivers' errors map to ours."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, NoSuchModuleError, OperationalError

from freight.database_urls import mysql_over_tls, over_tls, read_url, secrets_of, shown
from freight.errors import ConfigurationError, DpaError, RowsRefused, TransientError
from freight.secrets import secretly
from freight.types import PasswordSource

log = logging.getLogger("freight")

# The driver logs an error that it raises anyway once more for each step that ends with it.
logging.getLogger("psycopg").addFilter(lambda record: not str(record.msg).startswith("error ignored"))

# Detects a dead server within a minute, not after the system's two hours.
DEAD_PEER = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
CONNECT_S = 15

# SQLSTATE classes and codes after which the same transaction may succeed.
TRANSIENT_CLASSES = ("08", "53", "57")
PROTOCOL_VIOLATION = "08P01"  # a bug in the program, although its class is that of lost connections
READ_ONLY_SERVER = "25006"
TRANSIENT_STATES = ("40001", "40P01", "55P03", READ_ONLY_SERVER, "25P03")
SQLITE_TRANSIENT = ("locked", "busy", "interrupted")
REFUSED_STATES = ("28P01", "28000", "3D000", "42501")
# Servers' messages for a refused login: a failed connection to PostgreSQL has no SQLSTATE.
LOGIN_REFUSED = ("authentication failed", "login failed", "access denied for user")
CONNECTION_REFUSED = (*LOGIN_REFUSED, "no password supplied", "does not exist", "no pg_hba.conf entry")
# The client's messages for a server that does not prove its identity.
UNPROVEN = ("certificate", "does not support SSL")
# SQLite's words for a file that it cannot use, with what helps.
SQLITE_REFUSED = {
    "readonly": "let this user write the file and its folder, and check that their disk is not mounted read-only",
    "read-only": "let this user write the file and its folder, and check that their disk is not mounted read-only",
    "unable to open": "check that its folder exists and that this user may enter and write it",
    "not a database": "it is another file or damaged: correct its path, or restore a backup",
}
REMEDIES = {
    READ_ONLY_SERVER: "; it accepts no writes: wait if a failover is under way, else have it set to read-write, or "
    "name another server"
}
SQLSTATE_CHARS = 5
# MySQL's error numbers, in place of an SQLSTATE: no permission, no such login or database, read-only.
MYSQL_REFUSED = (1044, 1045, 1049, 1142, 1143, 1227, 1356, 1370, 1698, 1792)


class Database:
    """A database that DPA reads and never writes.

    Attributes:
        place: The URL without its secrets, to show to people.
    """

    def __init__(self, url: str, password: PasswordSource | None = None) -> None:
        """Keep the URL; this opens no connection.

        Args:
            url: The URL in SQLAlchemy's notation.
            password: The password of the user in the URL.

        Raises:
            ConfigurationError: The URL cannot be read, or its driver is not installed.
        """
        parsed = read_url(url)
        self.place = shown(parsed)
        try:
            self._engine = _read_only_engine(parsed)
        except (ImportError, NoSuchModuleError) as error:
            raise ConfigurationError(
                f"{self.place}: there is no driver for {parsed.drivername} ({error}): install it, "
                "for Azure SQL and SQL Server with `pip install dpa[mssql]`, for MySQL and MariaDB with "
                "`pip install dpa[mysql]`"
            ) from None
        log_in(self._engine, password)

    def __repr__(self) -> str:
        return f"Database({self.place})"

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Read one consistent state, as far as the database supports it; rows arrive in batches.

        Raises:
            TransientError: The database does not answer, or the connection broke.
            ConfigurationError: The database refuses the login or the query.
        """
        try:
            with self._engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            known = translate(error, f"the database {self.place}")
            if isinstance(known, (TransientError, ConfigurationError)):
                raise known from error
            raise ConfigurationError(f"the database {self.place} refuses: {first_line(error)}") from error


def _read_only_engine(url: sa.URL) -> sa.Engine:
    # Connections are few and long: no pool, so none goes stale or is left open.
    shared: dict[str, Any] = {"poolclass": sa.NullPool}
    match url.get_backend_name():
        case "sqlite" if url.database:
            path = f"file:{quote(url.database)}"
            read_only = url.set(database=path).update_query_dict({"mode": "ro", "uri": "true"})
            return sa.create_engine(read_only, connect_args={"check_same_thread": False}, **shared)
        case "postgresql":
            options = {"options": "-c default_transaction_read_only=on", "connect_timeout": CONNECT_S, **DEAD_PEER}
            psycopg = over_tls(url).set(drivername="postgresql+psycopg")
            engine = sa.create_engine(psycopg, isolation_level="REPEATABLE READ", connect_args=options, **shared)
            sa.event.listen(engine, "connect", _read_odd_times_as_text)
            return engine
        case "mysql" | "mariadb":
            # No local files: a server could request any file of its client.
            first = {"init_command": "SET SESSION TRANSACTION READ ONLY", "local_infile": False}
            pymysql = mysql_over_tls(url).set(drivername="mysql+pymysql")
            return sa.create_engine(
                pymysql,
                isolation_level="REPEATABLE READ",
                connect_args=first | {"connect_timeout": CONNECT_S},
                **shared,
            )
        case "mssql":
            engine = sa.create_engine(_to_a_readable_copy(url), **shared)
            sa.event.listen(engine, "connect", _warn_if_it_may_write)
            return engine
        case _:
            return sa.create_engine(url, **shared)


def _read_odd_times_as_text(connection: Any, _: object) -> None:
    """Let times that Python does not know, such as infinity and 44 BC, come as text: one would end the whole query."""
    from psycopg import DataError  # late, since other sources do not need the driver
    from psycopg.abc import AdaptContext
    from psycopg.adapt import Loader
    from psycopg.pq import Format

    for name in ("date", "timestamp", "timestamptz"):
        usual = connection.adapters.get_loader(connection.adapters.types[name].oid, Format.TEXT)

        class Lenient(Loader):
            kind = usual

            def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
                super().__init__(oid, context)
                self._usual = self.kind(oid, context)

            def load(self, data: Any) -> Any:
                try:
                    return self._usual.load(data)
                except (DataError, OverflowError, ValueError):
                    return bytes(data).decode()

        connection.adapters.register_loader(name, Lenient)


def _to_a_readable_copy(url: sa.URL) -> sa.URL:
    """Ask an SQL Server for a read-only replica; a server without replicas ignores it."""
    if url.get_driver_name() != "pyodbc" or {"odbc_connect", "applicationintent"} & {n.lower() for n in url.query}:
        return url
    return url.update_query_dict({"ApplicationIntent": "ReadOnly"})


def _warn_if_it_may_write(connection: Any, _: object) -> None:
    """Warn if the user of an SQL Server can write: its transactions cannot be made read-only."""
    cursor = connection.cursor()
    try:
        may_write = cursor.execute("SELECT HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'INSERT')").fetchone()[0]
    finally:
        cursor.close()
    if may_write:
        log.warning("the user of an SQL Server source may write to it: give it one with the role db_datareader alone")


def log_in(engine: sa.Engine, password: PasswordSource | None = None) -> None:
    """Keep the password, that of the URL included, out of every login error.

    Args:
        engine: The engine of a database that requires a login.
        password: The source of the password; each connection asks it, and asks again if the cached one is refused.
    """
    in_url = secrets_of(engine.url)

    @sa.event.listens_for(engine, "do_connect")
    def connect(dialect: Any, _record: Any, args: Any, params: dict[str, Any]) -> Any:
        def with_password(value: str) -> Any:
            # Through the URL: the dialect knows where the password belongs and how to escape it.
            args, named = dialect.create_connect_args(engine.url.set(password=value))
            every = {**named, **params, **_password_of(named)}
            return secretly(lambda: dialect.connect(*args, **every), value, *in_url)

        if password is None:
            return secretly(lambda: dialect.connect(*args, **params), *in_url)
        try:
            return with_password(password())
        except dialect.loaded_dbapi.Error as error:
            if not any(words in str(error).lower() for words in LOGIN_REFUSED):
                raise
        return with_password(password(fresh=True))


def _password_of(named: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in named.items() if name in ("password", "passwd")}


def sqlstate(error: DBAPIError) -> str | None:
    """Return the SQLSTATE; SQLite has none, and neither has a failed connection to PostgreSQL."""
    state = getattr(error.orig, "sqlstate", None) or next(iter(getattr(error.orig, "args", ())), None)
    return state if isinstance(state, str) and len(state) == SQLSTATE_CHARS and state.isalnum() else None


def first_line(error: DBAPIError) -> str:
    """Return the first line of a driver's message, without the statement and its values."""
    lines = str(error.orig).strip().splitlines() if error.orig else []
    return lines[0] if lines else type(error).__name__


def translate(error: DBAPIError, place: str) -> DpaError | None:
    """Return our error for a driver's error, or None if it is a bug in the program.

    Args:
        error: The driver's error.
        place: The name of the database for people.
    """
    state, is_sqlite, message = sqlstate(error), isinstance(error.orig, sqlite3.Error), first_line(error)
    lowered = message.lower()
    if is_sqlite and (remedy := next((SQLITE_REFUSED[word] for word in SQLITE_REFUSED if word in lowered), "")):
        return ConfigurationError(f"{place} cannot be used: {message}; {remedy}")
    unconnected = state is None and isinstance(error, OperationalError)
    number = next(iter(getattr(error.orig, "args", ())), None)
    is_refused = state in REFUSED_STATES or number in MYSQL_REFUSED
    if is_refused or (unconnected and any(word in lowered for word in CONNECTION_REFUSED)):
        return ConfigurationError(f"{place} refuses us: {message}")
    if unconnected and not is_sqlite and any(word in message for word in UNPROVEN):
        return ConfigurationError(
            f"{place} does not prove its identity: {message}; name the file of its authority with ?sslrootcert= in "
            "the URL, or waive the proof with ?sslmode= (for MySQL ?ssl_ca= and ?ssl_disabled=true)"
        )
    if error.connection_invalidated or any(word in lowered for word in (*SQLITE_TRANSIENT, "disk is full", "disk i/o")):
        return TransientError(f"{place} is not ready: {message}")
    if state == PROTOCOL_VIOLATION:
        return None
    if state and (state.startswith(TRANSIENT_CLASSES) or state in TRANSIENT_STATES):
        return TransientError(f"{place} is not ready: {message} ({state}){REMEDIES.get(state, '')}")
    if state is None and isinstance(error, (OperationalError, InterfaceError)) and not is_sqlite:
        return TransientError(f"{place} cannot be reached: {message}")
    if isinstance(error, (DataError, IntegrityError)):
        return RowsRefused(f"{place} refuses rows: {message}")
    return None
