"""The latency from the broker's acknowledgement of an event to its visibility in the table for another reader."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import psycopg
from confluent_kafka import KafkaError, Producer
from confluent_kafka import Message as Report

from benchmarks.streaming.topics import QUIET, Workload, new_topic
from freight.contracts import Contract
from freight.settings import PROJECT_ROOT
from freight.simulator.producer import LIVE
from freight.simulator.stream import first_live_number

RATE = 1_000  # events per second
SECONDS = 30
TICK_S = 0.01
LOOK_S = 0.002
WARM_UP_S = 3.0  # events of the first seconds are sent and not counted
LIMIT_S = 60.0


@dataclass(frozen=True)
class Latency:
    """The milliseconds from acknowledgement to visibility."""

    events: int
    p50_ms: float
    p99_ms: float
    most_ms: float


@contextmanager
def listener(url: str, bootstrap: str, topic: str, dataset: str, group: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a listener of DPA in a process of its own until the context ends."""
    command = [sys.executable, "-m", "benchmarks.streaming.dpa_listener", url, bootstrap, topic, dataset, group]
    process = subprocess.Popen([*command, "--until-stopped"], cwd=PROJECT_ROOT, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        code = process.wait(LIMIT_S)
    assert code == 0, f"the listener ended with exit code {code}"


def measure_latency(url: str, bootstrap: str, workload: Workload) -> Latency:
    """Send live events for some seconds and watch the table."""
    topic = new_topic(bootstrap)
    with listener(url, bootstrap, topic, workload.dataset, "latency"):
        events = _Events(bootstrap, topic, workload)
        sender = threading.Thread(target=events.send, name="sender")
        sender.start()
        seen = _watch(url, workload.contract, events, sender)
        sender.join()
    taken = sorted((at - events.acknowledged[key]) * 1e3 for key, at in seen.items() if key not in events.warm_up)
    return Latency(len(taken), taken[len(taken) // 2], taken[len(taken) * 99 // 100], taken[-1])


class _Events:
    """Live events at an even rate, and the time of each acknowledgement (seconds of the monotonic clock)."""

    def __init__(self, bootstrap: str, topic: str, workload: Workload) -> None:
        self._topic, self._workload = topic, workload
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "log_level": QUIET,
            }
        )
        self.acknowledged: dict[str, float] = {}
        self.warm_up: set[str] = set()

    def send(self) -> None:
        number, corridor = first_live_number(datetime.now(UTC)), self._workload.corridor
        started = time.monotonic()
        sent, total = 0, int(RATE * (SECONDS + WARM_UP_S))
        while sent < total:
            due = min(total, int((time.monotonic() - started) * RATE))
            made = LIVE[self._workload.dataset](corridor, number + sent, due - sent, datetime.now(UTC))
            for message in made:
                report = partial(self._note, message.key, time.monotonic())
                self._producer.produce(self._topic, message.value, message.key, on_delivery=report)
            sent = due
            self._producer.poll(TICK_S)
        assert self._producer.flush(LIMIT_S) == 0

    def _note(self, key: str, sent_at: float, error: KafkaError | None, report: Report) -> None:
        assert error is None, error
        # The client reports the duration until the acknowledgement; this call may come later.
        self.acknowledged[key] = sent_at + (report.latency() or 0.0)
        if len(self.acknowledged) <= RATE * WARM_UP_S:
            self.warm_up.add(key)


def _watch(url: str, contract: Contract, events: _Events, sender: threading.Thread) -> dict[str, float]:
    """Look for acknowledged events that were not seen yet, until all are; return the time of each sighting."""
    key = contract.business_key[0]
    query = f"SELECT {key} FROM {contract.table} WHERE {key} = ANY(%s)"
    seen: dict[str, float] = {}
    deadline = time.monotonic() + SECONDS + LIMIT_S
    with psycopg.connect(url, autocommit=True) as connection:
        while time.monotonic() < deadline:
            done = not sender.is_alive()
            missing = [number for number in list(events.acknowledged) if number not in seen]
            if done and not missing:
                return seen
            found = connection.execute(query, [missing]).fetchall()
            seen |= dict.fromkeys((row[0] for row in found), time.monotonic())
            time.sleep(LOOK_S)
    raise AssertionError(f"{len(events.acknowledged) - len(seen)} events did not arrive")
