"""A secret of whatever signs is nowhere to be seen when what a block reaches refuses it, breaks off, or repeats it."""

import asyncio
import base64
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from loguru import logger
from prefect.blocks.webhook import Webhook
from pydantic import SecretStr

from blocks import azure_identity, drop_files, key_vault
from blocks.alert_channel import AlertChannel
from blocks.azure_tokens import azure_passwords, azure_tokens
from blocks.blob_drop import BlobDrop
from blocks.http_api import HttpApi
from blocks.kafka_cluster import KafkaCluster
from blocks.key_vault import KeyVault, KeyVaultSecret
from blocks.mail_server import MailServer
from blocks.sql_source import SqlSource
from blocks.warehouse import Warehouse
from deployments.apply_blocks import BLOCKS
from freight.errors import TransientError
from freight.log import log_to_file
from freight.streaming import consumer
from freight.streaming.consumer import KafkaReader
from freight.warehouse.connect import closing, open_engine, reading
from tests.conftest import WarehouseUnderTest
from tests.lib.connections import KnownConnections
from tests.lib.corridor import Corridor
from tests.lib.echo import echoing_http, echoing_kafka, echoing_mail_server, echoing_postgresql
from tests.lib.tokens import StandInCredential
from tests.lib.vault import StandInVault

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")

MARK = "cAnArY0123456789"
SECRETS = {
    "plain": MARK,
    "line end": f"{MARK}\n",
    "Windows line end": f"{MARK}\r\n",
    "line end within": f"{MARK}\nX: y",
    "NUL": f"{MARK}\0sslmode=disable",
    "DEL": f"{MARK}\x7f",
    "C1": f"{MARK}\x85x",
    "line separator": f"{MARK}\u2028x",
    "surrogate": f"{MARK}\udc80",
    "not ASCII": f"é{MARK}ü€",
    "quotes": f"'{MARK}\" x='y",
    "backslash": f"\\{MARK}\\",
    "percent": f"%41{MARK}%zz/?#@:&=+ ;",
    "10 kB": MARK * 640,
}
REFUSED = {"line end within", "NUL", "DEL", "C1", "line separator", "surrogate"}
TRIES = 300  # to hear what a broker says, of a tenth of a second each
NOWHERE = 1  # a port where nobody listens


class Reached:
    """What is there for blocks to reach."""

    def __init__(self, folder: Path, vault: StandInVault, open_: ExitStack) -> None:
        self.vault, self.ca = vault, folder / "ca.pem"
        self.postgresql = open_.enter_context(echoing_postgresql())
        self.mail = open_.enter_context(echoing_mail_server(self.ca, folder / "mail.pem"))
        self.kafka_ca = folder / "kafka-ca.pem"
        self.kafka = open_.enter_context(echoing_kafka(self.kafka_ca, folder / "kafka.pem"))
        self.http = open_.enter_context(echoing_http())
        self.api_ca = folder / "api-ca.pem"
        self.api = open_.enter_context(echoing_http(self.api_ca, folder / "api.pem"))

    def kept(self, secret: str) -> KeyVaultSecret:
        """Return the secret as one of the vault, in which it is."""
        self.vault.set("hidden", secret)
        return KeyVaultSecret(vault=KeyVault(url=self.vault.url), name="hidden")


Given = dict[str, Any]  # the field for a typed secret, or for one that is kept
Use = Callable[[Reached, Given], object]


def open_warehouse(reached: Reached, given: Given) -> None:
    block = Warehouse(url=f"postgresql://dpa@127.0.0.1:{reached.postgresql}/freight", **given)
    with closing(open_engine(block.url, password=block.password_source())) as engine, reading(engine):
        pass


def open_source(reached: Reached, given: Given) -> None:
    with SqlSource(url=f"postgresql://dpa@127.0.0.1:{reached.postgresql}/erp", **given).database().reading():
        pass


def send_mail(reached: Reached, given: Given) -> None:
    place: Given = {"host": "localhost", "port": reached.mail, "security": "TLS", "ca_location": str(reached.ca)}
    MailServer(**place, username="dpa", sender="dpa@example.org", **given).send(EmailMessage())


def list_drop(reached: Reached, given: Given) -> None:
    BlobDrop(account_url=f"http://127.0.0.1:{reached.http}/dpa", **given).filesystem().ls("abfs://container")


def list_drop_by_sas(reached: Reached, given: Given) -> None:
    signed = {"key": SecretStr(f"sv=1&sp=rl&sig={given['key'].get_secret_value()}")} if "key" in given else given
    if "key_secret" in given:
        reached.vault.set("hidden", f"?sv=1&sp=rl&sig={given['key_secret'].read()}")
    list_drop(reached, signed)


def list_drop_nowhere(_: Reached, given: Given) -> None:
    BlobDrop(account_url=f"http://127.0.0.1:{NOWHERE}/dpa", **given).filesystem().ls("abfs://container")


def api_place(reached: Reached) -> Given:
    return {"base_url": f"https://localhost:{reached.api}", "ca_location": str(reached.api_ca), "private": True}


def ask_api(reached: Reached, given: Given) -> None:
    with HttpApi(**api_place(reached), auth="api-key", **given).client() as client:
        client.get("machines")


def ask_api_with_tokens(reached: Reached, given: Given) -> None:
    place = api_place(reached)
    place["token_url"] = f"{place['base_url']}/token"
    with HttpApi(**place, auth="oauth2", client_id="dpa", **given).client() as client:
        client.get("machines")


def listen(reached: Reached, given: Given) -> None:
    login: Given = {"security_protocol": "SASL_SSL", "username": "dpa", "ca_location": str(reached.kafka_ca)}
    cluster = KafkaCluster(bootstrap_servers=f"localhost:{reached.kafka}", **login, **given)
    reader = KafkaReader(cluster.client_settings(), "topic", "group")
    try:
        reader.topic_id()  # by a client of its own
    except TransientError as error:
        logging.getLogger("freight").warning("%s", error)
    try:
        for _ in range(TRIES):
            reader.poll(1, 0.1)
    finally:
        reader.close()


def listen_nowhere(_: Reached, given: Given) -> None:
    login: Given = {"security_protocol": "SASL_SSL", "username": "dpa"}
    cluster = KafkaCluster(bootstrap_servers=f"127.0.0.1:{NOWHERE}", **login, **given)
    reader = KafkaReader(cluster.client_settings(), "topic", "group")
    reader.poll(1, 0.05)
    reader.close()


def send_alert(_: Reached, given: Given) -> None:
    if "key" in given:
        given = {"key": SecretStr(f"http://127.0.0.1:{NOWHERE}/{given['key'].get_secret_value()}")}
    sender = AlertChannel(kind="webhook", **given).sender_block()
    assert isinstance(sender, Webhook)
    asyncio.run(sender.call({}))


def read_secret(_: Reached, given: Given) -> None:
    kept = next(iter(given.values()))
    if isinstance(kept, KeyVaultSecret):
        kept.read()
        kept.vault.read("hidden")


USES: dict[str, tuple[Use, tuple[str, str]]] = {
    "Warehouse": (open_warehouse, ("password", "password_secret")),
    "SqlSource": (open_source, ("password", "password_secret")),
    "MailServer": (send_mail, ("password", "password_secret")),
    "BlobDrop": (list_drop, ("key", "key_secret")),
    "BlobDrop, SAS": (list_drop_by_sas, ("key", "key_secret")),
    "BlobDrop, nowhere": (list_drop_nowhere, ("key", "key_secret")),
    "HttpApi": (ask_api, ("key", "key_secret")),
    "HttpApi, OAuth2": (ask_api_with_tokens, ("key", "key_secret")),
    "KafkaCluster": (listen, ("password", "password_secret")),
    "KafkaCluster, nowhere": (listen_nowhere, ("password", "password_secret")),
    "AlertChannel": (send_alert, ("key", "key_secret")),
    "KeyVaultSecret, KeyVault": (read_secret, ("key", "key_secret")),
}


@pytest.fixture(scope="module")
def reached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reached]:
    folder = tmp_path_factory.mktemp("reached")
    impatient = {"connection_timeout": 5, "read_timeout": 5, "retry_total": 0}
    with pytest.MonkeyPatch.context() as patch, ExitStack() as open_:
        vault = open_.enter_context(StandInVault(folder))
        patch.setattr(drop_files, "client_options", lambda: impatient)
        patch.setattr(key_vault, "client_options", vault.client_options)
        patch.setattr(key_vault, "FRESH_S", 0.0)
        patch.setattr(consumer, "ANSWER_S", 0.3)
        yield Reached(folder, vault, open_)


@pytest.fixture
def seen(tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """Give what returns all that is to be seen of a call: its error, the errors behind it, the log and the output."""
    core, kafka = logging.getLogger("freight"), logging.getLogger("librdkafka")
    before = [(log, log.handlers[:], log.propagate, log.level) for log in (core, kafka)]
    core.handlers = []
    path = log_to_file(tmp_path)
    for log in (core, kafka):
        log.addHandler(caplog.handler)

    def text(call: Callable[[], object]) -> str:
        shown = ""
        try:
            call()
        except Exception as error:
            core.exception("it failed")
            shown = "\n".join(everything(error))
        return f"{shown}\n{path.read_text(encoding='utf-8')}\n{caplog.text}\n{''.join(capfd.readouterr())}"

    yield text
    logger.remove()
    for log, handlers, propagate, level in before:
        log.handlers, log.propagate, log.level = handlers, propagate, level


def everything(error: BaseException) -> Iterator[str]:
    """Yield what anybody may show of an error: its traceback, and what it holds."""
    yield from traceback.format_exception(error)
    yield f"{error!s} {error!r} {error.args!r}"


def places(text: str, secret: str) -> list[str]:
    """Return in which forms a text has a secret: the mark in it is the same in clear, by percent and in quotes."""
    starts = [base64.b64encode(before + secret.encode("utf-8", "replace")) for before in (b"", b"dpa:", b"\0dpa\0")]
    forms = {"mark": "cAnArY", **{f"base64 {number}": form.decode()[8:24] for number, form in enumerate(starts)}}
    return [name for name, form in forms.items() if form in text or quote(form) in text]


def test_every_block_is_tried() -> None:
    named = {name for use in USES for name in use.partition(", ")[0].split() + use.split(", ")}
    assert {block.__name__ for block in BLOCKS} <= named


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("way", ["typed", "kept"])
@pytest.mark.parametrize("use", USES)
def test_a_secret_is_nowhere_to_be_seen(reached: Reached, seen: Any, use: str, way: str, kind: str) -> None:
    call, (typed, kept) = USES[use]
    secret = SECRETS[kind]

    def used() -> None:
        call(reached, {typed: SecretStr(secret)} if way == "typed" else {kept: reached.kept(secret)})

    text = seen(used)
    assert places(text, secret) == [], text[:3_000]
    if kind in REFUSED and use != "KeyVaultSecret, KeyVault":
        assert "enter it again without it" in text
        assert "ConfigurationError" in text


def test_an_api_that_repeats_its_key_is_not_repeated(
    reached: Reached, seen: Any, tmp_path: Path, sqlite_warehouse: WarehouseUnderTest
) -> None:
    api = HttpApi(**api_place(reached), auth="api-key", key=SecretStr(MARK))
    corridor = Corridor(tmp_path, sqlite_warehouse.engine, connections=KnownConnections(apis={"erp": api}))
    corridor.add_connected("machines", "machines", "http_api", location="machines", options={})
    text = seen(lambda: logging.getLogger("freight").error("%s", corridor.load()))
    assert "the API answers 403 Forbidden" in text
    assert places(text, MARK) == []


TOKENS = {name: secret for name, secret in SECRETS.items() if name in REFUSED or name == "not ASCII"}


class Taken(StandInCredential):
    """An identity whose token is a certain one."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._token = token

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        """Give it."""
        return AccessToken(self._token, 2_000_000_000)


@pytest.mark.parametrize("kind", TOKENS)
def test_a_token_that_cannot_be_sent_is_refused_before_a_library_sees_it(
    reached: Reached, seen: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = Taken(TOKENS[kind])
    checked = azure_identity.CheckedCredential(identity)
    monkeypatch.setattr(azure_identity, "machine_credential", lambda: checked)
    monkeypatch.setattr(
        key_vault, "client_options", lambda url: {**reached.vault.client_options(url), "credential": checked}
    )
    drop = drop_files.DropFileSystem(f"https://localhost:{NOWHERE}/dpa", azure_identity.WaitingCredential(), "")
    for call in (
        azure_passwords(identity),
        lambda: azure_tokens("corridor", identity)(""),
        reached.kept("hidden").read,
        lambda: drop.ls("abfs://container"),
    ):
        text = seen(call)
        assert places(text, TOKENS[kind]) == []
        assert "ConfigurationError: the token of Azure has" in text


def test_the_secret_of_a_service_principal_is_not_repeated(seen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", MARK)
    identity = StandInCredential()
    identity.error = ClientAuthenticationError(f"the secret {quote(MARK)} is none")
    text = seen(azure_passwords(identity))
    assert places(text, MARK) == []
    assert "Azure issues no token for PostgreSQL: the secret *** is none" in text
