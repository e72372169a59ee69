"""A local Apache Kafka for the demo and the tests: the real one, one node in KRaft mode, or an embedded imitation."""

import base64
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from freight.demo.embedded_kafka import EmbeddedKafka
from freight.demo.kafka_jars import KAFKA_VERSION, fetch_broker, why_not
from freight.errors import ConfigurationError

__all__ = ["EmbeddedKafka", "LocalKafka", "fetch_broker", "open_broker", "why_not"]

HOST = "127.0.0.1"
START_LIMIT_S = 300.0
STOP_LIMIT_S = 30.0
FORMAT_LIMIT_S = 300.0
POLL_S = 0.05
LAST_WORDS = 3  # lines of the broker's log in an error

# Below the ports that systems use for outgoing connections: such a connection, even one of a client that searches for
# the broker, could take the port of a stopped broker. Each process searches from a place of its own.
FIRST_PORT, PORTS, PORTS_OF_A_PROCESS = 20_000, 12_000, 12

# Starts in a third of the time and with half the memory of a server's settings; not for benchmarks.
SMALL_JVM = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
EVERY_JVM = ("-XX:-UsePerfData", "-Djava.io.tmpdir=tmp", "-Dlog4j2.configurationFile=log4j2.xml")

# The broker's process sends the guard its number, then becomes Java; the guard waits until this process has ended, in
# any way, which closes the pipe. The system's own signal for that comes already when the starting thread ends.
GUARD = 'read -r pid; read -r end; kill -KILL "$pid"'
BROKER = 'echo $$ >&0; exec "$@" </dev/null'
# Java treats file names as ASCII unless the locale says otherwise.
UTF8 = ("env", "LC_ALL=C.UTF-8")

STARTED = "Kafka Server started"
LOGGING = f"""\
<Configuration status="ERROR">
  <Appenders>
    <Console name="console" target="SYSTEM_OUT"><PatternLayout pattern="%d %p %c{{1}} %m%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="console"/></Root>
    <Logger name="kafka.server.KafkaRaftServer" level="INFO"/> <!-- says: {STARTED} -->
  </Loggers>
</Configuration>
"""

ONE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "log.dirs": "data",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
}
BEHAVIOUR = {
    "auto.create.topics.enable": "false",
    "log.retention.ms": "-1",  # simulated messages may have any age
    "log.cleaner.dedupe.buffer.size": "2000000",  # in place of 128 MiB
    "group.initial.rebalance.delay.ms": "0",
}
# A demo that runs for days must not fill the disk: 64 MiB per partition hold hours at its usual rate.
DEMO = {
    "auto.create.topics.enable": "true",
    "log.retention.bytes": str(64 << 20),
    "log.segment.bytes": str(16 << 20),
}


class LocalKafka:
    """Apache Kafka on free ports of this machine; it ends with this process, in whatever way that ends.

    `start` after `stop` finds the same data on the same ports.

    Args:
        libs: The folder of the jars, from `fetch_broker`.
        folder: The folder of data, settings and log; created if missing.
        partitions: The default number of partitions of a new topic.
        options: Further settings of the broker, which override those here.
        jvm: Java's settings for memory and speed.

    Attributes:
        bootstrap: The host:port of the listener, which requires no login.
        log_path: The log of the broker.
    """

    kind = f"Apache Kafka {KAFKA_VERSION}"

    def __init__(
        self,
        libs: Path,
        folder: Path,
        partitions: int = 4,
        options: Mapping[str, str] | None = None,
        jvm: Sequence[str] = SMALL_JVM,
    ) -> None:
        self._libs = libs.resolve()
        self._folder = folder.resolve()
        self._partitions = partitions
        self._options = dict(options or {})
        self._jvm = tuple(jvm)
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._ports = dict(zip(("PLAINTEXT", "CONTROLLER"), free_ports(2), strict=True))
        self.bootstrap = f"{HOST}:{self._ports['PLAINTEXT']}"
        self.log_path = self._folder / "broker.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the broker and wait until it serves; does nothing if it runs.

        Raises:
            ConfigurationError: The broker ended, or does not serve in time; the message names its log.
        """
        if self._process is not None:
            if self._process.poll() is None:
                return
            self._clean_up()  # it has ended by itself
        self._write_files()
        if not (self._folder / "data" / "meta.properties").exists():
            self._format()
        log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._launch()
        try:
            self._wait_until_ready(log_start)
        except BaseException:
            self._kill()
            raise

    def stop(self) -> None:
        """Shut the broker down cleanly; does nothing if it does not run."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._clean_up()

    def _kill(self) -> None:
        assert self._process
        self._process.kill()
        self._clean_up()

    def _write_files(self) -> None:
        (self._folder / "tmp").mkdir(parents=True, exist_ok=True)
        (self._folder / "log4j2.xml").write_text(LOGGING, encoding="utf-8")
        settings = self._folder / "server.properties"
        settings.touch(mode=0o600)
        settings.write_text("".join(f"{name}={value}\n" for name, value in self._settings().items()), encoding="ascii")

    def _settings(self) -> dict[str, str]:
        """Return the broker's settings; paths are relative to its folder."""
        return {
            **ONE_NODE,
            **BEHAVIOUR,
            "num.partitions": str(self._partitions),
            "controller.quorum.voters": f"1@{HOST}:{self._ports['CONTROLLER']}",
            "listeners": ",".join(f"{name}://{HOST}:{port}" for name, port in self._ports.items()),
            **self._options,
        }

    def _format(self, *arguments: str) -> None:
        """Format the data folder.

        Args:
            arguments: Further arguments for Kafka's tool.

        Raises:
            ConfigurationError: The settings are not valid.
        """
        command = ["kafka.tools.StorageTool", "format", "-t", new_cluster_id(), "-c", "server.properties"]
        with self.log_path.open("ab") as log:
            done = subprocess.run(
                self._java(*SMALL_JVM, *EVERY_JVM, *command, *arguments),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=FORMAT_LIMIT_S,
                check=False,
            )
        if done.returncode != 0:
            raise self._failure(f"cannot make its data (exit code {done.returncode})", 0)

    def _launch(self) -> None:
        """Start the broker, and the guard that kills it once this process is gone."""
        self._guard = subprocess.Popen(["sh", "-c", GUARD], stdin=subprocess.PIPE, start_new_session=True)
        java = self._java(*self._jvm, *EVERY_JVM, "kafka.Kafka", "server.properties")
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", BROKER, "sh", *java],
                cwd=self._folder,
                stdin=self._guard.stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for this process, which stops the broker cleanly
            )

    def _java(self, *arguments: str) -> list[str]:
        return [*UTF8, "java", "-cp", f"{self._libs}/*", *arguments]

    def _wait_until_ready(self, log_start: int) -> None:
        assert self._process
        deadline = time.monotonic() + START_LIMIT_S
        while not (STARTED in self._log_from(log_start) and self._answers()):
            code = self._process.poll()
            if code is not None:
                raise self._failure(f"ended with exit code {code}", log_start)
            if time.monotonic() > deadline:
                raise self._failure(f"does not serve within {START_LIMIT_S:.0f} s", log_start)
            time.sleep(POLL_S)

    def _answers(self) -> bool:
        try:
            socket.create_connection((HOST, self._ports["PLAINTEXT"]), timeout=1).close()
        except OSError:
            return False
        return True

    def _log_from(self, start: int) -> str:
        with self.log_path.open("rb") as log:
            log.seek(start)
            return log.read().decode(errors="replace")

    def _failure(self, problem: str, log_start: int) -> ConfigurationError:
        lines = [
            line for line in self._log_from(log_start).splitlines() if line.strip() and not line.startswith("\tat ")
        ]
        return ConfigurationError(f"the local Kafka {problem}, see {self.log_path}: {' / '.join(lines[-LAST_WORDS:])}")

    def _clean_up(self) -> None:
        """Reap the ended broker, and end its guard."""
        assert self._process
        assert self._guard
        assert self._guard.stdin
        self._process.wait()
        self._guard.kill()
        self._guard.wait()
        self._guard.stdin.close()
        self._process = self._guard = None


def open_broker(home: Path) -> LocalKafka | EmbeddedKafka:
    """Return an unstarted broker for this machine: Apache Kafka if it is available, else the embedded one.

    Both create a topic at its first use. Apache Kafka keeps its data in `.kafka/demo` of the home folder.
    """
    folder = home / ".kafka"
    try:
        libs = fetch_broker(folder)
        reason = "" if libs else why_not(folder)
    except ConfigurationError as error:
        libs, reason = None, str(error)
    if libs is None:
        return EmbeddedKafka(reason)
    return LocalKafka(libs, folder / "demo", options=DEMO)


def new_cluster_id() -> str:
    """Return a random cluster id; it never begins with a dash, which would make it an option."""
    return base64.urlsafe_b64encode(b"\0" + secrets.token_bytes(15)).decode().rstrip("=")


_places = count()


def free_ports(number: int) -> Iterator[int]:
    """Yield unused ports, none twice in this process."""
    first = os.getpid() * PORTS_OF_A_PROCESS
    candidates = (FIRST_PORT + (first + place) % PORTS for place in _places)
    free = (port for port in candidates if _is_free(port))
    return (next(free) for _ in range(number))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
