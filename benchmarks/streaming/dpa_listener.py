"""DPA as a candidate: a listener with default settings, in a process of its own.

Run as a program, this module listens: `python -m benchmarks.streaming.dpa_listener URL BOOTSTRAP TOPIC DATASET GROUP`.
It ends when everything is read, or with `--until-stopped` at SIGTERM.
"""

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import dpa
from benchmarks.streaming.figures import OwnFigures
from benchmarks.streaming.processes import memory_mib
from freight.catalog import Catalog, Source
from freight.pipeline import CoreSteps, Run, run_catalog
from freight.simulator import Corridor, write_json
from freight.streaming.consumer import KafkaReader
from freight.streaming.listener import ListenSettings, StopRules
from freight.streaming.session import listen, new_listener, open_stream_engine
from freight.streaming.status import Status
from freight.types import RunId
from freight.warehouse.connect import open_engine
from freight.warehouse.migrate import migrate
from freight.warehouse.streams import Stream

UNTIL_STOPPED = "--until-stopped"


def prepare(url: str, corridor: Corridor) -> None:
    """Create the tables, and load the reference of the corridor's machines."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_json(corridor.machines_on(dpa.DAY), folder / "machines_20260101.json")
        machines = Source(name="machines", dataset="machines", reader="json", location="machines*.json")
        engine = open_engine(url)
        migrate(engine)
        catalog = Catalog(sources=(machines,), folder=folder)
        run = Run(engine, RunId("machines"), folder / "spool", clock=lambda: dpa.NOW)
        report = run_catalog(CoreSteps(run, catalog), "bench")
        engine.dispose()
    assert not report.failures, report.failures


class TimedReader(KafkaReader):
    """A topic reader that notes the start of reading."""

    began_at: datetime | None = None

    def start(self, offsets: Mapping[int, int]) -> None:
        """See `TopicReader`."""
        self.began_at = self.began_at or datetime.now(UTC)
        super().start(offsets)


def main(url: str, bootstrap: str, topic: str, dataset: str, group: str, *options: str) -> None:
    """Listen, and print the figures."""
    stream = Stream(dataset, topic, group)
    reader = TimedReader({"bootstrap.servers": bootstrap}, topic, group)
    stop, status = threading.Event(), Status()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    rules = StopRules(at_end=UNTIL_STOPPED not in options)
    cpu_s = time.process_time()
    engine = open_stream_engine(url, stream)
    try:
        listen(
            engine,
            stream,
            new_listener(RunId(f"bench-{group}")),
            reader,
            ListenSettings(stop=rules),
            started_by="bench",
            stop=stop,
            status=status,
        )
    finally:
        engine.dispose()
    done = status.now()
    assert reader.began_at
    assert done.committed_at
    seconds = (done.committed_at - reader.began_at).total_seconds()
    OwnFigures(done.messages, seconds, time.process_time() - cpu_s, memory_mib(os.getpid(), "VmHWM")).report()


if __name__ == "__main__":
    main(*sys.argv[1:])
