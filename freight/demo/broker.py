"""The broker of the demo: it starts empty, and a home folder allows one demo at a time."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from freight.demo.embedded_kafka import EmbeddedKafka
from freight.demo.kafka_jars import has_to_fetch
from freight.demo.local_kafka import LocalKafka, open_broker
from freight.errors import ConfigurationError

FOLDER = ".kafka"
DATA, LOCK = "demo", "demo.lock"


@contextmanager
def demo_broker(home: Path, say: Callable[[str], None]) -> Iterator[LocalKafka | EmbeddedKafka]:
    """Run an empty broker as long as the context lasts.

    The data of an earlier demo is deleted: it is no longer read, and a killed broker may have left it damaged.

    Args:
        home: The home folder of the installation.
        say: The function that prints progress for people.

    Raises:
        ConfigurationError: Another demo runs in this home folder.
    """
    with _alone(home):
        _delete(home)
        if has_to_fetch(home / FOLDER):
            say("Fetching Apache Kafka with Maven (44 MiB, once)")
        broker = _started(home)
        say(f"Broker: {broker.kind}, at {broker.bootstrap}")
        try:
            yield broker
        finally:
            broker.stop()


def delete_demo_data(home: Path) -> bool:
    """Delete the data of the demo's broker; return True if there was any.

    Raises:
        ConfigurationError: A demo runs in this home folder.
    """
    if not (home / FOLDER).exists():
        return False
    with _alone(home):
        return _delete(home)


def _delete(home: Path) -> bool:
    data = home / FOLDER / DATA
    if not data.exists():
        return False
    shutil.rmtree(data)
    return True


def _started(home: Path) -> LocalKafka | EmbeddedKafka:
    """Start Apache Kafka if it is available and starts here, else the embedded broker, which always starts."""
    broker = open_broker(home)
    try:
        broker.start()
    except ConfigurationError as error:
        broker = EmbeddedKafka(str(error))
        broker.start()
    return broker


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Lock the home folder against other demos; the system frees the lock of a dead process."""
    (home / FOLDER).mkdir(exist_ok=True)
    with (home / FOLDER / LOCK).open("w") as lock:
        _take(lock.fileno(), home)
        yield


def _take(lock: int, home: Path) -> None:
    if os.name == "nt":
        return  # Windows has only the embedded broker, which keeps nothing in the folder
    import fcntl

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigurationError(f"a demo is running in {home}: end it first, with Ctrl-C") from None
