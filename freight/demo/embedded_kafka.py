"""An Apache Kafka look-alike within this process, for machines without Java: the mock cluster of librdkafka.

librdkafka is the C library in the wheel of confluent-kafka, whose Python module knows nothing of the mock cluster.
It can produce, consume, commit and rebalance. It has no administration, no logins and no look-up by time, and forgets
the oldest messages of a partition beyond about 5 MB.
"""

import ctypes
import ctypes.util
import importlib.util
from enum import IntEnum
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from freight.errors import ConfigurationError

RD_KAFKA_PRODUCER = 0
RD_KAFKA_CONF_OK = 0
ONLY_EMERGENCIES = b"0"  # a broker that is taken down on purpose is no news
MESSAGE_BYTES = 512

Pointer, Text, Int, Int16, Int32, Size = (
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_int,
    ctypes.c_int16,
    ctypes.c_int32,
    ctypes.c_size_t,
)

# What is called of librdkafka: the types of result and arguments.
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "rd_kafka_conf_new": (Pointer,),
    "rd_kafka_conf_set": (Int, Pointer, Text, Text, Text, Size),
    "rd_kafka_new": (Pointer, Int, Pointer, Text, Size),
    "rd_kafka_destroy": (None, Pointer),
    "rd_kafka_mock_cluster_new": (Pointer, Pointer, Int),
    "rd_kafka_mock_cluster_destroy": (None, Pointer),
    "rd_kafka_mock_cluster_bootstraps": (Text, Pointer),
    "rd_kafka_mock_topic_create": (Int, Pointer, Text, Int, Int),
    "rd_kafka_mock_broker_set_down": (Int, Pointer, Int32),
    "rd_kafka_mock_broker_set_up": (Int, Pointer, Int32),
    "rd_kafka_mock_broker_set_rtt": (Int, Pointer, Int32, Int),
    "rd_kafka_mock_push_request_errors_array": (None, Pointer, Int16, Size, ctypes.POINTER(Int)),
    "rd_kafka_mock_clear_request_errors": (None, Pointer, Int16),
}


class Request(IntEnum):
    """Kinds of requests, by their number in Kafka's protocol."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    SYNC_GROUP = 14


class RequestError(IntEnum):
    """Answers that a request may get, by their number in Kafka's protocol."""

    NOT_LEADER = 6
    REQUEST_TIMED_OUT = 7
    COORDINATOR_LOAD_IN_PROGRESS = 14
    NOT_COORDINATOR = 16
    ILLEGAL_GENERATION = 22
    UNKNOWN_MEMBER_ID = 25
    REBALANCE_IN_PROGRESS = 27
    TOPIC_AUTHORIZATION_FAILED = 29
    TRANSPORT = -195  # librdkafka's own: no answer, the connection is closed


class EmbeddedKafka:
    """A cluster within this process; other processes may connect to it.

    A topic that nobody made is made, with 4 partitions, when a client first asks for it.

    Attributes:
        bootstrap: host:port of each broker, separated by commas, once it is started.
    """

    def __init__(self, brokers: int = 1, *, reason: str = "") -> None:
        self._brokers = brokers
        self._reason = reason
        self._client: int | None = None
        self._cluster: int | None = None
        self.bootstrap = ""

    @property
    def kind(self) -> str:
        """What this is, in words for people, and why it is not the real one."""
        return "librdkafka's embedded broker" + (f", because {self._reason}" if self._reason else "")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the cluster, unless it runs.

        Raises:
            ConfigurationError: confluent-kafka is not installed, or came without librdkafka.
        """
        if self._cluster:
            return
        library = _librdkafka()
        self._client = _new_client(library)
        self._cluster = library.rd_kafka_mock_cluster_new(self._client, self._brokers)
        self.bootstrap = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def stop(self) -> None:
        """Stop the cluster; all messages are gone."""
        if self._cluster:
            _librdkafka().rd_kafka_mock_cluster_destroy(self._cluster)
            self._cluster = None
        if self._client:
            _librdkafka().rd_kafka_destroy(self._client)
            self._client = None

    def create_topic(self, topic: str, partitions: int = 4) -> None:
        """Make a topic."""
        _check(_librdkafka().rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1))

    def take_down(self, broker: int = 1) -> None:
        """Close the connections of a broker, counted from 1, and refuse new ones; it keeps its messages."""
        _check(_librdkafka().rd_kafka_mock_broker_set_down(self._cluster, broker))

    def bring_up(self, broker: int = 1) -> None:
        """Let a broker answer again."""
        _check(_librdkafka().rd_kafka_mock_broker_set_up(self._cluster, broker))

    def slow_down(self, milliseconds: int, broker: int = 1) -> None:
        """Let each answer of a broker take that long from now on."""
        _check(_librdkafka().rd_kafka_mock_broker_set_rtt(self._cluster, broker, milliseconds))

    def fail(self, request: Request, *errors: int) -> None:
        """Answer the next requests of a kind with these errors, one each; see `RequestError`."""
        codes = (Int * len(errors))(*errors)
        _librdkafka().rd_kafka_mock_push_request_errors_array(self._cluster, request, len(errors), codes)

    def stop_failing(self, request: Request) -> None:
        """Forget the errors that wait for requests of a kind."""
        _librdkafka().rd_kafka_mock_clear_request_errors(self._cluster, request)


@cache
def _librdkafka() -> ctypes.CDLL:
    """Load the library that confluent-kafka uses itself.

    Raises:
        ConfigurationError: it is not there.
    """
    library = ctypes.CDLL(str(_library_path()))
    for name, (result, *arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _library_path() -> Path | str:
    """Find the library without importing confluent-kafka, which is the business of the consumer and the producer."""
    package = importlib.util.find_spec("confluent_kafka")
    if package is None or package.origin is None:
        raise ConfigurationError("the embedded broker needs the package confluent-kafka, which is not installed")
    folder = Path(package.origin).parent
    beside = [
        folder.with_name("confluent_kafka.libs"),
        folder / ".dylibs",
        folder,
    ]  # Linux and Windows, macOS, own build
    found: list[Path | str] = [path for place in beside for path in sorted(place.glob("librdkafka*"))]
    installed = ctypes.util.find_library("rdkafka") if not found else None
    if not found and not installed:
        raise ConfigurationError("confluent-kafka came without librdkafka: install it from its wheel")
    return installed or found[0]


def _new_client(library: ctypes.CDLL) -> int:
    """Make the client that a mock cluster hangs on."""
    settings, message = library.rd_kafka_conf_new(), ctypes.create_string_buffer(MESSAGE_BYTES)
    assert (
        library.rd_kafka_conf_set(settings, b"log_level", ONLY_EMERGENCIES, message, MESSAGE_BYTES) == RD_KAFKA_CONF_OK
    )
    client = library.rd_kafka_new(RD_KAFKA_PRODUCER, settings, message, MESSAGE_BYTES)
    if not client:
        raise ConfigurationError(f"the embedded broker does not start: {message.value.decode(errors='replace')}")
    return int(client)


def _check(code: int) -> None:
    """Complain about a call that only a mistake in the program can make fail."""
    if code != 0:
        raise RuntimeError(f"the embedded broker refused a call with code {code}")
