"""Azurite, a local Azure Blob: fetched once by npm, and started for tests."""

import base64
import itertools
import os
import shutil
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import (
    AccountSasPermissions,
    BlobServiceClient,
    ContainerClient,
    ResourceTypes,
    generate_account_sas,
)

from freight.java import fetch_once
from tests.lib.certificates import write_certificates
from tests.lib.ports import free_port
from tests.lib.waiting import LIMIT_S, wait_until

VERSION = "3.35.0"
ACCOUNT = "dpa"
CANARY = "canary: p@ss/word?"
KEY = base64.b64encode(CANARY.encode() * 4).decode()  # keys are bytes
MAIN = Path("node_modules", "azurite", "dist", "src", "blob", "main.js")
DOWNLOAD_LIMIT_S = 600.0


def cache_folder() -> Path:
    """Return the folder of the download, which all checkouts of this user share."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dpa-azurite"


def why_not() -> str:
    """Return the reason why `fetch_azurite` cannot fetch, with the remedy; empty if it can."""
    return (
        "" if shutil.which("npm") else "there is no npm to fetch Azurite: install it (Debian, Ubuntu: the package npm)"
    )


def fetch_azurite() -> Path:
    """Return the folder of Azurite; fetch it (190 MB on disk) if missing; a download counts once complete."""
    return fetch_once(cache_folder() / VERSION, _download)


def _download(staging: Path) -> Path:
    made = staging / "azurite"
    made.mkdir()
    # No scripts: they would build parts that the tests do not need.
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--loglevel", "error")
    subprocess.run(
        ["npm", "install", *options, f"azurite@{VERSION}"],
        cwd=made,
        stdin=subprocess.DEVNULL,
        timeout=DOWNLOAD_LIMIT_S,
        check=True,
    )
    return made


class OwnAzurite(Protocol):
    """The type of the fixture `own_azurite`: a call starts an Azurite."""

    def __call__(self, secure: bool = ...) -> "Azurite": ...


class Azurite:
    """A storage account on this machine.

    Attributes:
        url: The URL of the account.
        ca_path: The PEM file of its certificate authority, if it is secure.
    """

    def __init__(self, programs: Path, folder: Path, *, secure: bool = False) -> None:
        """Choose a port; a secure account uses TLS and accepts tokens without checking their signatures."""
        self._programs, self._folder, self._port = programs, folder, free_port()
        self._names = itertools.count()
        self.ca_path, self._server_path = folder / "ca.pem", folder / "server.pem"
        folder.mkdir(parents=True, exist_ok=True)
        if secure:
            write_certificates(self.ca_path, self._server_path)
        self._secure = secure
        self.url = f"http{'s' if secure else ''}://{'localhost' if secure else '127.0.0.1'}:{self._port}/{ACCOUNT}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()  # its files are not needed
        self._process.wait()

    def start(self) -> None:
        """Start the account, and wait until it listens."""
        options = ["--blobPort", str(self._port), "--location", str(self._folder)]
        options += ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        if self._secure:
            options += ["--oauth", "basic", "--cert", str(self._server_path), "--key", str(self._server_path)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["node", self._programs / MAIN, *options],
                env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._listens, told=self._folder / "log")

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text(encoding="utf-8")
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """Stop the account, as in an outage. `start` brings it back with its data, which a kill would lose."""
        self._process.terminate()
        self._process.wait(LIMIT_S)

    def new_container(self) -> ContainerClient:
        """Make a container with a unique name."""
        return self._client().create_container(f"drop-{os.getpid()}-{next(self._names)}")

    def sas(self, permissions: str, lifetime: timedelta = timedelta(hours=1)) -> str:
        """Return a shared access signature for the account, such as `rl` for read and list."""
        now = datetime.now(UTC)
        return generate_account_sas(
            ACCOUNT,
            KEY,
            ResourceTypes(service=True, container=True, object=True),
            AccountSasPermissions.from_string(permissions),  # type: ignore[no-untyped-call]
            expiry=now + lifetime,
            start=now - timedelta(days=1),
            protocol="https,http",
        )

    def _client(self) -> BlobServiceClient:
        verify = str(self.ca_path) if self._secure else True
        return BlobServiceClient(self.url, AzureNamedKeyCredential(ACCOUNT, KEY), connection_verify=verify)
