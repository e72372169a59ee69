"""Secrets come from a Key Vault when they are needed, they may change, and a vault that is away is waited for."""

import asyncio
import logging
from typing import Any, Literal

import pytest
import sqlalchemy as sa
from confluent_kafka import admin

from blocks import key_vault
from blocks.kafka_cluster import KafkaCluster
from blocks.key_vault import KeyVault, KeyVaultSecret
from blocks.warehouse import Warehouse
from freight.errors import ConfigurationError, TransientError
from freight.streaming import password, session
from freight.streaming.listener import ListenSettings, StopRules
from freight.warehouse.connect import closing, open_engine, transaction
from freight.warehouse.migrate import migrate
from tests.conftest import WarehouseUnderTest
from tests.lib.kafka import new_topic
from tests.lib.kafka_under_test import SharedKafka
from tests.lib.postgres import PostgresServer
from tests.lib.streams import SMALL_BATCHES, Listening, event, rows, send
from tests.lib.vault import StandInVault
from tests.lib.waiting import LIMIT_S

NAME = "warehouse-password"


@pytest.fixture(autouse=True)
def _password(vault: StandInVault) -> None:
    vault.set(NAME, "canary one")


def secret_of(vault: StandInVault, name: str = NAME, version: str | None = None) -> KeyVaultSecret:
    return KeyVaultSecret(vault=KeyVault(url=vault.url), name=name, version=version)


def test_a_secret_is_asked_for_once_a_minute_and_anew_when_it_has_to_be(vault: StandInVault) -> None:
    assert secret_of(vault).read() == "canary one"
    vault.set(NAME, "canary two")
    assert secret_of(vault).read() == "canary one"  # a block that was loaded again knows it, too
    assert vault.asked == 1
    assert secret_of(vault).read(fresh=True) == secret_of(vault).read() == "canary two"
    assert secret_of(vault, version="1").read() == "canary one"


def test_who_must_not_wait_knows_what_the_others_know(vault: StandInVault) -> None:
    async def read_beside(secret: KeyVaultSecret) -> tuple[str, int]:
        reading, turns = asyncio.create_task(secret.aread(fresh=True)), 0
        while not reading.done():
            await asyncio.sleep(0.001)
            turns += 1
        return reading.result(), turns

    value, turns = asyncio.run(read_beside(secret_of(vault)))
    assert value == secret_of(vault).read() == "canary one"
    assert vault.asked == 1
    assert turns > 1  # the event loop went on
    with pytest.raises(ConfigurationError, match="there is no secret 'other'"):
        asyncio.run(secret_of(vault, "other").aread())


def test_a_new_version_is_used_within_a_minute(vault: StandInVault, monkeypatch: pytest.MonkeyPatch) -> None:
    assert secret_of(vault).read() == "canary one"
    vault.set(NAME, "canary two")
    monkeypatch.setattr(key_vault, "FRESH_S", 0.0)
    assert secret_of(vault).read() == "canary two"


def test_a_secret_that_is_missing_or_forbidden_is_told_with_a_remedy(vault: StandInVault) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no secret 'other' of the vault .*: create it, or correct"):
        secret_of(vault, "other").read()
    vault.status = 403
    with pytest.raises(ConfigurationError, match="give this identity the role Key Vault Secrets User"):
        secret_of(vault).read()


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_a_vault_that_is_away_may_be_asked_again(vault: StandInVault, status: int) -> None:
    vault.status = status
    with pytest.raises(TransientError, match=f"secret '{NAME}' of the vault {vault.url} cannot be read"):
        secret_of(vault).read()
    vault.status = None
    assert secret_of(vault).read() == "canary one"


def test_a_vault_that_nobody_hears_of_is_away_too() -> None:
    nowhere = KeyVaultSecret(vault=KeyVault(url="https://localhost:1"), name=NAME)
    with pytest.raises(TransientError, match="cannot be read"):
        nowhere.read()


def test_who_knows_a_secret_goes_on_with_it_while_the_vault_is_away(
    vault: StandInVault, caplog: pytest.LogCaptureFixture
) -> None:
    secret_of(vault).read()
    vault.status = 503
    with caplog.at_level(logging.WARNING, "freight"):
        assert secret_of(vault).read(fresh=True) == "canary one"
    assert f"going on with the cached secret '{NAME}'" in caplog.text
    assert "canary" not in caplog.text + repr(secret_of(vault)) + secret_of(vault).model_dump_json()


def test_a_password_that_changes_is_used_for_the_next_connection(
    vault: StandInVault, postgres_server: PostgresServer
) -> None:
    url = postgres_server.new_protected_database("canary one")
    source = Warehouse(url=url, password_secret=secret_of(vault)).password_source()
    with closing(open_engine(url, password=source)) as engine:
        with transaction(engine) as connection:
            assert connection.execute(sa.text("SELECT current_user")).scalar_one() == sa.make_url(url).username
        postgres_server.change_password(url, "canary two")
        engine.dispose()
        with pytest.raises(ConfigurationError, match="password authentication failed"), transaction(engine):
            pass
        vault.set(NAME, "canary two")
        with transaction(engine) as connection:
            assert connection.execute(sa.text("SELECT 1")).scalar_one() == 1


SCRAM: Literal["SCRAM-SHA-512"] = "SCRAM-SHA-512"


def set_kafka_password(kafka: SharedKafka, user: str, password: str) -> None:
    """Give a user another password; make the user if there is none."""
    known: Any = admin  # whose types leave out what it imports
    change = known.UserScramCredentialUpsertion(
        user,
        known.ScramCredentialInfo(known.ScramMechanism.SCRAM_SHA_512, 4096),
        password.encode(),
    )
    client = admin.AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    for done in client.alter_user_scram_credentials([change]).values():
        done.result(LIMIT_S)


def test_a_listener_follows_the_password_of_kafka(
    vault: StandInVault,
    kafka: SharedKafka,
    sqlite_warehouse: WarehouseUnderTest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(password, "ASK_S", 0.5)
    topic = new_topic(kafka, 1)
    user = f"user of {topic}"
    set_kafka_password(kafka, user, "canary one")
    cluster = KafkaCluster(
        bootstrap_servers=kafka.secure_bootstrap,
        security_protocol="SASL_SSL",
        sasl_mechanism=SCRAM,
        username=user,
        password_secret=secret_of(vault, "kafka"),
        ca_location=str(kafka.ca_path),
    )
    settings = ListenSettings(SMALL_BATCHES)
    listening = Listening(sqlite_warehouse.url, kafka, topic, settings=settings, client=cluster.client_settings())
    vault.set("kafka", "canary never right")
    with pytest.raises(ConfigurationError, match="Kafka refuses us"):
        listening.run()
    vault.set("kafka", "canary one")
    secret_of(vault, "kafka").read(fresh=True)
    caplog.clear()

    def wait_for(number: int) -> None:
        send(kafka, topic, [event(number)])
        query = f"SELECT 1 FROM fact_transactions WHERE transaction_id = 'TRX-{number}'"
        listening.wait_until(lambda: rows(sqlite_warehouse.engine, query) == [(1,)])

    with caplog.at_level(logging.INFO, "freight"), listening.running():
        wait_for(1)
        set_kafka_password(kafka, user, "canary two")
        listening.wait_until(lambda: "uthentication fail" in caplog.text)  # and the vault knows nothing yet
        vault.set("kafka", "canary two")
        wait_for(2)  # perhaps by a connection that has not had to log in again yet
        listening.wait_until(lambda: "the password of Kafka has changed" in caplog.text)
    assert "canary" not in caplog.text


def test_a_listener_waits_for_a_vault_that_is_away(
    vault: StandInVault, postgres_server: PostgresServer, kafka: SharedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "BEGIN_WAIT_S", 0.1)
    url = postgres_server.new_protected_database("canary one")
    with closing(open_engine(url, password=lambda **_: "canary one")) as engine:
        migrate(engine)
        topic = new_topic(kafka, 1)
        send(kafka, topic, [event(1), event(2)])
        vault.status = 503
        settings = ListenSettings(SMALL_BATCHES, stop=StopRules(at_end=True))
        listening = Listening(url, kafka, topic, settings=settings, password=secret_of(vault).read)
        with listening.running():
            listening.wait_until(lambda: f"secret '{NAME}'" in listening.status.now().state)
            assert rows(engine, "SELECT 1 FROM fact_transactions") == []
            vault.status = None
            listening.wait_until(lambda: listening.why != "")
        assert rows(engine, "SELECT transaction_id FROM fact_transactions ORDER BY 1") == [("TRX-1",), ("TRX-2",)]
        assert rows(engine, "SELECT 1 FROM quarantine") == []
