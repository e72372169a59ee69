"""The servers that all candidates share: one PostgreSQL with durable commits, and one Apache Kafka."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg

from benchmarks.streaming.processes import Stat, process_stats
from freight.demo.local_kafka import LocalKafka, fetch_broker, why_not
from freight.errors import ConfigurationError
from freight.settings import PROJECT_ROOT
from tests.lib.postgres import PostgresServer

KAFKA_FOLDER = PROJECT_ROOT / ".kafka"

# Committed data is on disk, as in production. Memory and WAL have the sizes of a small server.
SAFE_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "maintenance_work_mem": "256MB",
    "synchronize_seqscans": "off",
}
SERVER_JVM = ("-Xms1g", "-Xmx1g", "-XX:+UseG1GC")
PARTITIONS = 4

_numbers = count()


@dataclass(frozen=True)
class Postgres:
    """The PostgreSQL server."""

    server: PostgresServer
    folder: Path

    def cpu_s(self) -> float:
        """Return the CPU seconds of the server so far, closed connections included."""
        postmaster = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        return sum(_cpu_s(stat, postmaster) for stat in process_stats())

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.server.port}/{database}"

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Yield the URL of a copy of a database, as long as the context lasts."""
        name = f"bench_{next(_numbers)}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        try:
            yield self.url(name)
        finally:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def _run(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


def _cpu_s(stat: Stat, postmaster: int) -> float:
    if stat.pid == postmaster:
        return stat.cpu_s + stat.cpu_of_ended_children_s
    return stat.cpu_s if stat.parent == postmaster else 0.0


def name_of(url: str) -> str:
    """Return the name of the database at a URL."""
    return url.rpartition("/")[2]


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run PostgreSQL with `SAFE_SETTINGS` as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="dpa-bench-") as name, PostgresServer(Path(name), SAFE_SETTINGS) as server:
        yield Postgres(server, Path(name))


@contextmanager
def kafka() -> Iterator[LocalKafka]:
    """Run Apache Kafka with a server's memory as long as the context lasts.

    Raises:
        ConfigurationError: It is not available on this machine.
    """
    libs = fetch_broker(KAFKA_FOLDER)
    if libs is None:
        raise ConfigurationError(why_not(KAFKA_FOLDER))
    with (
        tempfile.TemporaryDirectory(prefix="dpa-bench-") as name,
        LocalKafka(libs, Path(name), PARTITIONS, jvm=SERVER_JVM) as broker,
    ):
        yield broker


def settings_in_words() -> str:
    """Return the settings behind the figures, for people."""
    settings = ", ".join(f"{name} {value}" for name, value in SAFE_SETTINGS.items() if name != "synchronize_seqscans")
    return f"{os.cpu_count()} cores; PostgreSQL: {settings}; Kafka: {PARTITIONS} partitions, {' '.join(SERVER_JVM)}"
