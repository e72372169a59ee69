"""`dpa` as an operator runs it, but in this process: its imports would take seconds in another one."""

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest
import sqlalchemy as sa
from loguru import logger
from sqlalchemy.engine.interfaces import DBAPIConnection

from freight.console.cli import main
from freight.log import LOGGERS


class Done(NamedTuple):
    """The result of a command."""

    returncode: int
    stdout: str
    stderr: str


class Dpa:
    """The commands of an installation.

    Args:
        home: The folder of the installation.
        url: The URL of its warehouse.
    """

    def __init__(self, home: Path, url: str) -> None:
        self.environment = {"DPA_HOME": str(home), "DPA_WAREHOUSE_URL": url}

    def __call__(self, *arguments: str) -> Done:
        """Run a command to its end."""
        out, errors = io.StringIO(), io.StringIO()
        with self._shell(*arguments), redirect_stdout(out), redirect_stderr(errors):
            returncode = _exit_code()
        return Done(returncode, out.getvalue(), errors.getvalue())

    @contextmanager
    def _shell(self, *arguments: str) -> Iterator[None]:
        """Start the command as a shell does, and restore the settings of the process."""
        with pytest.MonkeyPatch.context() as patched, _own_log(), _own_umask(), _own_connections():
            for name, value in self.environment.items():
                patched.setenv(name, value)
            patched.setattr(sys, "argv", ["dpa", *arguments])
            yield


def _exit_code() -> int:
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@contextmanager
def _own_umask() -> Iterator[None]:
    before = os.umask(0o077)
    os.umask(before)
    yield
    os.umask(before)


@contextmanager
def _own_connections() -> Iterator[None]:
    """Close resources that a command leaves to the end of its process."""
    made: list[DBAPIConnection] = []

    def note(connection: DBAPIConnection, _: object) -> None:
        made.append(connection)

    sa.event.listen(sa.Pool, "connect", note)
    yield
    sa.event.remove(sa.Pool, "connect", note)
    for connection in made:
        connection.close()


@contextmanager
def _own_log() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(one.propagate, one.level, [*one.handlers]) for one in loggers]
    yield
    for one, (propagates, level, handlers) in zip(loggers, before, strict=True):
        one.propagate, one.handlers = propagates, handlers
        one.setLevel(level)
    logger.remove()
