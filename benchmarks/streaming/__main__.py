"""`python -m benchmarks.streaming`: load a topic of simulated events with DPA and with its usual alternatives.

Everything runs in one call, against one PostgreSQL and one Kafka, each candidate in a process of its own and into an
empty table (except `replay`), in turns; the figures are medians of repeated runs. `copy` is the limit: COPY of ready
rows, committed every 30,000. DPA does all its default work: ledger, quarantine, sites, daily statistics.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import count
from pathlib import Path

from benchmarks.peers import settle
from benchmarks.streaming import dpa_listener, servers
from benchmarks.streaming.connect_jars import fetch_connect
from benchmarks.streaming.connect_peer import Target, run_connect
from benchmarks.streaming.copy_rows import Format, make_empty_table, write_ready_rows
from benchmarks.streaming.figures import Figures, medians, print_figures, run_module
from benchmarks.streaming.latency import Latency, measure_latency
from benchmarks.streaming.servers import KAFKA_FOLDER, Postgres, name_of
from benchmarks.streaming.soak import soak
from benchmarks.streaming.topics import MAKERS, Topic, Workload, fill
from freight.demo.local_kafka import LocalKafka
from freight.errors import DpaError

TITLES = {
    "copy": "COPY of ready rows, the limit",
    "copy-binary": "the same in binary form",
    "connect": "Kafka Connect, Debezium JDBC sink, upsert",
    "dpa": "**DPA**",
    "spoiled": "DPA, every tenth event twice and 1 % poison",
    "replay": "DPA, everything again for another group",
    "latency": "",
}
TABLE = "ready"

_numbers = count()


@dataclass
class Bench:
    """The servers, and the events of one dataset as each candidate needs them."""

    postgres: Postgres
    kafka: LocalKafka
    workload: Workload
    folder: Path
    prepared: str
    loaded: str = field(default="", init=False)

    @cached_property
    def topic(self) -> Topic:
        """The events."""
        return fill(self.kafka.bootstrap, self.workload.messages())

    @cached_property
    def spoiled_topic(self) -> Topic:
        """The events, some of them broken and some doubled."""
        return fill(self.kafka.bootstrap, self.workload.spoiled())

    @cached_property
    def connect_topic(self) -> Topic:
        """The events in the sink's format."""
        return fill(self.kafka.bootstrap, self.workload.for_connect())

    def ready_rows(self, form: Format) -> Path:
        """Return the folder with the rows that DPA has loaded."""
        folder = self.folder / self.workload.dataset / form
        if not folder.exists():
            write_ready_rows(self.postgres.url(self.loaded), self.workload.contract, folder, form)
        return folder

    def load(self, url: str, topic: Topic) -> Figures:
        """Run DPA's listener on a topic until its end."""
        settle(url)
        target = (url, self.kafka.bootstrap, topic.name, self.workload.dataset, f"group-{next(_numbers)}")
        figures = run_module("dpa_listener", *target, server_cpu_s=self.postgres.cpu_s)
        assert figures.events == topic.messages, f"{figures.events} of {topic.messages} messages were read"
        return figures

    def copy(self, form: Format) -> Figures:
        """Measure the limit."""
        ready = self.ready_rows(form)
        with self.postgres.database(self.prepared) as url:
            make_empty_table(url, self.workload.contract, TABLE)
            settle(url)
            return run_module("copy_rows", url, str(ready), form, TABLE, server_cpu_s=self.postgres.cpu_s)

    def connect(self) -> Figures:
        """Measure Kafka Connect."""
        jars, topic = fetch_connect(KAFKA_FOLDER), self.connect_topic
        with self.postgres.database(self.prepared) as url:
            make_empty_table(url, self.workload.contract, TABLE, only_needed=True)
            settle(url)
            target = Target(self.postgres, url, TABLE, self.workload.contract)
            return run_connect(jars, self.kafka.bootstrap, topic, target)

    def dpa(self) -> Figures:
        """Measure DPA on unchanged events."""
        with self.postgres.database(self.prepared) as url:
            return self.load(url, self.topic)

    def spoiled(self) -> Figures:
        """Measure DPA with doubled and broken events."""
        topic = self.spoiled_topic
        with self.postgres.database(self.prepared) as url:
            return self.load(url, topic)

    def replay(self) -> Figures:
        """Measure DPA when it has every event already."""
        with self.postgres.database(self.loaded) as url:
            return self.load(url, self.topic)

    def latency(self) -> Latency:
        """Measure the latency of events."""
        with self.postgres.database(self.prepared) as url:
            settle(url)
            return measure_latency(url, self.kafka.bootstrap, self.workload)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print Markdown tables."""
    asked = _parser().parse_args(arguments)
    if unknown := set(asked.only) - TITLES.keys():
        raise SystemExit(f"--only knows {', '.join(TITLES)}, not {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # end the servers on the way out
    try:
        with servers.postgres() as postgres, servers.kafka() as kafka, tempfile.TemporaryDirectory() as folder:
            print(servers.settings_in_words(), flush=True)
            for dataset in asked.dataset or MAKERS:
                _measure(postgres, kafka, Workload(dataset, asked.events), Path(folder), asked)
    except DpaError as error:
        raise SystemExit(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "benchmarks.streaming", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--dataset", action="append", choices=MAKERS, help="all by default")
    parser.add_argument("--only", type=lambda names: names.split(","), default=list(TITLES), help=", ".join(TITLES))
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="feed a listener for this time instead")
    parser.add_argument("--rate", type=float, default=10_000, help="events per second of the soak")
    return parser


def _measure(
    postgres: Postgres, kafka: LocalKafka, workload: Workload, folder: Path, asked: argparse.Namespace
) -> None:
    with _prepared(postgres, workload) as prepared:
        if asked.soak:
            with postgres.database(prepared) as url:
                soak(url, kafka.bootstrap, workload, asked.soak, asked.rate)
            return
        bench = Bench(postgres, kafka, workload, folder, prepared)
        _print_rates(bench, asked.only, asked.repeat)
        if "latency" in asked.only:
            _print_latency(workload.dataset, bench.latency())


@contextmanager
def _prepared(postgres: Postgres, workload: Workload) -> Iterator[str]:
    """Yield the name of a database with all tables and the machines' reference."""
    with postgres.database() as url:
        dpa_listener.prepare(url, workload.corridor)
        yield name_of(url)


def _print_rates(bench: Bench, only: Sequence[str], repeat: int) -> None:
    candidates: Mapping[str, Callable[[], Figures]] = {
        "copy": partial(bench.copy, "csv"),
        "copy-binary": partial(bench.copy, "binary"),
        "connect": bench.connect,
        "dpa": bench.dpa,
        "spoiled": bench.spoiled,
        "replay": bench.replay,
    }
    chosen = {name: run for name, run in candidates.items() if name in only}
    with bench.postgres.database(bench.prepared) as url:
        if chosen.keys() - {"connect", "dpa", "spoiled"}:
            bench.loaded = name_of(url)
            bench.load(url, bench.topic)
        rounds = [{name: run() for name, run in chosen.items()} for _ in range(repeat)]
    by_name = {TITLES[name]: medians([taken[name] for taken in rounds]) for name in chosen}
    if by_name:
        print_figures(bench.workload.dataset, by_name, TITLES["copy"], TITLES["connect"])


def _print_latency(dataset: str, latency: Latency) -> None:
    print(f"\n| {dataset}: from acknowledgement to visibility, 1,000 events/s | ms |\n|---|---|")
    print(f"| median | {latency.p50_ms:.0f} |\n| 99 % | {latency.p99_ms:.0f} |\n| longest | {latency.most_ms:.0f} |")
    print(f"\n{latency.events:,} events", flush=True)


if __name__ == "__main__":
    main()
