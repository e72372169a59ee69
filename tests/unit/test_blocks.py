"""Blocks: what they refuse and why, what the core gets of them, and that nobody sees their secrets."""

import logging
import time
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite
from pydantic import SecretStr, ValidationError

from blocks import azure_tokens as tokens_of_azure
from blocks.azure_identity import CLOUDS
from blocks.azure_tokens import azure_tokens
from blocks.blob_drop import BlobDrop
from blocks.http_api import HttpApi
from blocks.kafka_cluster import KafkaCluster
from blocks.key_vault import KeyVault, KeyVaultSecret
from blocks.places import kafka_client
from blocks.warehouse import Warehouse
from deployments.apply_blocks import BLOCKS
from freight.errors import ConfigurationError, TransientError
from freight.settings import load_settings
from freight.streaming.consumer import NO_TOKEN, KafkaReader
from tests.lib.tokens import StandInCredential
from tests.lib.waiting import LIMIT_S

CANARY = "canary: p@ss/word?"
CONNECTION = f"Endpoint=sb://corridor.servicebus.windows.net/;SharedAccessKeyName=listen;SharedAccessKey={CANARY}"
HUBS = "corridor.servicebus.windows.net:9093"
SECRET = {"vault": {"url": "https://corridor.vault.azure.net"}, "name": "kafka"}
API = "https://erp.example.org/v1"
CLIENT = {"auth": "oauth2", "client_id": "dpa", "key": CANARY}
BLOBS = "https://corridor.blob.core.windows.net"
AZURE_URL = "postgresql://dpa@corridor.postgres.database.azure.com/freight"
LOGIN: dict[str, Any] = {"security_protocol": "SASL_SSL", "username": "dpa", "password": CANARY}


@pytest.mark.parametrize("block", BLOCKS)
class TestBlocksAreWhatPrefectExpects(BlockStandardTestSuite):
    @pytest.fixture
    def block(self, request: pytest.FixtureRequest) -> type[Block]:
        return request.param  # type: ignore[no-any-return]

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        assert block._logo_url is None  # a picture would be fetched from the internet


def test_names_and_order_of_what_prefect_stores_never_change() -> None:
    assert {block.get_block_type_slug(): " ".join(block.model_fields) for block in BLOCKS} == {
        "alert-channel": "kind key sender recipients account key_secret",
        "blob-drop": "account_url key key_secret",
        "http-api": "base_url auth key key_secret api_key_header token_url client_id scope connect_timeout_s "
        "read_timeout_s ca_location private",
        "kafka-cluster": "bootstrap_servers security_protocol sasl_mechanism username password ca_location "
        "password_secret insecure",
        "azure-key-vault": "url",
        "azure-key-vault-secret": "vault name version",
        "mail-server": "host port security username password password_secret sender ca_location",
        "sql-source": "url password password_secret",
        "freight-warehouse": "url password password_secret entra_id",
    }


def test_an_event_hubs_namespace_is_a_secured_kafka() -> None:
    assert KafkaCluster.event_hubs("corridor", CONNECTION).client_settings() == {
        "bootstrap.servers": HUBS,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "$ConnectionString",
        "sasl.password": CONNECTION,
    }


def test_a_cluster_without_a_login_needs_its_place_only() -> None:
    cluster = KafkaCluster(bootstrap_servers="127.0.0.1:9092,localhost:9092")
    assert cluster.client_settings() == {
        "bootstrap.servers": "127.0.0.1:9092,localhost:9092",
        "security.protocol": "PLAINTEXT",
    }


@pytest.mark.parametrize("servers", ["kafka:9092", "127.0.0.1:9092,kafka.example.org:9092", "10.0.0.4:9092"])
def test_a_cluster_on_another_machine_speaks_plain_text_only_where_somebody_trusts_the_network(servers: str) -> None:
    with pytest.raises(ConfigurationError, match="PLAINTEXT lets anybody in the network") as refused:
        KafkaCluster(bootstrap_servers=servers)
    assert "choose SASL_SSL or SSL" in str(refused.value)
    trusted = KafkaCluster(bootstrap_servers=servers, insecure=True).client_settings()
    assert trusted == {"bootstrap.servers": servers, "security.protocol": "PLAINTEXT"}


def test_the_kafka_of_the_installation_speaks_plain_text_only_where_somebody_trusts_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DPA_KAFKA_BOOTSTRAP", "kafka:9092")
    monkeypatch.delenv("DPA_KAFKA_INSECURE", raising=False)
    with pytest.raises(ConfigurationError, match="DPA_KAFKA_INSECURE=true"):
        kafka_client(None, load_settings())
    monkeypatch.setenv("DPA_KAFKA_INSECURE", "true")
    assert kafka_client(None, load_settings())["bootstrap.servers"] == "kafka:9092"
    monkeypatch.setenv("DPA_KAFKA_INSECURE", "yes")
    with pytest.raises(ConfigurationError, match="DPA_KAFKA_INSECURE must be true or false"):
        load_settings()


def test_a_cluster_may_prove_who_it_is_without_a_login() -> None:
    cluster = KafkaCluster(bootstrap_servers="a:1", security_protocol="SSL", ca_location="ca.pem")
    assert cluster.client_settings() == {
        "bootstrap.servers": "a:1",
        "security.protocol": "SSL",
        "ssl.ca.location": "ca.pem",
    }


@pytest.mark.parametrize(
    "servers",
    [
        f"{HUBS},evil.example:9093",
        f"evil.example:9093,{HUBS}",
        f"{HUBS},other.servicebus.windows.net:9093",
        f"{HUBS.removesuffix(':9093')}.evil.example:9093",
        f"evil.example\0.{HUBS}",  # the client would connect to what stands before the NUL
        f"evil.example#.{HUBS}",
        "corridor.servicebus.chinacloudapi.cn:9093",  # of another cloud of Azure
    ],
)
@pytest.mark.parametrize(
    "login",
    [{"sasl_mechanism": "OAUTHBEARER"}, {"username": "$ConnectionString", "password": CONNECTION}],
    ids=["token", "connection string"],
)
def test_the_login_of_a_namespace_goes_to_its_own_host_alone(servers: str, login: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"remove the others|correct bootstrap_servers|needs host:port"):
        KafkaCluster(bootstrap_servers=servers, security_protocol="SASL_SSL", **login)  # type: ignore[arg-type]


def test_another_cloud_of_azure_has_its_own_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPA_AZURE_CLOUD", "china")
    settings = KafkaCluster.event_hubs("corridor").client_settings()
    assert settings["bootstrap.servers"] == "corridor.servicebus.chinacloudapi.cn:9093"
    assert callable(settings["oauth_cb"])
    with pytest.raises(ConfigurationError, match="DPA_AZURE_CLOUD"):
        KafkaCluster(bootstrap_servers=HUBS, security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER")


def test_an_authority_of_ones_own_and_scram_are_passed_on() -> None:
    cluster = KafkaCluster(bootstrap_servers="a:1", sasl_mechanism="SCRAM-SHA-512", ca_location="ca.pem", **LOGIN)
    settings = cluster.client_settings()
    assert (settings["sasl.mechanism"], settings["ssl.ca.location"]) == ("SCRAM-SHA-512", "ca.pem")
    assert settings["sasl.password"] == CANARY


def test_tokens_come_from_where_the_caller_says_or_from_azure() -> None:
    cluster = KafkaCluster(bootstrap_servers="a:1", security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER")
    with pytest.raises(ConfigurationError, match="only Event Hubs receives tokens: use SCRAM or PLAIN"):
        cluster.client_settings()

    def tokens(_: str) -> tuple[str, float]:
        return CANARY, 2e9

    assert cluster.client_settings(tokens)["oauth_cb"] is tokens
    settings = KafkaCluster.event_hubs("corridor").client_settings()
    assert (settings["bootstrap.servers"], settings["sasl.mechanism"]) == (HUBS, "OAUTHBEARER")
    assert callable(settings["oauth_cb"])


def test_a_token_that_does_not_come_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    credential = StandInCredential(lifetime_s=2)
    cluster = KafkaCluster(bootstrap_servers="127.0.0.1:1", security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER")
    reader = KafkaReader(cluster.client_settings(azure_tokens("corridor", credential)), "topic", "group")
    credential.error = ClientAuthenticationError("no identity today")
    deadline = time.monotonic() + LIMIT_S
    while NO_TOKEN[0] not in caplog.text:
        assert time.monotonic() < deadline
        reader.poll(1, 0.1)  # it refuses nothing
    with pytest.raises(TransientError, match="Azure issues no token for Kafka: no identity today"):
        reader.topic_id()
    reader.close()
    assert credential.token not in caplog.text


@pytest.mark.parametrize(
    ("fields", "remedy"),
    [
        ({"bootstrap_servers": "kafka://a:1"}, "needs host:port"),
        ({"bootstrap_servers": "a"}, "needs host:port"),
        ({"bootstrap_servers": ""}, "needs host:port"),
        ({"bootstrap_servers": "a:1, b:1"}, "needs host:port"),
        ({"bootstrap_servers": f"dpa:{CANARY}@a:1"}, "needs host:port"),
        ({**LOGIN, "security_protocol": "SSL"}, "SSL logs nobody in: choose SASL_SSL, or remove username and password"),
        ({**LOGIN, "security_protocol": "PLAINTEXT"}, "choose SASL_SSL, or remove username and password"),
        ({"password": CANARY}, "choose SASL_SSL, or remove username and password"),
        ({**LOGIN, "username": None}, "needs a username"),
        ({**LOGIN, "password": None}, "needs a password"),
        ({**LOGIN, "password": ""}, "needs a password"),
        ({**LOGIN, "sasl_mechanism": "OAUTHBEARER"}, "remove username and password"),
        ({**LOGIN, "username": "$ConnectionString"}, "begins with Endpoint=sb://"),
        ({**LOGIN, "bootstrap_servers": HUBS}, r"literally \$ConnectionString"),
        ({**LOGIN, "bootstrap_servers": HUBS, "sasl_mechanism": "SCRAM-SHA-256"}, "does not support SCRAM"),
        ({**LOGIN, "bootstrap_servers": HUBS.replace("9093", "9092")}, "on port 9093 only"),
        ({"bootstrap_servers": HUBS}, "set security_protocol"),
        ({**LOGIN, "password_secret": SECRET}, "remove password, or password_secret"),
        ({"password_secret": SECRET}, "choose SASL_SSL, or remove username and password"),
    ],
)
def test_a_cluster_that_cannot_work_is_refused_with_a_remedy(fields: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=remedy) as refused:
        KafkaCluster(**{"bootstrap_servers": "a:1", **fields})
    assert CANARY not in repr(refused.value)


@pytest.mark.parametrize("namespace", ["corridor.servicebus.windows.net", "a", "", "sb://corridor"])
def test_a_namespace_is_named_without_its_domain(namespace: str) -> None:
    with pytest.raises(ConfigurationError, match="letters, digits and dashes"):
        KafkaCluster.event_hubs(namespace, CONNECTION)


def test_the_warehouse_opens_with_the_password_in_its_place() -> None:
    url = "postgresql://dpa@db.example.org/freight"
    assert Warehouse(url=url).password_source() is None
    known = Warehouse(url=url, password=SecretStr(CANARY)).password_source()
    assert known
    assert known() == known(fresh=True) == CANARY
    secret = KeyVaultSecret(vault=KeyVault(url="https://corridor.vault.azure.net"), name="warehouse")
    assert Warehouse(url=url, password_secret=secret).password_source()
    with pytest.raises(ConfigurationError, match="remove password, or password_secret"):
        Warehouse(url=url, password=SecretStr(CANARY), password_secret=secret)
    with pytest.raises(ConfigurationError, match="remove password, or entra_id"):
        Warehouse(url=url, password=SecretStr(CANARY), entra_id=True)


def test_the_warehouse_is_opened_with_the_token_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    credential = StandInCredential()
    monkeypatch.setattr(tokens_of_azure, "machine_credential", lambda: credential)
    password = Warehouse(url=AZURE_URL, entra_id=True).password_source()
    assert password
    assert password() == credential.token
    assert credential.scopes == {CLOUDS["public"].postgresql_scope}
    credential.error = ClientAuthenticationError("no identity today")
    with pytest.raises(TransientError, match="Azure issues no token for PostgreSQL: no identity today"):
        password(fresh=True)


@pytest.mark.parametrize(
    "url", [f"postgresql://dpa:{CANARY}@db/freight", f"postgresql://dpa@db/freight?password={CANARY}"]
)
def test_a_password_within_the_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="put it into the field password") as refused:
        Warehouse(url=url)
    assert "canary" not in repr(refused.value)


def test_a_url_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected sqlite:///"):
        Warehouse(url="somewhere")


@pytest.mark.parametrize(
    "block",
    [
        KafkaCluster(bootstrap_servers="a:1", **LOGIN),
        Warehouse(url="postgresql://dpa@db/freight", password=SecretStr(CANARY)),
        HttpApi(base_url=API, auth="api-key", key=SecretStr(CANARY)),
        BlobDrop(account_url=BLOBS, key=SecretStr(CANARY)),
    ],
    ids=lambda block: type(block).__name__,
)
def test_nobody_sees_a_secret(block: Block, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("freight").warning("%s %r", block, block)
    shown = [repr(block), str(block), str(block.model_dump()), block.model_dump_json(), caplog.text]
    assert [text for text in shown if "canary" in text] == []


@pytest.mark.parametrize("kind", [KafkaCluster, Warehouse, HttpApi, BlobDrop])
def test_a_fault_of_a_field_does_not_show_what_was_given(kind: type[Block]) -> None:
    with pytest.raises(ValidationError) as refused:
        kind(
            bootstrap_servers="a:1",
            url="sqlite://",
            base_url=API,
            account_url=BLOBS,
            password={"p": CANARY},
            key={"k": CANARY},
        )
    assert "canary" not in f"{refused.value}"


@pytest.mark.parametrize("url", ["http://corridor.vault.azure.net", "corridor", "https://v/secrets/name", ""])
def test_a_vault_is_named_by_its_host(url: str) -> None:
    with pytest.raises(ConfigurationError, match="https:// and its host"):
        KeyVault(url=url)


def test_a_secret_is_named_without_its_url() -> None:
    vault = KeyVault(url="https://corridor.vault.azure.net")
    with pytest.raises(ConfigurationError, match="letters, digits and dashes"):
        KeyVaultSecret(vault=vault, name="https://corridor.vault.azure.net/secrets/kafka")


@pytest.mark.parametrize(
    ("fields", "remedy"),
    [
        ({"base_url": "erp.example.org"}, "needs https://"),
        ({"base_url": "ftp://erp.example.org"}, "needs https://"),
        ({"base_url": f"https://dpa:{CANARY.replace('/', '')}@erp.example.org"}, "without user, password"),
        ({"base_url": "https://erp.example.org/?key=1"}, "query"),
        ({"base_url": "https://erp:port"}, "cannot be read"),
        ({"base_url": "http://169.254.169.254/metadata"}, "base_url names 169.254.169.254, where no API is"),
        ({"base_url": "http://169.254.169.254", "private": True}, "where no API is"),
        ({"base_url": "http://2852039166"}, "where no API is"),
        ({"base_url": "http://169。254。169。254"}, "where no API is"),
        ({"base_url": "http://１６９.254.169.254"}, "cannot be read"),
        ({"base_url": "http://[::ffff:169.254.169.254]"}, "where no API is"),
        ({"base_url": "https://10.0.0.5/v1"}, "in a private network: if the API is there, set `private`"),
        ({"base_url": "http://127.1:4200/api"}, "set `private`"),
        ({"auth": "api-key", "key": CANARY, "api_key_header": "X-Key\nY: "}, "the name of a header"),
        ({"base_url": "http://erp.example.org", "auth": "api-key", "key": CANARY}, "name https:// in base_url"),
        ({"key": CANARY}, "choose auth, or remove the key"),
        ({"auth": "api-key"}, "fill in key, or key_secret"),
        ({"auth": "api-key", "key": CANARY, "key_secret": SECRET}, "remove key, or key_secret"),
        ({"auth": "oauth2", "key": CANARY, "token_url": API}, "needs a client_id"),
        ({"auth": "oauth2", "key": CANARY, "client_id": "dpa", "token_url": "http://erp"}, "token_url with https://"),
        ({**CLIENT, "token_url": f"https://dpa:{CANARY.replace('/', '')}@erp/token"}, "without user and password"),
        ({**CLIENT, "token_url": "https://169.254.169.254/token"}, "token_url names 169.254.169.254, where no API is"),
        ({**CLIENT, "token_url": "https://10.0.0.5/token"}, "set `private`"),
    ],
)
def test_an_api_that_cannot_work_is_refused_with_a_remedy(fields: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=remedy) as refused:
        HttpApi(**{"base_url": API, **fields})
    assert "canary" not in repr(refused.value)


@pytest.mark.parametrize(
    ("fields", "remedy"),
    [
        ({"account_url": "corridor"}, "needs https:// and the host of the account"),
        ({"account_url": "http://corridor.blob.core.windows.net"}, "needs https://"),
        ({"account_url": "http://127.0.0.1:10000@erp.example.org/dpa"}, "needs https://"),
        ({"account_url": f"{BLOBS}/container?sig={CANARY}"}, "needs https://"),
        ({"account_url": "https://corridor.dfs.core.windows.net"}, r"write \.blob\. in place of \.dfs\."),
        ({"key": CANARY, "key_secret": SECRET}, "remove key, or key_secret"),
    ],
)
def test_a_drop_that_cannot_work_is_refused_with_a_remedy(fields: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=remedy) as refused:
        BlobDrop(**{"account_url": BLOBS, **fields})
    assert "canary" not in repr(refused.value)


def test_an_authority_that_is_no_file_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigurationError, match="ca_location of the HTTP API cannot be used"):
        HttpApi(base_url=API, ca_location="/nowhere/ca.pem").client()
