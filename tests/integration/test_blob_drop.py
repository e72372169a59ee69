"""Files in Azure Blob, on a real Azurite: what a block opens, and what its faults mean."""

import pickle
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import ContainerClient
from fsspec import AbstractFileSystem
from pydantic import SecretStr

from blocks import azure_identity, drop_files
from blocks.azure_identity import WaitingCredential
from blocks.blob_drop import IDENTITY_REMEDY, BlobDrop
from blocks.drop_files import DropFileSystem
from blocks.key_vault import KeyVault, KeyVaultSecret
from freight.errors import SourceError
from freight.readers import SourceFile, find_files
from tests.lib.azurite import KEY, Azurite, OwnAzurite
from tests.lib.tokens import StandInCredential
from tests.lib.vault import StandInVault

HERE = Path("unused")
IMPATIENT = {
    "connection_timeout": 5,
    "read_timeout": 5,
    "initial_backoff": 0,
    "increment_base": 0,
    "random_jitter_range": 0,
    "retry_total": 1,
}
HOSTILE = (
    "é ü.csv",
    "a b%20c.csv",
    "x#1.csv",
    "q?v=1&w=2.csv",
    "..%2fx.csv",
    "'; DROP TABLE runs; --.csv",
    "{day:%Y}.csv",
    "[x].csv",
    "😀.csv",
    "a\nb.csv",
    "dot..csv",
    "user@host:8080.csv",
    "x?versionid=3.csv",
    "-dash.csv",
    f"{'long' * 245}.csv",
    f"{'😀' * 250}.csv",
)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drop_files, "client_options", lambda: IMPATIENT)


@pytest.fixture
def container(azurite: Azurite) -> ContainerClient:
    return azurite.new_container()


def opened(azurite: Azurite, key: str = KEY) -> AbstractFileSystem:
    return BlobDrop(account_url=azurite.url, key=SecretStr(key)).filesystem()


def found(azurite: Azurite, container: ContainerClient, path: str, key: str = KEY) -> list[SourceFile]:
    return find_files(f"abfs://{container.container_name}/{path}", HERE, opened(azurite, key))


def read(file: SourceFile) -> bytes:
    with file.open() as stream:
        return stream.read()


def refusal(find: Callable[[], Any]) -> str:
    with pytest.raises(SourceError) as refused:
        find()
    assert "canary" not in repr(refused.value)
    assert KEY not in repr(refused.value)
    return f"{refused.value.fault}: {refused.value}"


def test_files_are_found_and_read_and_those_elsewhere_are_not(azurite: Azurite, container: ContainerClient) -> None:
    for name in ("in/a.csv", "in/b.csv", "in/deeper/c.csv", "in/d.txt", "out/e.csv", "in.csv"):
        container.upload_blob(name, f"content of {name}".encode())
    files = found(azurite, container, "in/*.csv")
    assert [(file.path, read(file)) for file in files] == [
        (f"abfs://{container.container_name}/in/{name}", f"content of in/{name}".encode())
        for name in ("a.csv", "b.csv")
    ]
    assert read(found(azurite, container, "in/d.txt")[0]) == b"content of in/d.txt"
    with pytest.raises(SourceError, match=r"no file is there \[missing\]"):
        found(azurite, container, "in/*.json")


def test_names_are_taken_as_they_are(azurite: Azurite, container: ContainerClient) -> None:
    for name in HOSTILE:
        container.upload_blob(f"in/{name}", name.encode())
    files = found(azurite, container, "in/*.csv*")
    assert {read(file).decode() for file in files} == set(HOSTILE)
    assert not any("\n" in file.path or len(file.path.encode()) > 1_000 for file in files)
    assert len({file.path for file in files}) == len(HOSTILE)


def test_a_file_longer_than_a_block_is_whole(
    azurite: Azurite, container: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drop_files, "BLOCK_BYTES", 1 << 10)
    content = bytes(range(256)) * 100
    container.upload_blob("a.bin", content)
    container.upload_blob("empty.bin", b"")
    long, empty = found(azurite, container, "*.bin")
    assert (read(long), long.size_bytes) == (content, len(content))
    assert (read(empty), empty.size_bytes) == (b"", 0)


def test_a_change_within_a_second_is_seen(azurite: Azurite, container: ContainerClient) -> None:
    """Azure tells only the second of a change, but each version has an ETag."""
    container.upload_blob("a.csv", b"one")
    (before,) = found(azurite, container, "a.csv")
    before.refuse_if_changed()
    container.upload_blob("a.csv", b"two", overwrite=True)
    (after,) = found(azurite, container, "a.csv")
    assert before.size_bytes == after.size_bytes
    assert before.modified_us != after.modified_us
    with pytest.raises(SourceError, match="changed_while_reading"):
        before.refuse_if_changed()


@pytest.mark.parametrize("key", ["d3Jvbmc=", "no base64"])
def test_a_wrong_key_is_told_with_a_remedy(azurite: Azurite, container: ContainerClient, key: str) -> None:
    told = refusal(lambda: found(azurite, container, "*.csv", key))
    assert told.startswith(f"unreadable: abfs://{container.container_name}/*.csv: {azurite.url} refuses the login: ")
    assert told.endswith("Remedy: correct the key in the Blob Drop block")


def test_a_sas_opens_what_it_allows(azurite: Azurite, container: ContainerClient) -> None:
    container.upload_blob("a.csv", b"one")
    (file,) = found(azurite, container, "*.csv", azurite.sas("rl"))
    assert read(file) == b"one"
    for sas in (azurite.sas("l"), azurite.sas("rl", timedelta(seconds=-60))):
        told = refusal(lambda sas=sas: [read(f) for f in found(azurite, container, "*.csv", sas)])  # type: ignore[misc]
        assert "unreadable" in told
        assert "write a new SAS into the Blob Drop block" in told


def test_a_key_comes_from_a_vault(azurite: Azurite, container: ContainerClient, vault: StandInVault) -> None:
    secret = KeyVaultSecret(vault=KeyVault(url=vault.url), name="drop")
    vault.set("drop", KEY)
    container.upload_blob("a.csv", b"one")
    drop = BlobDrop(account_url=azurite.url, key_secret=secret)
    (file,) = find_files(f"abfs://{container.container_name}/*.csv", HERE, drop.filesystem())
    assert read(file) == b"one"


def test_without_a_key_the_identity_of_the_machine_logs_in(
    own_azurite: OwnAzurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    azurite = own_azurite(secure=True)
    now = time.time()
    claims: dict[str, Any] = {
        "iss": "https://sts.windows.net/tenant/",
        "aud": "https://storage.azure.com",
        "nbf": now - 60,
    }
    credential = StandInCredential(**claims)
    monkeypatch.setattr(azure_identity, "machine_credential", lambda: credential)
    options = {**drop_files.client_options(), "connection_verify": str(azurite.ca_path)}
    monkeypatch.setattr(drop_files, "client_options", lambda: options)
    container = azurite.new_container()
    container.upload_blob("a.csv", b"one")

    def listed() -> list[SourceFile]:
        # Not by a block, which gives the identity to hosts of Azure only.
        account = DropFileSystem(azurite.url, WaitingCredential(), IDENTITY_REMEDY)
        return find_files(f"abfs://{container.container_name}/*.csv", HERE, account)

    assert read(listed()[0]) == b"one"
    assert credential.scopes == {"https://storage.azure.com/.default"}
    stranger = StandInCredential(**{**claims, "aud": "https://vault.azure.net"})
    monkeypatch.setattr(azure_identity, "machine_credential", lambda: stranger)
    assert "give this identity the role Storage Blob Data" in refusal(listed)


def test_a_container_that_is_not_there_is_told(azurite: Azurite) -> None:
    told = refusal(lambda: find_files("abfs://nowhere/*.csv", HERE, opened(azurite)))
    assert told.startswith(f"missing: abfs://nowhere/*.csv: {azurite.url} has no such container")
    assert "create the container" in told


def test_an_account_that_is_away_is_told_and_read_when_it_is_back(own_azurite: OwnAzurite) -> None:
    azurite = own_azurite()
    container = azurite.new_container()
    container.upload_blob("a.csv", b"one")
    (file,) = found(azurite, container, "a.csv")
    with file.open() as stream:
        azurite.stop()
        assert "does not answer" in refusal(stream.read)
    for ask in (lambda: found(azurite, container, "*.csv"), lambda: read(file), file.sha256, file.refuse_if_changed):
        told = refusal(ask)
        assert told.startswith("unreadable: ")
        assert told.endswith("the next run tries again")
    azurite.start()
    file.refuse_if_changed()
    assert read(file) == b"one"


def test_only_the_version_that_is_meant_is_moved(azurite: Azurite, container: ContainerClient) -> None:
    container.upload_blob("in/a.csv", b"one")
    (file,) = found(azurite, container, "in/a.csv")
    container.upload_blob("in/a.csv", b"two", overwrite=True)
    target = f"abfs://{container.container_name}/done/a.csv"
    with pytest.raises(SourceError, match="changed_while_reading"):
        file.filesystem.mv(file.address, target, etag=file.etag)  # after the last look
    assert list(container.list_blob_names()) == ["in/a.csv"]
    (file,) = found(azurite, container, "in/a.csv")
    file.move_to(f"abfs://{container.container_name}/done", "a.csv", HERE)
    assert list(container.list_blob_names()) == ["done/a.csv"]
    with pytest.raises(SourceError, match="missing"):
        file.move_to(f"abfs://{container.container_name}/done", "a.csv", HERE)
    assert container.download_blob("done/a.csv").readall() == b"two"


def test_what_holds_a_key_cannot_be_stored(azurite: Azurite) -> None:
    with pytest.raises(TypeError, match="may hold a key"):
        pickle.dumps(opened(azurite))
