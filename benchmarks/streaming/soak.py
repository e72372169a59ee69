"""Checks a listener for growth: its memory and open files during a long, steady load."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from benchmarks.streaming.latency import listener
from benchmarks.streaming.processes import memory_mib, open_files
from benchmarks.streaming.topics import BULK, Workload, new_topic
from freight.simulator.producer import Terminals
from tests.lib.waiting import wait_until

USAGE_EVERY_S = 5.0


@dataclass(frozen=True)
class Usage:
    """The listener at an instant."""

    memory_mib: int
    files: int


def soak(url: str, bootstrap: str, workload: Workload, minutes: float, rate: float) -> None:
    """Feed a listener, watch it, and compare its last third with its first."""
    topic = new_topic(bootstrap)
    settings = {"bootstrap.servers": bootstrap, **BULK}
    terminals = Terminals(settings, workload.corridor, {workload.dataset: topic}, rate=rate)
    usages = []
    with listener(url, bootstrap, topic, workload.dataset, "soak") as process, terminals:
        deadline = time.monotonic() + minutes * 60
        while time.monotonic() < deadline:
            time.sleep(USAGE_EVERY_S)
            assert process.poll() is None, "the listener has ended"
            usages.append(Usage(memory_mib(process.pid), open_files(process.pid)))
        sent, ended = terminals.stop()[topic], time.monotonic()
        _print(usages, sent, minutes)
        wait_until(lambda: _rows(url, workload.contract.table) == sent)
        behind_s = time.monotonic() - ended
    print(f"| caught up after the last event | | {behind_s:.0f} s |", flush=True)


def _rows(url: str, table: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(found[0]) if found else 0


def _print(usages: Sequence[Usage], sent: int, minutes: float) -> None:
    third = max(1, len(usages) // 3)
    first, last = usages[:third], usages[-third:]
    print(f"\n| soak: {sent:,} events in {minutes:g} min | first third | last third |\n|---|---|---|")
    print(f"| memory, median | {_median_mib(first)} MiB | {_median_mib(last)} MiB |")
    print(f"| open files, most | {_most_files(first)} | {_most_files(last)} |", flush=True)


def _median_mib(usages: Sequence[Usage]) -> str:
    return f"{statistics.median(usage.memory_mib for usage in usages):.0f}"


def _most_files(usages: Sequence[Usage]) -> int:
    return max(usage.files for usage in usages)
