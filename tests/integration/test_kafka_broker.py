"""The local Kafka keeps messages over crashes, lets in whom it should, and ends with the process that started it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from freight.demo.embedded_kafka import EmbeddedKafka
from freight.demo.kafka_jars import fetch_broker
from freight.errors import ConfigurationError
from freight.settings import PROJECT_ROOT
from tests.lib.kafka import Broker, OwnKafka, Sent, delete_records_before, delete_topic, new_topic, produce
from tests.lib.kafka_under_test import Mechanism, SharedKafka
from tests.lib.waiting import LIMIT_S, wait_until

MESSAGES: list[Sent] = [
    (0, b"TRX-1", b"a", 1_700_000_000_000),
    (1, b"TRX-2", "é".encode(), 1_700_000_000_001),
    (0, b"TRX-1", None, 1_700_000_000_002),
]
PARENT = """
import sys, time
from pathlib import Path
from tests.lib.kafka_under_test import KafkaUnderTest
broker = KafkaUnderTest(Path(sys.argv[1]), Path(sys.argv[2]))
broker.start()
print(broker.pid, flush=True)
time.sleep(60)
"""


def consume(kafka: Broker, topic: str, number: int, partitions: int = 2) -> list[Sent]:
    """Read messages from the beginning of a topic, in order of partition and offset."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "reader", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    try:
        found = consumer.consume(number, LIMIT_S)
    finally:
        consumer.close()
    return [
        (message.partition() or 0, message.key(), message.value(), message.timestamp()[1])
        for message in sorted(found, key=lambda message: (message.partition(), message.offset()))
    ]


def in_order(messages: list[Sent]) -> list[Sent]:
    return sorted(messages, key=lambda message: message[0])


def wait_until_gone(pid: int) -> None:
    line = Path(f"/proc/{pid}/cmdline")
    wait_until(lambda: not line.exists() or not line.read_bytes(), told=f"process {pid} still runs")


class TestMessages:
    def test_a_message_goes_in_and_comes_out(self, kafka: SharedKafka) -> None:
        topic = new_topic(kafka, partitions=2)
        assert produce(kafka, topic, MESSAGES) == [
            (0, 0, 1_700_000_000_000),
            (1, 0, 1_700_000_000_001),
            (0, 1, 1_700_000_000_002),
        ]
        assert consume(kafka, topic, len(MESSAGES)) == in_order(MESSAGES)

    def test_a_message_without_a_timestamp_is_of_now(self, kafka: SharedKafka) -> None:
        before = time.time_ns() // 1_000_000
        (delivered,) = produce(kafka, new_topic(kafka), [(3, None, b"x", None)])
        assert before <= delivered.timestamp_ms <= time.time_ns() // 1_000_000

    def test_deleted_records_and_topics_are_gone(self, kafka: SharedKafka) -> None:
        topic = new_topic(kafka, partitions=1)
        produce(kafka, topic, [(0, None, str(number).encode(), None) for number in range(5)])
        delete_records_before(kafka, topic, {0: 3})
        consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "reader"})
        assert consumer.get_watermark_offsets(TopicPartition(topic, 0), LIMIT_S) == (3, 5)
        delete_topic(kafka, topic)
        assert topic not in consumer.list_topics(timeout=LIMIT_S).topics
        consumer.close()


class TestFailures:
    def test_a_crash_and_a_restart_keep_messages_and_ports(self, own_kafka: OwnKafka) -> None:
        kafka = own_kafka()
        bootstrap, topic = kafka.bootstrap, new_topic(kafka, partitions=2)
        produce(kafka, topic, MESSAGES)
        kafka.crash()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", int(bootstrap.rpartition(":")[2])))
        kafka.start()
        assert kafka.bootstrap == bootstrap
        assert consume(kafka, topic, len(MESSAGES)) == in_order(MESSAGES)
        assert produce(kafka, topic, MESSAGES[:1])[0].offset == 2

    def test_a_paused_broker_is_silent_until_it_resumes(self, own_kafka: OwnKafka) -> None:
        kafka = own_kafka()
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
        kafka.pause()
        with pytest.raises(KafkaException):
            admin.list_topics(timeout=1)
        kafka.resume()
        assert admin.list_topics(timeout=LIMIT_S).brokers
        kafka.pause()
        kafka.stop()

    def test_another_process_may_go_on_with_the_data(self, own_kafka: OwnKafka) -> None:
        first = own_kafka()
        topic = new_topic(first, partitions=2)
        produce(first, topic, MESSAGES)
        first.stop()
        second = own_kafka()
        assert second.bootstrap != first.bootstrap
        assert consume(second, topic, len(MESSAGES)) == in_order(MESSAGES)

    def test_a_broker_that_dies_names_its_log(self, own_kafka: OwnKafka, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="Not a number") as caught:
            own_kafka(options={"node.id": "one"})
        assert str(tmp_path / "kafka" / "broker.log") in str(caught.value)

    def test_a_port_that_is_taken_names_the_log(self, own_kafka: OwnKafka) -> None:
        kafka = own_kafka()
        kafka.crash()
        with (
            socket.create_server(("127.0.0.1", int(kafka.bootstrap.rpartition(":")[2]))),
            pytest.raises(ConfigurationError, match=r"ended with exit code 1, see .*broker\.log"),
        ):
            kafka.start()
        kafka.start()

    @pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
    @pytest.mark.parametrize("when", ["while_it_runs", "while_it_starts", "while_it_is_paused"])
    def test_a_killed_parent_leaves_no_broker(self, kafka_jars: Path, tmp_path: Path, when: str) -> None:
        command = [sys.executable, "-c", PARENT, str(kafka_jars), str(tmp_path / "kafka")]
        with subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout
            pid = _broker_of(parent.pid) if when == "while_it_starts" else int(parent.stdout.readline())
            if when == "while_it_is_paused":
                os.kill(pid, signal.SIGSTOP)
            parent.kill()
        wait_until_gone(pid)


def _broker_of(parent: int) -> int:
    """Wait until a process has started its broker, and return the number of that."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            with suppress(FileNotFoundError):  # ended meanwhile
                if b"kafka.Kafka" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        time.sleep(0.005)
    raise AssertionError("the broker was not started")


MECHANISMS: list[Mechanism] = ["PLAIN", "SCRAM-SHA-512"]


class TestSecureListener:
    def settings(self, kafka: SharedKafka, mechanism: Mechanism) -> dict[str, Any]:
        return {
            "bootstrap.servers": kafka.secure_bootstrap,
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(kafka.ca_path),
            "sasl.mechanism": mechanism,
            "sasl.username": kafka.logins[mechanism].user,
            "sasl.password": kafka.logins[mechanism].password,
            "log_level": 0,
        }

    def complaint(self, settings: dict[str, Any]) -> str:
        """Return what the client says of a broker that it cannot use."""
        said: list[str] = []
        producer = Producer({**settings, "error_cb": lambda error: said.append(str(error))})
        deadline = time.monotonic() + LIMIT_S
        while not said and time.monotonic() < deadline:
            producer.poll(0.1)
        return said[0] if said else ""

    @pytest.mark.parametrize("mechanism", MECHANISMS)
    def test_lets_in_by_the_right_password(self, kafka: SharedKafka, mechanism: Mechanism) -> None:
        admin = AdminClient(self.settings(kafka, mechanism))
        brokers = admin.list_topics(timeout=LIMIT_S).brokers.values()
        assert [f"{broker.host}:{broker.port}" for broker in brokers] == [kafka.secure_bootstrap]

    @pytest.mark.parametrize("mechanism", MECHANISMS)
    def test_refuses_a_wrong_password(self, kafka: SharedKafka, mechanism: Mechanism) -> None:
        wrong = {**self.settings(kafka, mechanism), "sasl.password": "wrong"}
        assert "_AUTHENTICATION" in self.complaint(wrong)

    def test_is_not_trusted_without_its_authority(self, kafka: SharedKafka) -> None:
        settings = self.settings(kafka, "PLAIN")
        del settings["ssl.ca.location"]
        assert "certificate verify failed" in self.complaint(settings)


class TestEmbedded:
    def test_a_message_goes_in_and_comes_out(self) -> None:
        with EmbeddedKafka() as kafka:
            assert [delivered.offset for delivered in produce(kafka, "moves", MESSAGES)] == [0, 0, 1]
            assert consume(kafka, "moves", len(MESSAGES)) == in_order(MESSAGES)

    def test_makes_a_topic_when_it_is_first_used(self) -> None:
        with EmbeddedKafka() as kafka:
            produce(kafka, "moves", [(2, None, b"x", None)])
            admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
            assert len(admin.list_topics("moves", timeout=LIMIT_S).topics["moves"].partitions) == 4

    def test_keeps_the_positions_of_each_group(self) -> None:
        with EmbeddedKafka() as kafka:
            produce(kafka, "moves", MESSAGES)
            for group, offset in (("one", 1), ("other", 2)):
                consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": group})
                consumer.commit(offsets=[TopicPartition("moves", 0, offset)], asynchronous=False)
                (found,) = consumer.committed([TopicPartition("moves", 0)], LIMIT_S)
                assert found.offset == offset
                consumer.close()

    def test_starts_again_empty(self) -> None:
        kafka = EmbeddedKafka()
        for _ in range(2):
            kafka.start()
            assert produce(kafka, "moves", [(0, None, b"x", None)])[0].offset == 0
            kafka.stop()
            with pytest.raises(OSError, match="refused"):
                socket.create_connection(("127.0.0.1", int(kafka.bootstrap.rpartition(":")[2])))


def test_the_jars_are_used_again_without_maven(
    kafka_jars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "java").symlink_to(str(shutil.which("java")))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert fetch_broker(kafka_jars.parent) == kafka_jars
