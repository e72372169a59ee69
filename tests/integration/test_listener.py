"""A listener on a real Kafka, into both engines."""

import socketserver
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from blocks.azure_tokens import azure_tokens
from blocks.kafka_cluster import KafkaCluster
from freight.care.reconcile import reconcile
from freight.errors import ConfigurationError, OffsetGap, QuarantineLimitExceeded
from freight.streaming.consumer import KafkaReader
from freight.streaming.listener import ListenSettings, StopRules
from freight.streaming.poison import PoisonLimits
from freight.warehouse import ledger
from freight.warehouse.connect import transaction
from freight.warehouse.streams import accept_gaps
from tests.conftest import WarehouseUnderTest
from tests.lib.certificates import write_certificates
from tests.lib.corridor import NOW
from tests.lib.kafka import add_partitions, delete_records_before, delete_topic, new_topic
from tests.lib.kafka_under_test import SharedKafka
from tests.lib.streams import NO_LIMIT, SMALL_BATCHES, Listening, event, rows, send
from tests.lib.tokens import StandInCredential
from tests.lib.waiting import wait_until

AT_END = ListenSettings(SMALL_BATCHES, NO_LIMIT, StopRules(at_end=True))


def listening(warehouse: WarehouseUnderTest, kafka: Any, topic: str, settings: ListenSettings = AT_END) -> Listening:
    return Listening(warehouse.url, kafka, topic, settings=settings)


def test_events_become_facts_once_however_often_the_listener_starts(
    warehouse: WarehouseUnderTest, kafka: SharedKafka
) -> None:
    topic = new_topic(kafka, 3)
    for partition in range(3):
        send(kafka, topic, [event(2000 * partition + i) for i in range(1_200)], partition)
    for _ in range(2):
        assert listening(warehouse, kafka, topic).run() == "everything is read"
    assert rows(warehouse.engine, "SELECT count(*), min(site_location) FROM fact_transactions") == [(3_600, "UNKNOWN")]
    assert rows(warehouse.engine, "SELECT sum(read_rows), sum(inserted) FROM batches") == [(3_600, 3_600)]
    assert rows(warehouse.engine, "SELECT total_transactions FROM aggr_daily_site_stats") == [(3_600,)]
    assert rows(
        warehouse.engine, "SELECT partition_number, next_offset, redelivered, gap FROM stream_assignments ORDER BY 2, 1"
    ) == [(0, 0, 0, 0), (1, 0, 0, 0), (2, 0, 0, 0), (0, 1200, 0, 0), (1, 1200, 0, 0), (2, 1200, 0, 0)]
    assert reconcile(warehouse.engine) == []


def test_a_bad_message_goes_to_quarantine_and_its_neighbours_load(
    warehouse: WarehouseUnderTest, kafka: SharedKafka
) -> None:
    topic = new_topic(kafka, 1)
    poison: list[bytes | None] = [
        None,
        b"",
        b"\xff\xfe",
        b'{"transaction_id":',
        event(900) + event(901),
        event(902, schema_version=2),
        event(903, status_code="x" * 990_000),
        event(904, surprise=1),
        event(905, volume="1,5"),  # type: ignore[arg-type]
        event(906, at="2099-01-01 00:00:00"),
        event(907, machine_id="MCH\x00001"),
    ]
    sent: list[bytes | None] = []
    for number, bad in enumerate(poison):
        sent += [event(number), bad]
    send(kafka, topic, [*sent, event(len(poison))])
    listening(warehouse, kafka, topic).run()
    assert rows(warehouse.engine, "SELECT count(*) FROM fact_transactions") == [(len(poison) + 1,)]
    found = rows(warehouse.engine, "SELECT location, row_number, reason, raw FROM quarantine ORDER BY row_number")
    assert [(location, offset, bytes(raw)) for location, offset, _, raw in found] == [
        (f"{topic}/0", 2 * number + 1, bad or b"") for number, bad in enumerate(poison)
    ]
    assert [reason for _, _, reason, _ in found] == [
        "tombstone",
        "not_json",
        "bad_encoding",
        "not_json",
        "not_json",
        "schema_version",
        "not_allowed",
        "unknown_field",
        "wrong_type",
        "future",
        "pattern",
    ]
    assert reconcile(warehouse.engine) == []


def test_a_bad_release_of_a_producer_does_not_drain_the_topic_into_quarantine(
    warehouse: WarehouseUnderTest, kafka: SharedKafka
) -> None:
    topic = new_topic(kafka, 1)
    send(kafka, topic, [event(i) for i in range(300)])
    listening(warehouse, kafka, topic).run()
    send(kafka, topic, [event(i, surprise=1) for i in range(300, 2_000)])
    strict = ListenSettings(SMALL_BATCHES, PoisonLimits(), StopRules(at_end=True))
    with pytest.raises(QuarantineLimitExceeded, match="are bad, more than 30%; the listener stopped without advancing"):
        listening(warehouse, kafka, topic, strict).run()
    with pytest.raises(ConfigurationError, match="is parked: too many of its messages were bad"):
        listening(warehouse, kafka, topic, strict).run()
    assert rows(warehouse.engine, "SELECT next_offset FROM stream_positions") == [(300,)]
    assert rows(warehouse.engine, "SELECT count(*) FROM quarantine") == [(0,)]
    assert rows(warehouse.engine, "SELECT reason, bad_rows FROM load_attempt_reasons") == [("unknown_field", 500)]
    with transaction(warehouse.engine) as connection:
        assert ledger.release(connection, topic, NOW) == 1
    listening(warehouse, kafka, topic).run()  # whoever raises the limit has them quarantined
    assert rows(warehouse.engine, "SELECT next_offset FROM stream_positions") == [(2_000,)]
    assert rows(warehouse.engine, "SELECT count(*) FROM quarantine") == [(1_700,)]
    assert reconcile(warehouse.engine) == []


def test_the_last_message_of_a_key_stays_by_any_clock_and_lateness_is_flagged(
    warehouse: WarehouseUnderTest, kafka: SharedKafka
) -> None:
    topic = new_topic(kafka, 1)
    sent = int(NOW.timestamp() * 1000)
    send(kafka, topic, [event(1, 10.0), event(1, 11.0), event(2, 1.0, at="2026-03-01 10:30:00")], sent_ms=sent)
    listening(warehouse, kafka, topic).run()
    send(kafka, topic, [event(1, 11.0)], sent_ms=sent + 1_000)
    send(kafka, topic, [event(1, 9.0)], sent_ms=sent - 1_000)
    send(kafka, topic, [event(3, 1.0, at="2026-03-01 09:29:59"), event(4, 1.0, at="2026-03-01 09:30:00")])
    send(kafka, topic, [event(5, at="2099-01-01 00:00:00"), event(6, 1.0, at="2026-03-01 10:00:00")])
    listening(warehouse, kafka, topic).run()
    query = "SELECT transaction_id, volume_transferred_t, is_late FROM fact_transactions ORDER BY 1"
    assert [(key, volume, bool(late)) for key, volume, late in rows(warehouse.engine, query)] == [
        ("TRX-1", 9.0, True),
        ("TRX-2", 1.0, False),
        ("TRX-3", 1.0, True),
        ("TRX-4", 1.0, False),
        ("TRX-6", 1.0, False),
    ]
    outcomes = "SELECT sum(inserted), sum(updated), sum(unchanged), sum(superseded), sum(quarantined) FROM batches"
    assert rows(warehouse.engine, outcomes) == [(5, 1, 0, 2, 1)]
    assert reconcile(warehouse.engine) == []


@pytest.mark.parametrize("sent_ms", [int(NOW.timestamp() * 1e6), 2**63 - 1])
def test_a_producer_that_states_another_unit_of_time_does_not_stop_the_stream(
    warehouse: WarehouseUnderTest, kafka: SharedKafka, sent_ms: int
) -> None:
    topic = new_topic(kafka, 1, {"message.timestamp.after.max.ms": str(2**63 - 1)})
    send(kafka, topic, [event(1)], sent_ms=sent_ms)
    send(kafka, topic, [event(2)])
    listening(warehouse, kafka, topic).run()
    assert rows(warehouse.engine, "SELECT transaction_id FROM fact_transactions") == [("TRX-2",)]
    ((reason, detail),) = rows(warehouse.engine, "SELECT reason, detail FROM quarantine")
    assert reason == "sent_at_out_of_range"
    assert "like microseconds or nanoseconds in place of milliseconds" in detail
    assert reconcile(warehouse.engine) == []


def test_what_retention_deleted_before_it_was_read_stops_the_listener_until_somebody_accepts_it(
    warehouse: WarehouseUnderTest, kafka: SharedKafka
) -> None:
    topic = new_topic(kafka, 2)
    send(kafka, topic, [event(i) for i in range(100)])
    listening(warehouse, kafka, topic).run()
    send(kafka, topic, [event(i) for i in range(100, 200)])
    delete_records_before(kafka, topic, {0: 150})
    for _ in range(2):
        with pytest.raises(OffsetGap, match=r"/0 from offset 100: the broker deleted 50 messages that were never read"):
            listening(warehouse, kafka, topic).run()
    ((gap,),) = rows(warehouse.engine, "SELECT gap_id FROM stream_gaps")
    assert accept_gaps(warehouse.engine, [gap], "tester@here", NOW) == 1
    listening(warehouse, kafka, topic).run()
    assert rows(warehouse.engine, "SELECT count(*), max(transaction_id) FROM fact_transactions") == [(150, "TRX-99")]
    assert reconcile(warehouse.engine) == []


def test_a_topic_that_is_made_again_stops_the_listener_until_somebody_accepts_it(
    warehouse: WarehouseUnderTest, kafka: SharedKafka
) -> None:
    topic = new_topic(kafka, 1)
    send(kafka, topic, [event(i) for i in range(100)])
    listening(warehouse, kafka, topic).run()
    delete_topic(kafka, topic)
    new_topic(kafka, 1, name=topic)
    send(kafka, topic, [event(i) for i in range(100, 300)])
    with pytest.raises(
        OffsetGap, match="the topic was created again; the old one's messages from offset 100 on are gone"
    ):
        listening(warehouse, kafka, topic).run()
    ((gap,),) = rows(warehouse.engine, "SELECT gap_id FROM stream_gaps")
    accept_gaps(warehouse.engine, [gap], "tester@here", NOW)
    listening(warehouse, kafka, topic).run()
    assert rows(warehouse.engine, "SELECT count(*) FROM fact_transactions") == [(300,)]
    assert reconcile(warehouse.engine) == []


def test_a_topic_that_is_made_again_while_it_is_read_is_noticed(
    sqlite_warehouse: WarehouseUnderTest, kafka: SharedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freight.streaming.listener.IDENTITY_EVERY_S", 1.0)
    topic = new_topic(kafka, 1)
    send(kafka, topic, [event(i) for i in range(100)])
    found = listening(sqlite_warehouse, kafka, topic, ListenSettings(SMALL_BATCHES, NO_LIMIT))
    with found.running(raises=OffsetGap):
        found.wait_until(lambda: found.status.now().messages == 100)
        delete_topic(kafka, topic)
        new_topic(kafka, 1, name=topic)
        send(kafka, topic, [event(i) for i in range(100, 300)])
        wait_until(lambda: found.error is not None)
    assert "the topic was created again" in str(found.error)
    ((gap,),) = rows(sqlite_warehouse.engine, "SELECT gap_id FROM stream_gaps")
    accept_gaps(sqlite_warehouse.engine, [gap], "tester@here", NOW)
    listening(sqlite_warehouse, kafka, topic).run()
    assert rows(sqlite_warehouse.engine, "SELECT count(*) FROM fact_transactions") == [(300,)]
    assert reconcile(sqlite_warehouse.engine) == []


def test_partitions_that_are_added_are_read_from_their_start(warehouse: WarehouseUnderTest, kafka: SharedKafka) -> None:
    topic = new_topic(kafka, 1)
    send(kafka, topic, [event(i) for i in range(10)])
    found = listening(warehouse, kafka, topic, ListenSettings(SMALL_BATCHES, NO_LIMIT))
    with found.running():
        found.wait_until(lambda: found.status.now().messages == 10)
        add_partitions(kafka, topic, 3)
        send(kafka, topic, [event(i) for i in range(10, 20)], partition=2)
        found.wait_until(lambda: found.status.now().messages == 20)
    assert rows(warehouse.engine, "SELECT count(*) FROM fact_transactions") == [(20,)]
    assert reconcile(warehouse.engine) == []


def test_a_new_group_may_start_at_the_end(sqlite_warehouse: WarehouseUnderTest, kafka: SharedKafka) -> None:
    topic = new_topic(kafka, 1)
    send(kafka, topic, [event(i) for i in range(10)])
    settings = ListenSettings(SMALL_BATCHES, NO_LIMIT, StopRules(at_end=True), from_end=True)
    listening(sqlite_warehouse, kafka, topic, settings).run()
    send(kafka, topic, [event(i) for i in range(10, 13)])
    listening(sqlite_warehouse, kafka, topic, settings).run()
    assert rows(sqlite_warehouse.engine, "SELECT count(*) FROM fact_transactions") == [(3,)]
    assert reconcile(sqlite_warehouse.engine) == []


def test_transaction_markers_are_holes_that_are_counted(warehouse: WarehouseUnderTest, kafka: SharedKafka) -> None:
    topic = new_topic(kafka, 1)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": topic})
    producer.init_transactions(30)
    for number, ends in enumerate(
        (producer.commit_transaction, producer.abort_transaction, producer.commit_transaction)
    ):
        producer.begin_transaction()
        for i in range(3):
            producer.produce(topic, event(10 * number + i), partition=0)
        producer.flush(30)  # an abort drops what was not sent yet
        ends(30)
    found = listening(warehouse, kafka, topic)
    found.run()
    assert (found.status.now().messages, found.status.now().holes) == (6, 6)  # three markers, three aborted
    assert rows(warehouse.engine, "SELECT next_offset FROM stream_positions") == [(12,)]
    assert rows(warehouse.engine, "SELECT transaction_id FROM fact_transactions WHERE transaction_id = 'TRX-10'") == []
    assert reconcile(warehouse.engine) == []


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_secured_broker_is_read_as_event_hubs_is(
    sqlite_warehouse: WarehouseUnderTest, kafka: SharedKafka, mechanism: Any
) -> None:
    topic = new_topic(kafka, 1)
    send(kafka, topic, [event(1)])
    login = kafka.logins[mechanism]
    client = {
        "bootstrap.servers": kafka.secure_bootstrap,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": mechanism,
        "sasl.username": login.user,
        "sasl.password": login.password,
        "ssl.ca.location": str(kafka.ca_path),
    }
    Listening(sqlite_warehouse.url, kafka, topic, settings=AT_END, client=client).run()
    assert rows(sqlite_warehouse.engine, "SELECT count(*) FROM fact_transactions") == [(1,)]
    with pytest.raises(ConfigurationError, match="Kafka refuses us"):
        Listening(
            sqlite_warehouse.url, kafka, topic, settings=AT_END, client={**client, "sasl.password": "wrong"}
        ).run()


def test_a_broker_proves_who_it_is_without_a_login(sqlite_warehouse: WarehouseUnderTest, kafka: SharedKafka) -> None:
    topic = new_topic(kafka, 1)
    send(kafka, topic, [event(1)])
    place: dict[str, Any] = {"bootstrap_servers": kafka.tls_bootstrap, "security_protocol": "SSL"}

    def listen(cluster: KafkaCluster) -> None:
        Listening(sqlite_warehouse.url, kafka, topic, settings=AT_END, client=cluster.client_settings()).run()

    with pytest.raises(ConfigurationError, match=r"Kafka refuses us: .*certificate verify failed"):
        listen(KafkaCluster(**place))
    listen(KafkaCluster(**place, ca_location=str(kafka.ca_path)))
    assert rows(sqlite_warehouse.engine, "SELECT count(*) FROM fact_transactions") == [(1,)]


def test_no_token_goes_to_a_host_for_which_its_certificate_does_not_vouch(tmp_path: Path) -> None:
    write_certificates(tmp_path / "ca.pem", tmp_path / "server.pem")  # of localhost and 127.0.0.1
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    heard: list[bytes] = []

    class Listens(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), context.wrap_socket(self.request, server_side=True) as secured:
                heard.append(secured.recv(1))

    with socketserver.TCPServer(("127.0.0.2", 0), Listens) as server, ThreadPoolExecutor(1) as thread:
        thread.submit(server.serve_forever)
        cluster = KafkaCluster(
            bootstrap_servers=f"127.0.0.2:{server.server_address[1]}",
            security_protocol="SASL_SSL",
            sasl_mechanism="OAUTHBEARER",
            ca_location=str(tmp_path / "ca.pem"),
        )
        reader = KafkaReader(cluster.client_settings(azure_tokens("corridor", StandInCredential())), "topic", "group")
        with pytest.raises(ConfigurationError, match=r"Kafka refuses us: .*certificate verify failed"):
            poll_often(reader)
        reader.close()
        server.shutdown()
    assert heard == []


def poll_often(reader: KafkaReader) -> None:
    for _ in range(300):
        reader.poll(1, 0.1)


def test_a_secured_broker_takes_the_tokens_of_an_identity(
    sqlite_warehouse: WarehouseUnderTest, kafka: SharedKafka, caplog: pytest.LogCaptureFixture
) -> None:
    topic = new_topic(kafka, 1)
    send(kafka, topic, [event(1)])
    cluster = KafkaCluster(
        bootstrap_servers=kafka.secure_bootstrap,
        security_protocol="SASL_SSL",
        sasl_mechanism="OAUTHBEARER",
        ca_location=str(kafka.ca_path),
    )

    def listen_as(credential: StandInCredential) -> None:
        client = cluster.client_settings(azure_tokens("corridor.servicebus.windows.net", credential))
        Listening(sqlite_warehouse.url, kafka, topic, settings=AT_END, client=client).run()

    known, outdated = StandInCredential(), StandInCredential(exp=1)
    listen_as(known)
    assert rows(sqlite_warehouse.engine, "SELECT count(*) FROM fact_transactions") == [(1,)]
    assert known.scopes == {"https://corridor.servicebus.windows.net/.default"}
    with pytest.raises(ConfigurationError, match="Kafka refuses us"):
        listen_as(outdated)
    assert [c for c in (known, outdated) if c.token in caplog.text] == []


def test_a_topic_that_does_not_exist_is_a_wrong_setting(
    sqlite_warehouse: WarehouseUnderTest, kafka: SharedKafka
) -> None:
    remedy = "there is no topic 'no-such-topic': create it, or correct the parameter topic"
    with pytest.raises(ConfigurationError, match=remedy):
        listening(sqlite_warehouse, kafka, "no-such-topic").run()


@pytest.mark.parametrize(
    ("rules", "why"),
    [(StopRules(max_run_s=2), "the time limit of 2 s is over"), (StopRules(idle_s=2), "no message arrived for 2 s")],
)
def test_a_listener_ends_by_its_rules(
    sqlite_warehouse: WarehouseUnderTest, kafka: SharedKafka, rules: StopRules, why: str
) -> None:
    topic = new_topic(kafka, 1)
    send(kafka, topic, [event(1)])
    found = listening(sqlite_warehouse, kafka, topic, ListenSettings(SMALL_BATCHES, NO_LIMIT, rules))
    assert found.run() == why
    assert rows(sqlite_warehouse.engine, "SELECT count(*) FROM fact_transactions") == [(1,)]
    ((state, ended),) = rows(sqlite_warehouse.engine, "SELECT state, ended_at FROM stream_listeners")
    assert state == "completed"
    assert ended


def test_statistics_follow_while_the_listener_listens(warehouse: WarehouseUnderTest, kafka: SharedKafka) -> None:
    topic = new_topic(kafka, 1)
    found = listening(warehouse, kafka, topic, ListenSettings(SMALL_BATCHES, NO_LIMIT))
    with found.running():
        send(kafka, topic, [event(i) for i in range(50)])
        query = "SELECT COALESCE(SUM(total_transactions), 0) FROM aggr_daily_site_stats"
        found.wait_until(lambda: rows(warehouse.engine, query) == [(50,)])  # it is told to end only afterwards
