"""A disposable PostgreSQL, started from the system's server programs."""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from tests.lib.ports import free_port

PROTECTED = "protected"  # the group of roles that need a password

# Speed over safety: the data lives as long as the test run.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "listen_addresses": "127.0.0.1",
}


def server_programs() -> Path | None:
    """Return the folder of initdb and pg_ctl, newest version first, or None."""
    on_path = shutil.which("initdb")
    if on_path and Path(on_path).resolve().parent.joinpath("pg_ctl").exists():
        return Path(on_path).resolve().parent
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return packaged[-1].parent if packaged else None


@contextmanager
def own_server(settings: Mapping[str, str] | None = None) -> Iterator["PostgresServer"]:
    """Run a server in a folder of its own, and remove both at the end.

    The folder is not below pytest's: each new pytest closes the path to that for other users.
    """
    with (
        tempfile.TemporaryDirectory(prefix="dpa-postgres-") as folder,
        PostgresServer(Path(folder), settings) as server,
    ):
        yield server


class PostgresServer:
    """A server in a folder that its user can access: the context starts it, and stops it at the end.

    Without the context it is one that another process has started.

    Attributes:
        folder: The folder of its data and its log.
        port: The port on which it listens.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None, port: int = 0) -> None:
        """Find the programs.

        Args:
            folder: The folder, empty unless it is that of a running server.
            settings: The settings that override those that trade safety for speed.
            port: The port of a running server; 0 for any port.
        """
        programs = server_programs()
        assert programs, "PostgreSQL is not installed"
        self._programs = programs
        self.folder = folder
        self._settings = {**SETTINGS, **(settings or {})}
        self._names = itertools.count()
        self.port = port or free_port()

    def __enter__(self) -> Self:
        self._hand_over_folder()
        self._run(
            "initdb", "-D", "data", "-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-sync", "--no-instructions"
        )
        settings = {**self._settings, "port": str(self.port), "unix_socket_directories": str(self.folder)}
        lines = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
        with (self.folder / "data" / "postgresql.conf").open("a") as config:
            config.write(lines)
        access = self.folder / "data" / "pg_hba.conf"
        access.write_text(f"host all +{PROTECTED} 127.0.0.1/32 scram-sha-256\n{access.read_text()}")
        self.start()
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {PROTECTED} NOLOGIN")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(AssertionError):  # a test may have stopped it
            self.stop("immediate")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._run("pg_ctl", "-D", "data", "-w", "-t", "120", "-l", "log", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; `immediate` models a crash."""
        self._run("pg_ctl", "-D", "data", "-w", "-m", mode, "stop")

    def pause(self) -> None:
        """Freeze the server: connections stay open and nothing answers, as if its machine hung."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume a paused server."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        """Signal the server, and its processes that serve connections."""
        first = (self.folder / "data" / "postmaster.pid").read_text().split()[0]
        others = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        for pid in (first, *others):
            os.kill(int(pid), number)

    def new_database(self, model: str = "") -> str:
        """Make a database, empty or a copy of the one at a URL, which must have no connections; return its URL."""
        name = f"test_{os.getpid()}_{next(self._names)}"
        template = model.rpartition("/")[2] or "template1"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self._url(name)

    def new_protected_database(self, password: str) -> str:
        """Make an empty database whose owner needs a password; return its URL without the password.

        The owner has the name of the database.
        """
        database = self.new_database().rpartition("/")[2]
        owner = sql.Identifier(database)
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN IN ROLE {} PASSWORD {}").format(
                    owner, sql.Identifier(PROTECTED), sql.Literal(password)
                )
            )
            connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(owner, owner))
        return self._url(database, database)

    def change_password(self, url: str, password: str) -> None:
        """Give the owner of a protected database another password."""
        owner = sql.Identifier(url.rpartition("/")[2])
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(owner, sql.Literal(password)))

    @contextmanager
    def database_on(self, disk: Path) -> Iterator[str]:
        """Make an empty database with its tables on a disk, yield its URL, and drop it at the end."""
        shutil.chown(disk, "postgres")
        name = f"test_{os.getpid()}_{next(self._names)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE TABLESPACE {name} LOCATION '{disk}'")
            connection.execute(f"CREATE DATABASE {name} TABLESPACE {name}")
            yield self._url(name)
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            connection.execute(f"DROP TABLESPACE {name}")

    @contextmanager
    def read_only(self, url: str) -> Iterator[None]:
        """Break the connections of a database and make it read-only, like a standby; afterwards new ones may write."""
        name = url.rpartition("/")[2]
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            try:
                yield
            finally:
                connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")

    def _url(self, database: str, role: str = "postgres") -> str:
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}"

    def _hand_over_folder(self) -> None:
        """Give the folder to PostgreSQL's own user: it refuses to run as root."""
        if os.geteuid() != 0:
            return
        user = pwd.getpwnam("postgres")
        os.chown(self.folder, user.pw_uid, user.pw_gid)

    def _run(self, program: str, *arguments: str) -> None:
        as_user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(
            [self._programs / program, *arguments],
            cwd=self.folder,
            env={**os.environ, "LC_ALL": "C", "HOME": str(self.folder)},
            stdout=subprocess.DEVNULL if program == "pg_ctl" else subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            **as_user,  # type: ignore[call-overload]
        )
        assert done.returncode == 0, f"{program}: {done.stdout}"
