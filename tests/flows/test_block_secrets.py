"""What a block keeps secret is nowhere to be seen: not in its text, nor in what Prefect knows of a run that uses it."""

import json
import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from prefect import flow, get_client
from prefect.artifacts import create_markdown_artifact
from prefect.blocks.core import Block
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from pydantic import SecretStr

from blocks.alert_channel import AlertChannel
from blocks.blob_drop import BlobDrop
from blocks.http_api import HttpApi
from blocks.kafka_cluster import KafkaCluster
from blocks.key_vault import KeyVault, KeyVaultSecret, secret_source
from blocks.mail_server import MailServer
from blocks.places import load_block
from blocks.sql_source import SqlSource
from blocks.warehouse import Warehouse
from deployments.apply_blocks import BLOCKS
from freight.settings import load_settings
from freight.streaming.password import PASSWORD_CB
from tasks.log import log_run
from tests.lib.runs import logged_within
from tests.lib.vault import StandInVault

CANARY = "canary: p@ss/word?"
LOGIN: dict[str, Any] = {"security_protocol": "SASL_SSL", "username": "dpa"}
OAUTH2: dict[str, Any] = {"auth": "oauth2", "client_id": "dpa", "token_url": "https://erp.example.org/token"}
API, URL = "https://erp.example.org/v1", "postgresql://dpa@db.example.org/freight"
BLOBS = "https://corridor.blob.core.windows.net"
HOOK = "https://hooks.example.org/"
LAST = "that was all"


def with_secrets(vault: StandInVault) -> dict[str, Block]:
    """Return blocks of every kind: with the canary in the vault, and in each field that Prefect encrypts."""
    key_vault = KeyVault(url=vault.url)
    secret = KeyVaultSecret(vault=key_vault, name="hidden")
    return {
        "vault": key_vault,
        "secret": secret,
        "warehouse-by-form": Warehouse(url=URL, password=SecretStr(CANARY)),
        "warehouse-by-vault": Warehouse(url=URL, password_secret=secret),
        "kafka-by-form": KafkaCluster(bootstrap_servers="a:1", password=SecretStr(CANARY), **LOGIN),
        "kafka-by-vault": KafkaCluster(bootstrap_servers="a:1", password_secret=secret, **LOGIN),
        "api-by-form": HttpApi(base_url=API, auth="api-key", key=SecretStr(CANARY)),
        "api-by-vault": HttpApi(base_url=API, key_secret=secret, **OAUTH2),
        "sql-by-form": SqlSource(url=URL, password=SecretStr(CANARY)),
        "sql-by-vault": SqlSource(url=URL, password_secret=secret),
        "alerts-by-form": AlertChannel(kind="webhook", key=SecretStr(HOOK + quote(CANARY, safe=""))),
        "drop-by-form": BlobDrop(account_url=BLOBS, key=SecretStr(CANARY)),
        "drop-by-vault": BlobDrop(account_url=BLOBS, key_secret=secret),
        "mail-by-form": MailServer(host="a", username="dpa", sender="a@example.org", password=SecretStr(CANARY)),
        "mail-by-vault": MailServer(host="a", username="dpa", sender="a@example.org", password_secret=secret),
    }


def secret_of(block: Block) -> str:
    """Take from a block what it gives to those who log in with it."""
    match block:
        case KeyVault():
            return block.read("hidden").get_secret_value()
        case KeyVaultSecret():
            return block.read()
        case Warehouse():
            source = block.password_source()
            assert source
            return source()
        case KafkaCluster():
            settings = block.client_settings()
            return str(settings[PASSWORD_CB]() if PASSWORD_CB in settings else settings["sasl.password"])
        case HttpApi():
            with block.client() as client:
                assert client
            return block._key()()
        case SqlSource():
            assert CANARY not in repr(block.database())
            return secret_source(block.password, block.password_secret)()
        case AlertChannel():
            sender = block.sender_block()
            assert isinstance(sender, Webhook)
            return unquote(sender.url.get_secret_value().removeprefix(HOOK))
        case BlobDrop():
            return str(block.filesystem().credential.named_key.key)
        case MailServer():
            return block._password()
    raise AssertionError(f"{type(block).__name__}: say here what it keeps secret")


@flow
def use(names: dict[str, str], given: Block) -> list[str]:
    """Do with blocks all that may show them by mistake; return which gave their secret."""
    assert given
    log_run(load_settings().logs)
    log = logging.getLogger("freight")  # in a file, and in Prefect
    kinds = {kind.__name__: kind for kind in BLOCKS}
    used = []
    for name, kind in names.items():
        block = load_block(kinds[kind], name)
        used += [name] if secret_of(block) == CANARY else []
        shown = f"{block} {block!r} {block.model_dump()} {block.model_dump_json()}"
        log.warning("%s %r %s", block, block, shown)
        create_markdown_artifact(shown, key="shown")
    log.warning(LAST)
    return used


def ask(prefect: Any, path: str) -> str:
    """Return what the API tells everybody."""
    return json.dumps(prefect.request("POST", f"/{path}/filter", json={}).json())


@pytest.fixture
def prefect() -> Any:
    with get_client(sync_client=True) as client:
        yield client


def test_a_canary_is_nowhere_to_be_seen(
    home: Path, prefect: SyncPrefectClient, vault: StandInVault, capfd: pytest.CaptureFixture[str]
) -> None:
    vault.set("hidden", CANARY)
    blocks = with_secrets(vault)
    assert {type(block) for block in blocks.values()} == set(BLOCKS)
    for name, block in blocks.items():
        block.save(name, overwrite=True)

    names = {name: type(block).__name__ for name, block in blocks.items()}
    state = use(names, blocks["warehouse-by-form"], return_state=True)
    assert state.result() == list(blocks)  # each of them had it
    run = prefect.read_flow_run(state.state_details.flow_run_id)  # type: ignore[arg-type]
    logged = logged_within(prefect, run.id, LAST)
    seen = {
        "text": " ".join(
            f"{block} {block!r} {block.model_dump()} {block.model_dump_json()}" for block in blocks.values()
        ),
        "run": run.model_dump_json(),
        "logs of the run": " ".join(logged),
        **{path: ask(prefect, path) for path in ("artifacts", "block_documents", "flow_runs", "events", "logs")},
        "output": "".join(capfd.readouterr()),
        "files": " ".join(path.read_text(encoding="utf-8") for path in home.rglob("*.log")),
    }
    assert [place for place, text in seen.items() if "canary" in text] == []
    shown = ("text", "run", "logs of the run", "artifacts", "block_documents", "files")
    assert [place for place in shown if "****" not in seen[place]] == []
