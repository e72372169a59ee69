"""`dpa stream`: simulated terminals, a local Kafka and a listener per topic in one process, with a balance.

Each session is independent: its broker starts empty and its consumer group is new, so neither a reset warehouse nor a
killed broker can affect it. The data that it has loaded stays in the warehouse.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType
from typing import NoReturn
from uuid import uuid4

from rich.console import Console

from freight.care.reconcile import AGREE, reconcile
from freight.catalog import Catalog, read_catalog
from freight.database_urls import safe_url
from freight.demo.broker import demo_broker
from freight.demo.embedded_kafka import EmbeddedKafka
from freight.demo.local_kafka import LocalKafka
from freight.demo.view import StreamView, TopicBalance, TopicNow, balance_lines, balance_table
from freight.errors import ConfigurationError, DpaError
from freight.pipeline import CoreSteps, Run, run_catalog
from freight.settings import Settings, started_by
from freight.simulator import Corridor, fill_landing
from freight.simulator.producer import Terminals, make_topics
from freight.streaming.consumer import KafkaReader
from freight.streaming.listener import ListenSettings
from freight.streaming.session import listen, new_listener, open_stream_engine, topic_of
from freight.streaming.status import Status
from freight.types import RunId
from freight.warehouse import ledger
from freight.warehouse.connect import Engine, closing, open_engine, reading
from freight.warehouse.migrate import migrate
from freight.warehouse.streams import Stream
from freight.words import counted

log = logging.getLogger("freight")

TOPICS = {dataset: topic_of(dataset) for dataset in ("transactions", "terminal_events")}
GROUP = "dpa-demo"
QUIET = {"log_level": "2"}  # the client's own output would disturb the table; we log its errors

REDRAW_S = 0.25
START_S = 15.0  # for the listeners to join their groups
FLUSH_S = 10.0  # for the last acknowledgements
READ_ON_S = 20.0  # for the listeners to read the acknowledged messages
END_S = 30.0  # for the listeners to end after that: longer than a drain
SAME_REQUEST_S = 0.5  # a signal to the process and to its group is one request to end
INTERRUPTED = 130


@dataclass(frozen=True)
class Wishes:
    """The parameters of a session.

    Attributes:
        rate: The events per second of each topic.
        poison_share: The probability, 0..1, that an event is replaced by one that belongs in quarantine.
        seconds: The seconds for which the terminals send; None to send until a request to end.
    """

    rate: float = 200.0
    poison_share: float = 0.01
    seconds: float | None = None


def stream_demo(settings: Settings, wishes: Wishes, console: Console) -> bool:
    """Run a session and print its balance; return True if all produced messages are accounted for.

    Raises:
        ConfigurationError: The catalog or the warehouse is for real data, a parameter is invalid, or another demo runs.
        TransientError: The broker or the warehouse was not ready at the start.
    """
    engine = open_engine(settings.warehouse_url)
    _prepare(engine, settings, console)
    with demo_broker(settings.home, lambda line: _say(console, line)) as broker:
        session = _Session(settings.warehouse_url, broker, wishes)
        with _requests_to_end(console) as asked, StreamView(console) as view:
            session.run(view, asked)
        proved = _conclude(engine, session, console)
    _show_places(settings, console)
    return proved


def _say(console: Console, line: str, style: str | None = None) -> None:
    console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


# --- Before -------------------------------------------------------------------------------------------------------


def _prepare(engine: Engine, settings: Settings, console: Console) -> None:
    """Prepare the warehouse, so that simulated messages find their sites.

    Raises:
        ConfigurationError: The catalog or the warehouse is for real data.
    """
    catalog = read_catalog(settings.catalog)
    if not catalog.simulated:
        raise ConfigurationError(
            f"{settings.catalog.name} names real sources, and simulated messages must not get into their warehouse: "
            "unset DPA_CATALOG and DPA_WAREHOUSE_URL for the demo"
        )
    migrate(engine)
    with reading(engine) as connection:
        ledger.refuse_to_mix(connection, simulated=True)
        is_empty = ledger.holds_simulated_data(connection) is None
    if is_empty:
        _load_references(engine, catalog, settings, console)


def _load_references(engine: Engine, catalog: Catalog, settings: Settings, console: Console) -> None:
    """Load stations and machines; the nightly load handles the simulated transactions beside them."""
    fill_landing(settings.landing)
    references = tuple(source for source in catalog.sources if source.contract.event_time is None)
    run = Run(engine, RunId(f"{GROUP}-references-{uuid4()}"), settings.spool, clock=lambda: datetime.now(UTC))
    steps = CoreSteps(run, catalog.model_copy(update={"sources": references}))
    report = run_catalog(steps, started_by())
    loaded = ", ".join(f"{counted(report.counts(source).read, 'row')} of {source}" for source in report.sources)
    _say(console, f"The warehouse was empty: loaded {loaded}")
    for failure in report.failures:
        _say(console, f"FAILED {failure.source}: {failure.message}")


# --- The session --------------------------------------------------------------------------------------------------


class _Listener:
    """A listener in a thread."""

    def __init__(self, url: str, stream: Stream, reader: Callable[[], KafkaReader], stop: threading.Event) -> None:
        self.stream, self.status, self.error = stream, Status(), ""
        self._url, self._reader, self._stop = url, reader, stop
        self._thread = threading.Thread(target=self._run, name=f"listener of {stream.topic}", daemon=True)
        self.start, self.lives = self._thread.start, self._thread.is_alive

    def _run(self) -> None:
        try:
            self._listen()
        except Exception as error:
            log.exception("%s", self.stream.topic)
            message = str(error)
            self.error = message if message.startswith(self.stream.topic) else f"{self.stream.topic}: {message}"

    def _listen(self) -> None:
        with closing(open_stream_engine(self._url, self.stream)) as engine:
            listen(
                engine,
                self.stream,
                new_listener(RunId(f"{self.stream.group}-{self.stream.dataset}-{uuid4().hex[:8]}")),
                self._reader(),
                ListenSettings(),
                started_by=started_by(),
                stop=self._stop,
                status=self.status,
            )


class _Session:
    """A session of terminals that send and listeners that load.

    Attributes:
        troubles: The errors, for people.
    """

    def __init__(self, url: str, broker: LocalKafka | EmbeddedKafka, wishes: Wishes) -> None:
        client = {"bootstrap.servers": broker.bootstrap, **QUIET}
        self.troubles: list[str] = []
        self._title, self._wishes, self._began_at = broker.kind.partition(",")[0], wishes, time.monotonic()
        self._terminals = Terminals(
            {**client, "logger": logging.getLogger("librdkafka")},
            Corridor(),
            TOPICS,
            rate=wishes.rate,
            poison_share=wishes.poison_share,
        )
        make_topics(client, TOPICS.values())
        self._stop = threading.Event()
        self._listeners = [
            _Listener(url, stream, _reader_of(broker, client, stream), self._stop) for stream in _streams()
        ]

    def run(self, view: StreamView, asked: Callable[[], bool]) -> None:
        """Send and load until a request to end; then let the listeners read to the end."""
        self._view, self._began_at = view, time.monotonic()
        for listener in self._listeners:
            listener.start()
        self._watch("starting", lambda: asked() or self._all_listen() or not self._listeners_live(), START_S)
        self._began_at = time.monotonic()
        self._terminals.start()
        self._watch("Ctrl-C ends", lambda: asked() or self._is_over() or not self._all_live())
        try:
            self._terminals.stop(FLUSH_S)
        except Exception as error:  # the balance is printed anyway
            self.troubles.append(f"terminals: {error}")
        self._watch("reading to the end", lambda: self._all_read() or not self._listeners_live(), READ_ON_S)
        if self._listeners_live() and not self._all_read():
            self.troubles.append(f"the listeners had not read to the end after {READ_ON_S:.0f} s: lower the rate")
        self._stop.set()
        self._watch("ending", lambda: not any(listener.lives() for listener in self._listeners), END_S)
        self.troubles += [listener.error for listener in self._listeners if listener.error]

    def balances(self) -> list[TopicBalance]:
        """Return the balance of each topic."""
        return [TopicBalance(now.topic, now.produced, now.listener.counts) for now in self._now()]

    def _watch(self, phase: str, until: Callable[[], bool], limit_s: float = float("inf")) -> None:
        """Show the progress until a condition holds, or until the time is over."""
        deadline = time.monotonic() + limit_s
        while True:
            minutes, seconds = divmod(int(time.monotonic() - self._began_at), 60)
            self._view.show(self._now(), f"{self._title} - {minutes}:{seconds:02} - {phase}")
            if until() or time.monotonic() > deadline:
                return
            time.sleep(REDRAW_S)

    def _now(self) -> list[TopicNow]:
        snapshots = [(listener.stream.topic, listener.status.now()) for listener in self._listeners]
        produced = self._terminals.acknowledged  # read last: every loaded message is in it
        return [TopicNow(topic, produced[topic], snapshot) for topic, snapshot in snapshots]

    def _is_over(self) -> bool:
        return self._wishes.seconds is not None and time.monotonic() - self._began_at >= self._wishes.seconds

    def _all_live(self) -> bool:
        return self._terminals.sending and self._listeners_live()

    def _listeners_live(self) -> bool:
        return all(listener.lives() for listener in self._listeners)

    def _all_listen(self) -> bool:
        return all(listener.status.now().state == "listening" for listener in self._listeners)

    def _all_read(self) -> bool:
        return all(now.listener.messages >= now.produced for now in self._now())


def _streams() -> list[Stream]:
    """Return the streams of a new session, each with a consumer group of its own.

    Each topic has its own group: the members of one group would wait for each other whenever one of them joins.
    """
    session = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"
    return [Stream(dataset, topic, f"{GROUP}-{session}-{dataset}", simulated=True) for dataset, topic in TOPICS.items()]


def _reader_of(
    broker: LocalKafka | EmbeddedKafka, client: Mapping[str, str], stream: Stream
) -> Callable[[], KafkaReader]:
    has_identity = not isinstance(broker, EmbeddedKafka)
    return lambda: KafkaReader(client, stream.topic, stream.group, has_identity=has_identity)


@contextmanager
def _requests_to_end(console: Console) -> Iterator[Callable[[], bool]]:
    """Treat the first Ctrl-C or SIGTERM as a request to end cleanly, and the second one as an order to end at once.

    Yields:
        A function that returns True after a request.
    """
    came_at: list[float] = []

    def take(_: int, __: FrameType | None) -> None:
        now = time.monotonic()
        if came_at and now - came_at[0] > SAME_REQUEST_S:
            _end_at_once(console)
        came_at.append(now)

    before = {number: signal.signal(number, take) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came_at)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_at_once(console: Console) -> NoReturn:
    """End at once: uncommitted data is rolled back, and the broker ends with this process."""
    if console.is_terminal:
        os.write(1, b"\x1b[?25h\n")  # shows the cursor; the console itself may be in the middle of printing
    os._exit(INTERRUPTED)


# --- After --------------------------------------------------------------------------------------------------------


def _conclude(engine: Engine, session: _Session, console: Console) -> bool:
    """Print the balance and prove the ledger; return True if both hold."""
    balances = session.balances()
    console.print(balance_table(balances))
    for trouble in session.troubles:
        _say(console, f"FAILED {trouble}", "bold red")
    is_balanced = not any(balance.missing for balance in balances)
    for line in balance_lines(balances):
        _say(console, line, "bold green" if is_balanced else "bold red")
    return _is_proved(engine, console) and is_balanced and not session.troubles


def _is_proved(engine: Engine, console: Console) -> bool:
    """Reconcile as `dpa reconcile` does; return True if the ledger holds."""
    try:
        findings = reconcile(engine)
    except DpaError as error:
        _say(console, f"FAILED dpa reconcile: {error}", "bold red")
        return False
    for finding in findings:
        _say(console, f"BROKEN {finding}", "bold red")
    if not findings:
        _say(console, f"{AGREE} (dpa reconcile)", "bold green")
    return not findings


def _show_places(settings: Settings, console: Console) -> None:
    tables = [stream.contract.table for stream in _streams()]
    places = {
        "warehouse": safe_url(settings.warehouse_url),
        "tables": ", ".join([*tables, "quarantine", "v_streams"]),
        "log": settings.logs / "dpa.log",
    }
    _say(console, "The warehouse holds SIMULATED data. `dpa reset` starts clean.", "yellow")
    for name, place in places.items():
        _say(console, f"  {name:<10} {place}")
