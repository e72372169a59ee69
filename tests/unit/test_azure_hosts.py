"""A token of this machine goes to hosts of Azure's own alone, over verified TLS."""

from typing import Any

import pytest
from pydantic import SecretStr

from blocks import azure_identity
from blocks.azure_identity import CLOUDS, is_below
from blocks.azure_tokens import azure_passwords, azure_tokens
from blocks.blob_drop import BlobDrop
from blocks.key_vault import KeyVault
from blocks.sql_source import SqlSource
from blocks.warehouse import Warehouse
from freight.errors import ConfigurationError
from freight.settings import AzureCloud
from tests.lib.tokens import StandInCredential

BLOBS = "https://corridor.blob.core.windows.net"
POSTGRESQL = "corridor.postgres.database.azure.com"
SIGNED = "sv=1&sig=abc"

# What looks like a host of a service, and is not; {} stands for the domain of the service.
TRICKS = [
    "corridor.{}.evil.example",
    "evil.example",
    "evil.example/corridor.{}",
    "evil.example#.{}",
    "evil.example?.{}",
    "evil.example\\.{}",
    "corridor.{}@evil.example",
    "dpa:x@corridor.{}",
    "corridor.{}.",
    "corridor..{}",
    ".{}",
    "{}",
    "-corridor.{}",
    "corridor{}",
    "corridor-{}",
    "corridor.x{}",
    "corridor.{}\n",
    "corridor.{} ",
    "corridor%2eevil.example%2f.{}",
    "cörridor.{}",
    "xn--corridor\u3002{}",
    "corridor。evil。example",
    "169.254.169.254",
    "[fe80::1]",
    "10.0.0.1",
    "192.168.0.1",
    "2852039166",
    "0xa9fea9fe",
    "localhost",
    "127.0.0.1",
    "0.0.0.0",
]


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("login", [{}, {"key": SecretStr(SIGNED)}], ids=["identity", "SAS"])
def test_a_drop_is_an_account_of_azure(trick: str, login: dict[str, Any]) -> None:
    for scheme in ("https", "http"):
        with pytest.raises(ConfigurationError):
            BlobDrop(account_url=f"{scheme}://{trick.format('blob.core.windows.net')}", **login).filesystem()


@pytest.mark.parametrize("url", [f"{BLOBS}:443", f"{BLOBS}:8443", BLOBS.replace("https", "http"), BLOBS.upper()])
def test_a_drop_is_named_by_its_host_alone(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"such as myaccount\.blob\.core\.windows\.net, without a port"):
        BlobDrop(account_url=url)


def test_a_stand_in_on_this_machine_is_opened_by_a_key_and_never_shown_who_we_are() -> None:
    for url in ("http://127.0.0.1:10000/dpa", "https://localhost:10000/dpa"):
        assert BlobDrop(account_url=url, key=SecretStr("a2V5")).filesystem()
        with pytest.raises(ConfigurationError, match="no other host may receive a token of this identity"):
            BlobDrop(account_url=url).filesystem()
    vault = KeyVault(url="https://localhost:8443")
    with pytest.raises(ConfigurationError, match="no other host may receive a token of this identity"):
        vault.read("hidden")


@pytest.mark.parametrize("trick", [*TRICKS, "corridor.{}:8443", "corridor.{}/secrets", "corridor.{}?x=1"])
def test_a_vault_is_one_of_azure(trick: str) -> None:
    with pytest.raises(ConfigurationError, match=r"the URL of a vault is https:// and its host, below vault\.azure"):
        KeyVault(url=f"https://{trick.format('vault.azure.net')}")


@pytest.mark.parametrize("trick", TRICKS)
def test_a_warehouse_that_takes_tokens_is_one_of_azure(trick: str) -> None:
    with pytest.raises(ConfigurationError):
        Warehouse(url=f"postgresql://dpa@{trick.format('postgres.database.azure.com')}/freight", entra_id=True)


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        *((f"{POSTGRESQL}/freight?sslmode={mode}", "remove sslmode") for mode in ("disable", "require", "verify-ca")),
        *((f"{POSTGRESQL}/freight?sslmode={mode}", "remove sslmode") for mode in ("prefer", "allow", "Verify-Full")),
        (f"{POSTGRESQL}/freight?sslmode=verify-full&sslmode=disable", "names sslmode twice"),
        (f"{POSTGRESQL}/freight?hostaddr=169.254.169.254", "remove hostaddr"),
        (f"{POSTGRESQL}/freight?service=evil", "remove service"),
        (f"{POSTGRESQL}/freight?gssencmode=require", "remove gssencmode"),
        (f"{POSTGRESQL}/freight?SSLMODE=disable", "remove SSLMODE"),
        (f"{POSTGRESQL}/freight?host=evil.example", "'evil.example' is not below"),
        (f"{POSTGRESQL}/freight?host={POSTGRESQL}:5432&host=evil.example:5432", "'evil.example' is not below"),
        (f"{POSTGRESQL}/freight?host={POSTGRESQL},evil.example", "'evil.example' is not below"),
        (f"{POSTGRESQL},evil.example/freight", "'evil.example' is not below"),
        (f"{POSTGRESQL}/freight?host={POSTGRESQL},", "'' is not below"),
        ("/freight", "'' is not below"),
        ("/freight?host=/var/run/postgresql", "is not below"),
        ("localhost/freight", "'localhost' is not below"),
    ],
)
def test_a_token_for_postgresql_is_sent_over_verified_tls_to_all_that_the_url_names(rest: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Warehouse(url=f"postgresql://dpa@{rest}", entra_id=True)


def test_servers_of_azure_are_taken_one_or_several() -> None:
    other = "standby.postgres.database.azure.com"
    for rest in (POSTGRESQL, POSTGRESQL.upper(), f"{POSTGRESQL},{other}", f"{POSTGRESQL}:6432"):
        assert Warehouse(url=f"postgresql://dpa@{rest}/freight", entra_id=True)
    more = f"?sslmode=verify-full&host={POSTGRESQL}:5432&host={other}:5432&target_session_attrs=read-write"
    assert Warehouse(url=f"postgresql://dpa@/freight{more}", entra_id=True)
    with pytest.raises(ConfigurationError, match="a warehouse with entra_id is a PostgreSQL of Azure"):
        Warehouse(url="sqlite:////data/warehouse.sqlite", entra_id=True)


MSI = "driver=ODBC+Driver+18+for+SQL+Server&Authentication=ActiveDirectoryMsi"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (f"mssql+pyodbc://evil.example/erp?{MSI}", "'evil.example' is not below"),
        (f"mssql+pyodbc://169.254.169.254/erp?{MSI}", "is not below"),
        (f"mssql+pyodbc://erp.database.windows.net.evil.example/erp?{MSI}", "is not below"),
        (f"mssql+pyodbc://erp.database.windows.net/erp?{MSI}&Server=evil.example", "'evil.example' is not below"),
        (f"mssql+pyodbc://evil.example/erp?{MSI}&Server=erp.database.windows.net", "'evil.example' is not below"),
        ("mssql+pyodbc://evil.example/erp?driver=x&Authentication=ActiveDirectoryPassword", "is not below"),
        (f"mssql+pyodbc://erp.database.windows.net/erp?{MSI}&Network+Address=evil.example", "is not below"),
        (f"mssql+pyodbc://evil.example/erp?{MSI}&Authentication=SqlPassword", "'evil.example' is not below"),
        (f"mssql+pyodbc://erp.database.windows.net/erp?{MSI}&Failover_Partner=evil.example", "a named host"),
        (f"mssql+pyodbc://erp.database.windows.net/erp?{MSI}&Encrypt=no", "over verified TLS"),
        (f"mssql+pyodbc://erp.database.windows.net/erp?{MSI}&Encrypt=Optional", "over verified TLS"),
        (f"mssql+pyodbc://erp.database.windows.net/erp?{MSI}&TrustServerCertificate=Yes", "over verified TLS"),
        (f"mssql+pyodbc://?dsn=erp&{MSI}", "a named host"),
        (
            "mssql+pyodbc:///?odbc_connect=Server%3Dtcp:evil.example,1433%3BAuthentication+%3D+ActiveDirectoryDefault",
            "'evil.example' is not below",
        ),
    ],
)
def test_a_driver_that_takes_tokens_by_itself_shows_them_to_azure_alone(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        SqlSource(url=url)


def test_an_azure_sql_is_read_by_tokens_and_any_other_by_a_password() -> None:
    assert SqlSource(url="mssql+pyodbc://reader@erp.example.org/erp?driver=x&Authentication=SqlPassword&Encrypt=no")
    assert SqlSource(url=f"mssql+pyodbc://erp.database.windows.net/erp?{MSI}")
    odbc = "Server%3Dtcp:erp.database.windows.net,1433%3BAuthentication%3DActiveDirectoryMsi%3BEncrypt%3Dyes"
    assert SqlSource(url=f"mssql+pyodbc:///?odbc_connect={odbc}")


def test_a_token_for_kafka_is_one_for_event_hubs() -> None:
    for host in ("corridor.servicebus.windows.net.evil.example", "evil.example", "169.254.169.254"):
        with pytest.raises(ConfigurationError, match="is not below"):
            azure_tokens(host)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_sovereign_cloud_is_named_by_one_setting(cloud: AzureCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPA_AZURE_CLOUD", cloud)
    here = CLOUDS[cloud]
    for domain in here.blob:
        assert BlobDrop(account_url=f"https://corridor.{domain}").filesystem()
    assert KeyVault(url=f"https://corridor.{here.vault[0]}/")
    assert Warehouse(url=f"postgresql://dpa@corridor.{here.postgresql[0]}/freight", entra_id=True)
    assert SqlSource(url=f"mssql+pyodbc://corridor.{here.sql[0]}/erp?{MSI}")
    identity = StandInCredential()
    azure_passwords(identity)()
    assert identity.scopes == {here.postgresql_scope}
    for other in CLOUDS.values():
        if other is not here:
            with pytest.raises(ConfigurationError, match="DPA_AZURE_CLOUD"):
                KeyVault(url=f"https://corridor.{other.vault[0]}")


def test_the_identity_asks_the_authority_of_its_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("azure.identity.DefaultAzureCredential", lambda authority, **_: asked.append(authority))
    monkeypatch.setenv("DPA_AZURE_CLOUD", "china")
    azure_identity.machine_credential.__wrapped__()
    assert asked == ["login.chinacloudapi.cn"]


def test_a_cloud_that_there_is_not_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPA_AZURE_CLOUD", "moon")
    with pytest.raises(ConfigurationError, match="DPA_AZURE_CLOUD names no cloud: use one of public, china, usgov"):
        KeyVault(url="https://corridor.vault.azure.net")


def test_labels_are_those_of_names() -> None:
    assert is_below("a.b-c.example.org", ("example.org",))
    assert not is_below("a.example.org", ("xample.org",))
