"""The listening flow in separate processes, and messages that arrive meanwhile."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa

from freight.streaming.alive import alive_path
from freight.warehouse.connect import Engine, reading
from tests.lib.kafka import Broker
from tests.lib.kills import ProgramProcess
from tests.lib.streams import event, send
from tests.lib.waiting import LIMIT_S

# A drain has as much time as a busy machine needs, unless a test is about its limit.
QUICK_BEATS = f"""
import os, sys
from tasks import heartbeat, stoppable
stoppable.DRAIN_S = float(os.environ.get("DRAIN_S", "{LIMIT_S}"))
heartbeat.BEAT_S = heartbeat.SHOW_S = 1.0
from flows.listen import main
sys.exit(main())
"""


class ListenProcess(ProgramProcess):
    """The listening flow on a running Prefect server."""

    def __init__(
        self,
        home: Path,
        url: str,
        kafka: Broker,
        settings: Mapping[str, str],
        *options: str,
        flow_run: UUID | None = None,
    ) -> None:
        """Start the flow from the shell with options, or like a worker if there is a flow run."""
        self._home = home
        shell = ["-c", QUICK_BEATS, *options]
        worker = ["-m", "prefect", "flow-run", "execute", str(flow_run)]
        places = {"DPA_WAREHOUSE_URL": url, "DPA_KAFKA_BOOTSTRAP": kafka.bootstrap}
        super().__init__(home, worker if flow_run else shell, {**places, **settings})

    @property
    def log(self) -> str:
        """The log file of its installation so far."""
        path = self._home / "logs" / "dpa.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def wait_until_it_reads(self, engine: Engine) -> UUID:
        """Wait until the listener commits messages; return the flow run."""
        alive, before = alive_path(self._home / "run", "transactions"), count(engine, "fact_transactions")
        self.wait_until(lambda: alive.exists() and count(engine, "fact_transactions") > before)
        with reading(engine) as connection:
            newest = sa.text("SELECT run_id FROM runs ORDER BY started_at DESC")
            return UUID(connection.execute(newest).scalar())


def count(engine: Engine, table: str) -> int:
    """Return the number of rows of a table."""
    with reading(engine) as connection:
        return int(connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())


class Load:
    """Messages that arrive 200 at a time, with almost no pause by default.

    Attributes:
        sent: The number of acknowledged messages.
    """

    def __init__(self, kafka: Broker, topic: str, partitions: int, pause_s: float = 0.02) -> None:
        self.sent = 0
        self._kafka, self._topic, self._partitions, self._pause_s = kafka, topic, partitions, pause_s

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Send messages as long as the context lasts."""
        enough = threading.Event()
        thread = threading.Thread(target=self._send, args=(enough,))
        thread.start()
        try:
            yield
        finally:
            enough.set()
            thread.join()

    def _send(self, enough: threading.Event) -> None:
        while not enough.wait(self._pause_s):
            values: list[bytes | None] = [event(self.sent + i) for i in range(200)]
            self.sent += len(send(self._kafka, self._topic, values, self.sent // 200 % self._partitions))
