"""Blocks from a file without secrets, on a real Prefect server: made, changed, refused with their line, done again."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from pydantic import SecretStr

from blocks.kafka_cluster import KafkaCluster
from blocks.key_vault import KeyVaultSecret
from blocks.warehouse import Warehouse
from deployments.apply_blocks import BLOCKS, apply_blocks, main
from freight.errors import ConfigurationError
from freight.settings import PROJECT_ROOT
from tests.lib.readme import files_to_write

CANARY = "canary: p@ss/word?"
(PAGE,) = files_to_write((PROJECT_ROOT / "docs" / "prefect.md").read_text(encoding="utf-8")).values()
HERE = "postgresql://dpa@db.example.org/freight"
AZURE = "postgresql://dpa@corridor.postgres.database.azure.com/freight"
# One block of each depth, since Prefect takes a second for each.
SMALL = f"""
azure-key-vault: {{small: {{url: 'https://my-vault.vault.azure.net'}}}}
azure-key-vault-secret: {{small: {{vault: small, name: warehouse-password}}}}
freight-warehouse: {{small: {{url: '{HERE}', password_secret: small}}}}
"""

Write = Callable[[str], Path]


@pytest.fixture
def prefect() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "blocks.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def stored(prefect: SyncPrefectClient) -> dict[str, Any]:
    """Return all blocks as others see them, by kind and name."""
    documents = prefect.request("POST", "/block_documents/filter", json={}).json()
    return {f"{told['block_type']['slug']}/{told['name']}": told for told in documents}


def contents(prefect: SyncPrefectClient) -> dict[str, Any]:
    return {name: (told["id"], told["data"]) for name, told in stored(prefect).items()}


def test_the_file_of_the_page_makes_its_blocks(
    write: Write, prefect: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["apply_blocks", str(write(PAGE))])
    assert main() == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"Prefect knows {len(BLOCKS)} kinds of blocks"
    assert set(said[1:]) == {
        "azure-key-vault/corridor",
        "azure-key-vault-secret/warehouse-password",
        "azure-key-vault-secret/kafka-password",
        "freight-warehouse/production",
        "freight-warehouse/archive",
        "kafka-cluster/event-hubs",
        "kafka-cluster/corridor",
        "http-api/erp",
    }
    assert set(said[1:]) <= set(stored(prefect))
    cluster = KafkaCluster.load("corridor")
    assert isinstance(cluster, KafkaCluster)
    assert cluster.password_secret
    assert cluster.password_secret.vault.url == "https://my-vault.vault.azure.net"


def test_again_changes_nothing_and_a_change_is_seen_by_those_that_hold_the_block(
    write: Write, prefect: SyncPrefectClient
) -> None:
    apply_blocks(write(SMALL))
    before = contents(prefect)
    apply_blocks(write(SMALL))
    assert contents(prefect) == before
    apply_blocks(write("azure-key-vault: {small: {url: 'https://other.vault.azure.net'}}"))
    secret = KeyVaultSecret.load("small")  # was not written again, and holds the vault itself
    assert isinstance(secret, KeyVaultSecret)
    assert secret.vault.url == "https://other.vault.azure.net"
    apply_blocks(write("freight-warehouse: {small: {url: 'sqlite://'}, named: {url: 'x://', password_secret: small}}"))
    small, named = Warehouse.load("small"), Warehouse.load("named")
    assert isinstance(small, Warehouse)
    assert (small.url, small.password_secret) == ("sqlite://", None)
    assert isinstance(named, Warehouse)  # by a block that is in Prefect only
    assert named.password_secret
    assert named.password_secret.name == "warehouse-password"
    assert "azure-key-vault-secret/small" in stored(prefect)  # which the file does not name


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ("kafka: {}", r"line 2: there is no kind of block 'kafka': use one of .*, kafka-cluster"),
        ("kafka-cluster:", "line 2: kafka-cluster needs names of blocks, each with a colon"),
        ("kafka-cluster:\n  a: here", "line 3: kafka-cluster/a needs its fields, each with a colon"),
        ("kafka-cluster:\n  A_b: {}", "line 3: the block name 'A_b' may only hold a-z, digits and dashes"),
        ("http-api:\n  a:\n    url: b", r"line 4: http-api/a has no field 'url': use one of base_url, auth"),
        ("http-api:\n  a: {auth: none}", "line 3: http-api/a: base_url: Field required"),
        ("http-api:\n  a:\n    base_url: https://b\n    auth: maybe", "line 5: http-api/a: auth: Input should be"),
        ("http-api:\n  a:\n    base_url: b", r"line 3: http-api/a: HTTP API: base_url needs https://"),
        ("http-api:\n  a: {}\n  a: {}", "line 4: 'a' appears twice"),
        (
            f"freight-warehouse:\n  a:\n    url: sqlite://\n    password: '{CANARY}'",
            "line 5: freight-warehouse/a: password is a secret, which must not be in a file: name a block of "
            "the kind azure-key-vault-secret in password_secret",
        ),
        (
            f"freight-warehouse:\n  a:\n    url: 'postgresql://dpa:{CANARY}@db/freight'",
            "line 3: freight-warehouse/a: the URL of a warehouse must not hold a password",
        ),
        (
            "freight-warehouse:\n  a:\n    url: sqlite://\n    password_secret: nowhere",
            "line 5: there is no Azure Key Vault Secret block 'nowhere'",
        ),
        (
            "freight-warehouse:\n  a:\n    url: sqlite://\n    password_secret: {name: b}",
            "line 5: freight-warehouse/a: password_secret needs the name of a block of the kind azure-key-vault-secret",
        ),
        ("http-api: [", "is not YAML"),
    ],
    ids=lambda value: re.sub(r"\W+", " ", value.partition("line")[2])[:40],
)
def test_what_is_wrong_is_told_with_its_line_and_nothing_is_written(
    write: Write, prefect: SyncPrefectClient, wrong: str, remedy: str
) -> None:
    before = contents(prefect)
    with pytest.raises(ConfigurationError, match=rf"blocks\.yaml.*{remedy}") as refused:
        apply_blocks(write(f"azure-key-vault: {{unwritten: {{url: 'https://v.vault.azure.net'}}}}\n{wrong}"))
    assert "canary" not in str(refused.value)
    assert contents(prefect) == before


def test_a_password_that_was_typed_in_is_not_lost(write: Write) -> None:
    Warehouse(url=HERE, password=SecretStr(CANARY)).save("small", overwrite=True)
    told = "line 1: freight-warehouse/small: Prefect holds a password for it, which would be lost: name a block of"
    with pytest.raises(ConfigurationError, match=told):
        apply_blocks(write(f"freight-warehouse: {{small: {{url: '{AZURE}', entra_id: true}}}}"))
    apply_blocks(write(SMALL))
    warehouse = Warehouse.load("small")
    assert isinstance(warehouse, Warehouse)
    assert (warehouse.password, bool(warehouse.password_secret)) == (None, True)


def test_the_shell_gets_an_exit_code_and_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["apply_blocks"])
    assert main() == 0
    assert capsys.readouterr().out == f"Prefect knows {len(BLOCKS)} kinds of blocks\n"
    monkeypatch.setattr("sys.argv", ["apply_blocks", str(tmp_path / "nowhere.yaml")])
    assert main() == 2
    assert re.match(r"error: .*nowhere\.yaml cannot be read: ", capsys.readouterr().err)


def test_an_empty_file_is_no_fault(write: Write) -> None:
    assert apply_blocks(write("# nothing yet\n")) == []
