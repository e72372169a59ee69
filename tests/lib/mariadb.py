"""A disposable MariaDB, started from the system's server programs."""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import pymysql

from tests.lib.ports import free_port
from tests.lib.waiting import wait_until

USER = "erp"
SMALL = ("--skip-log-bin", "--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve")


def is_there() -> bool:
    """Return True if this machine has the server programs."""
    return bool(shutil.which("mariadbd", path=_PATH) and shutil.which("mariadb-install-db", path=_PATH))


_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin"))


class MariaDbServer:
    """Start a server in a folder of its own, and kill it at the end."""

    def __init__(self, certificate: Path) -> None:
        """Choose a port, at which it listens with TLS and without.

        Args:
            certificate: The PEM file of its certificate with the key.
        """
        # Not below pytest's folder: each new pytest closes the path to it for other users.
        self._made = tempfile.TemporaryDirectory(prefix="dpa-mariadb-")
        self._folder, self._port = Path(self._made.name), free_port()
        self._certificate = self._folder / "server.pem"
        shutil.copy(certificate, self._certificate)
        self._names = itertools.count()

    def __enter__(self) -> Self:
        common = ["--no-defaults", f"--datadir={self._folder / 'data'}"]
        if os.geteuid() == 0:  # it refuses to run as root
            common.append("--user=mysql")
            owner = pwd.getpwnam("mysql")
            for path in (self._folder, self._certificate):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        making = ["mariadb-install-db", *common, "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(making, env=self._environment(), check=True, capture_output=True)
        place = [f"--socket={self._folder / 's'}", f"--port={self._port}", "--bind-address=127.0.0.1,127.0.0.2"]
        place += [f"--ssl-cert={self._certificate}", f"--ssl-key={self._certificate}"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["mariadbd", *common, *place, f"--pid-file={self._folder / 'pid'}", *SMALL],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, told=self._folder / "log")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()  # its data is not needed
        self._process.wait()
        self._made.cleanup()

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": _PATH}

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()
        try:
            self._do("SELECT 1")
        except pymysql.OperationalError:
            return False
        return True

    def _do(self, *statements: str) -> None:
        with (
            pymysql.connect(host="127.0.0.1", port=self._port, user="root", autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)

    def new_database(self) -> str:
        """Make an empty database with all rights for its user; return its URL."""
        name = f"test_{os.getpid()}_{next(self._names)}"
        who = f"{USER}@'127.0.0.1'"
        self._do(f"CREATE USER IF NOT EXISTS {who}", f"CREATE DATABASE {name}", f"GRANT ALL ON {name}.* TO {who}")
        return f"mysql://{USER}@127.0.0.1:{self._port}/{name}"
