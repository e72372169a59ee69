"""A copy of the whole warehouse in one file: one consistent state, even while loads and listeners run."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from freight.database_urls import over_tls, secrets_of, shown
from freight.errors import ConfigurationError
from freight.secrets import redacted
from freight.warehouse.connect import Engine, embedded_path, reading
from freight.warehouse.migrate import schema_version

PG_DUMP = "pg_dump"
SERVICE = "dpa"


def back_up(engine: Engine, path: Path) -> str:
    """Copy a warehouse into a file: a database for SQLite, or an archive for `pg_restore`.

    Args:
        engine: The engine of the warehouse, with any schema version.
        path: The file to write. It must not exist yet, and nothing else may write it.

    Returns:
        The schema version of the copy.

    Raises:
        ConfigurationError: There is no warehouse, `pg_dump` is missing or refuses, or the file cannot be written.
        TransientError: The warehouse does not answer.
    """
    file = embedded_path(engine.url.render_as_string(hide_password=False))
    version = None if file and not file.exists() else schema_version(engine)  # to connect would create the file
    if version is None:
        raise ConfigurationError(f"there is no warehouse at {shown(engine.url)} to back up: `dpa migrate` makes one")
    copy = _copy_pages if engine.dialect.name == "sqlite" else _dump
    copy(engine, path)
    return version


def _copy_pages(engine: Engine, path: Path) -> None:
    """Copy one state of an embedded warehouse, including changes that are only in its write-ahead log."""
    with reading(engine) as connection, closing(sqlite3.connect(path)) as target:
        driver: Any = connection.connection.driver_connection
        try:
            driver.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, also for a reader who may write none beside it
        except sqlite3.Error as error:
            raise ConfigurationError(f"the copy cannot be written to {path.parent}: {error}") from None


def _dump(engine: Engine, path: Path) -> None:
    with _service_file(engine) as service:
        command = [PG_DUMP, "--format=custom", "--no-password", f"--file={path}", f"--dbname=service={SERVICE}"]
        environment = os.environ | {"PGSERVICEFILE": str(service)}
        try:
            done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        except FileNotFoundError:
            raise ConfigurationError(
                f"there is no {PG_DUMP} here: install the client programs of PostgreSQL, not older than the server"
            ) from None
    if done.returncode:
        said = redacted(done.stderr.decode(errors="replace").strip(), *secrets_of(engine.url))
        raise ConfigurationError(f"{PG_DUMP} cannot copy the warehouse {shown(engine.url)}: {said}")


@contextmanager
def _service_file(engine: Engine) -> Iterator[Path]:
    """Pass the URL's parameters to libpq in a file, since everybody on the machine can read a command line."""
    _, parameters = engine.dialect.create_connect_args(over_tls(engine.url))
    plain = {name: value for name, value in parameters.items() if isinstance(value, (str, int))}  # no adapters
    lines = [f"[{SERVICE}]", *(f"{name}={value}" for name, value in plain.items())]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "service.conf"
        file.touch(mode=0o600)
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        yield file
