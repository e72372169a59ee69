"""The usual peer: Kafka Connect with the Debezium JDBC sink, upserting by primary key.

It has the best known settings: the fastest of the tested variants (batches of 5,000, unnest, reduction buffer, a
consumer with large fetches), the schema in the settings instead of in each message, and messages with the names and
types of the table. It validates nothing and derives nothing.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import orjson
import psycopg

from benchmarks.streaming.connect_jars import Connect
from benchmarks.streaming.figures import Figures
from benchmarks.streaming.processes import memory_mib, process_stat
from benchmarks.streaming.servers import Postgres
from benchmarks.streaming.topics import Topic, connect_schema
from freight.contracts import Contract
from freight.demo.local_kafka import BROKER, GUARD, UTF8

BATCH_ROWS = 5_000
LOOK_S = 0.05
SLOWEST_RATE = 2_000  # events per second; a lower rate is a failure
START_LIMIT_S = 120.0
STOP_LIMIT_S = 30.0
LAST_WORDS = 3_000
JVM = ("-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-XX:-UsePerfData", "-Dlog4j2.configurationFile=log4j2.xml")
LOGGING = """\
<Configuration status="ERROR">
  <Appenders>
    <Console name="console" target="SYSTEM_OUT"><PatternLayout pattern="%d %p %c{1} %m%n"/></Console>
  </Appenders>
  <Loggers><Root level="WARN"><AppenderRef ref="console"/></Root></Loggers>
</Configuration>
"""

_numbers = count()


@dataclass(frozen=True)
class Target:
    """The table that the sink fills."""

    postgres: Postgres
    url: str
    table: str
    contract: Contract


@dataclass(frozen=True)
class _Seen:
    """The sink at an instant: the rows in the table, and the resources used so far."""

    at: float
    rows: int
    client_cpu_s: float
    server_cpu_s: float


def run_connect(connect: Connect, bootstrap: str, topic: Topic, target: Target) -> Figures:
    """Let the sink fill an empty table; return the figures from the first rows to the last, without the start-up.

    Args:
        connect: The jars.
        bootstrap: The bootstrap server.
        topic: The topic with the messages of `Workload.for_connect`.
        target: The table.

    Raises:
        RuntimeError: The sink failed; the message ends with its last output.
    """
    with tempfile.TemporaryDirectory(prefix="dpa-bench-") as name:
        folder = Path(name)
        _write_settings(folder, connect, bootstrap, topic, target)
        started = time.perf_counter()
        with _worker(folder, connect) as process:
            first, last = _watch(process, folder, topic, target)
            return Figures(
                events=last.rows - first.rows,
                seconds=last.at - first.at,
                whole_s=last.at - started,
                client_cpu_s=last.client_cpu_s - first.client_cpu_s,
                server_cpu_s=last.server_cpu_s - first.server_cpu_s,
                peak_mib=memory_mib(process.pid, "VmHWM"),
            )


def _write_settings(folder: Path, connect: Connect, bootstrap: str, topic: Topic, target: Target) -> None:
    (folder / "log4j2.xml").write_text(LOGGING, encoding="utf-8")
    for name, settings in {
        "worker": _worker_settings(folder, connect, bootstrap),
        "sink": _sink_settings(topic, target),
    }.items():
        lines = (f"{key}={value}\n" for key, value in settings.items())
        (folder / f"{name}.properties").write_text("".join(lines), encoding="utf-8")


def _worker_settings(folder: Path, connect: Connect, bootstrap: str) -> Mapping[str, object]:
    return {
        "bootstrap.servers": bootstrap,
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "offset.storage.file.filename": folder / "offsets",
        "offset.flush.interval.ms": 5_000,
        "plugin.path": connect.plugins,
        "plugin.discovery": "service_load",
        "listeners": "http://127.0.0.1:0",
        "consumer.max.poll.records": BATCH_ROWS,
        "consumer.fetch.min.bytes": 256 << 10,
        "consumer.fetch.max.wait.ms": 100,
        "consumer.max.partition.fetch.bytes": 4 << 20,
        "consumer.fetch.max.bytes": 50 << 20,
        "consumer.receive.buffer.bytes": 1 << 20,
    }


def _sink_settings(topic: Topic, target: Target) -> Mapping[str, object]:
    return {
        "name": f"sink-{next(_numbers)}-{time.time_ns()}",  # also its consumer group: a new one reads from the start
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "tasks.max": 1,
        "topics": topic.name,
        "connection.url": f"jdbc:{target.url.replace('postgres@', '')}?reWriteBatchedInserts=true",
        "connection.username": "postgres",
        "connection.password": "unused",
        "insert.mode": "upsert",
        "delete.enabled": "false",
        "primary.key.mode": "record_value",
        "primary.key.fields": ",".join(target.contract.business_key),
        "schema.evolution": "none",
        "collection.name.format": target.table,
        "batch.size": BATCH_ROWS,
        "dialect.postgres.unnest.insert.enabled": "true",
        "use.reduction.buffer": "true",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "true",
        "value.converter.schema.content": connect_schema(target.contract),
    }


@contextmanager
def _worker(folder: Path, connect: Connect) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the worker; a guard kills it when this process ends in any way, see `LocalKafka`."""
    main = ("org.apache.kafka.connect.cli.ConnectStandalone", "worker.properties", "sink.properties")
    java = (*UTF8, "java", *JVM, "-cp", f"{connect.libs}/*", *main)
    guard = subprocess.Popen(["sh", "-c", GUARD], stdin=subprocess.PIPE, start_new_session=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", BROKER, "sh", *java],
            cwd=folder,
            stdin=guard.stdin,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)
        guard.kill()
        guard.communicate()


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _watch(process: "subprocess.Popen[bytes]", folder: Path, topic: Topic, target: Target) -> tuple[_Seen, _Seen]:
    """Return the instants of the first rows and of the last."""
    with psycopg.connect(target.url, autocommit=True) as connection:

        def rows() -> int:
            found = connection.execute(f"SELECT count(*) FROM {target.table}").fetchone()
            return int(found[0]) if found else 0

        def see(rows_now: int) -> _Seen:
            return _Seen(time.perf_counter(), rows_now, process_stat(process.pid).cpu_s, target.postgres.cpu_s())

        first = None
        deadline = time.monotonic() + START_LIMIT_S + topic.messages / SLOWEST_RATE
        while True:
            _check(process, folder, deadline)
            if first is None:
                found = connection.execute(f"SELECT 1 FROM {target.table} LIMIT 1").fetchone()
                first = see(rows()) if found else None
            elif _has_last(connection, topic, target):
                last = see(topic.messages)
                assert rows() == topic.messages
                return first, last
            time.sleep(LOOK_S)


def _has_last(connection: "psycopg.Connection[tuple[object, ...]]", topic: Topic, target: Target) -> bool:
    """Return True if the last event of each partition is there: repeated counts of all rows would slow the sink."""
    key = target.contract.business_key[0]
    last = [orjson.loads(value)[key] for value in topic.last_values]
    found = connection.execute(f"SELECT count(*) FROM {target.table} WHERE {key} = ANY(%s)", [last]).fetchone()
    return found is not None and found[0] == len(last)


def _check(process: "subprocess.Popen[bytes]", folder: Path, deadline: float) -> None:
    said = (folder / "log").read_text(encoding="utf-8", errors="replace")
    if process.poll() is not None or "Task threw an uncaught" in said:
        raise RuntimeError(f"Kafka Connect failed: {said[-LAST_WORDS:]}")
    if time.monotonic() > deadline:
        raise RuntimeError(f"Kafka Connect is too slow: {said[-LAST_WORDS:]}")
