"""An imitation of Apache Kafka in this process, for machines without Java: the mock cluster of Kafka's client.

It supports producing, consuming, commits and rebalances. It has no administration, no logins and no lookup by time, and
drops the oldest messages of a partition beyond about 5 MB.
"""

from types import TracebackType
from typing import Self

from confluent_kafka.admin import AdminClient

ONE_BROKER = {"test.mock.num.brokers": "1", "log_level": "0"}
ANSWER_S = 10.0


class EmbeddedKafka:
    """A broker in this process; other processes may connect to it.

    A topic is created, with 4 partitions, when a client first asks for it.

    Args:
        reason: The reason why it replaces Apache Kafka; empty for none.

    Attributes:
        kind: The description for people, with the reason why it is not the real one.
        bootstrap: The host:port of the broker, once it is started.
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
        """Start the broker, unless it runs already."""
        if self._owner is None:
            self._owner = AdminClient(dict(ONE_BROKER))
            (broker,) = self._owner.list_topics(timeout=ANSWER_S).brokers.values()
            self.bootstrap = f"{broker.host}:{broker.port}"

    def stop(self) -> None:
        """Stop the broker; all messages are gone."""
        self._owner = None  # a mock cluster ends with its client
