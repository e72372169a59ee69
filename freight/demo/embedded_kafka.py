"""An Apache Kafka look-alike within this process, for machines without Java: the mock cluster of Kafka's client.

It can produce, consume, commit and rebalance. It has no administration, no logins and no look-up by time, and forgets
the oldest messages of a partition beyond about 5 MB.
"""

from types import TracebackType
from typing import Self

from confluent_kafka.admin import AdminClient

ONE_BROKER = {"test.mock.num.brokers": "1", "log_level": "0"}
ANSWER_S = 10.0


class EmbeddedKafka:
    """A broker within this process; other processes may connect to it.

    A topic is made, with 4 partitions, when a client first asks for it.

    Args:
        reason: Why Apache Kafka does not take its place; empty for none.

    Attributes:
        kind: What this is, in words for people, and why it is not the real one.
        bootstrap: host:port of the broker, once it is started.
    """

    def __init__(self, reason: str = "") -> None:
        self.kind = "librdkafka's embedded broker" + (f", because {reason}" if reason else "")
        self.bootstrap = ""
        self._owner: AdminClient | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the broker, unless it runs."""
        if self._owner is None:
            self._owner = AdminClient(dict(ONE_BROKER))
            (broker,) = self._owner.list_topics(timeout=ANSWER_S).brokers.values()
            self.bootstrap = f"{broker.host}:{broker.port}"

    def stop(self) -> None:
        """Stop the broker; all messages are gone."""
        self._owner = None  # a mock cluster ends with the client that it was made for
