"""Secrets of an Azure Key Vault, read when they are needed, as Prefect blocks: what Prefect keeps is their names."""

import asyncio
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from prefect.blocks.core import Block
from pydantic import Field, HttpUrl, SecretStr, model_validator

from blocks.azure_identity import PATIENCE, cloud, is_below, machine_credential, refuse_foreign, told
from freight.errors import ConfigurationError, TransientError
from freight.secrets import accepted
from freight.types import PasswordSource

FRESH_S = 60.0  # for so long a secret is not asked for again
VAULT = re.compile(r"https://([A-Za-z0-9.-]+)(?::443)?/?")
LOOPBACK = re.compile(r"https://(localhost|127\.0\.0\.1):[0-9]{1,5}/?")  # a stand-in, which is given no token of ours
NAME = re.compile(r"[0-9A-Za-z-]{1,127}")

log = logging.getLogger("freight")


class KeyVault(Block):
    """An Azure Key Vault, opened by the identity that the process runs as.

    Attributes:
        url: where the vault is.

    Example:
        Keep the vault once, then load it by its name:
        ```python
        from blocks.key_vault import KeyVault

        KeyVault(url="https://my-vault.vault.azure.net").save("BLOCK_NAME")
        vault = KeyVault.load("BLOCK_NAME")
        vault.read("warehouse-password")
        ```
    """

    _block_type_name: ClassVar[str] = "Azure Key Vault"
    _block_type_slug: ClassVar[str] = "azure-key-vault"  # never rename: it is the key of what is stored
    _description: ClassVar[str] = "An Azure Key Vault, opened by the identity that the process runs as."
    _documentation_url: ClassVar[HttpUrl] = HttpUrl("https://learn.microsoft.com/azure/key-vault/secrets/")

    # Never reorder: the order is part of the schema that Prefect stores, and of the form that it shows.
    url: str = Field(description="Where the vault is.", examples=["https://my-vault.vault.azure.net"])

    def read(self, name: str, version: str | None = None, *, fresh: bool = False) -> SecretStr:
        """Return a secret; one that was read within the last minute is not asked for again.

        Args:
            name: of the secret.
            version: of the secret; the current one by default.
            fresh: ask for it in any case.

        Raises:
            ConfigurationError: there is no such secret, or we may not read it.
            TransientError: the vault does not answer.
        """
        key = (self.url, name, version)
        known, now = _known.get(key), time.monotonic()
        if known and not fresh and now - known.read_at < FRESH_S:
            return known.value
        try:
            value = self._ask(name, version)
        except TransientError as error:
            if known is None:
                raise
            log.warning("%s; going on with the secret %r as it was", error, name)
            return known.value
        _known[key] = _Known(value, now)
        return value

    def _ask(self, name: str, version: str | None) -> SecretStr:
        from azure.keyvault.secrets import SecretClient  # a slow import, which few need

        what = f"secret {name!r} of the vault {self.url}"
        with _told(what), SecretClient(self.url, **client_options(self.url)) as client:
            value = accepted(client.get_secret(name, version).value or "", f"the {what}")
        if not value:
            raise ConfigurationError(f"the {what} is empty: write its value into the vault")
        return SecretStr(value)

    @model_validator(mode="after")
    def _refuse_what_cannot_work(self) -> Self:
        if not (is_below(_host(self.url), cloud().vault) or LOOPBACK.fullmatch(self.url)):
            raise ConfigurationError(
                f"the URL of a vault is https:// and its host, below {' or '.join(cloud().vault)}, such as "
                f"my-vault.{cloud().vault[0]}; a sovereign cloud is named by DPA_AZURE_CLOUD"
            )
        return self


class KeyVaultSecret(Block):
    """A secret of an Azure Key Vault; a new version of it is used without a restart.

    Attributes:
        vault: where the secret is.
        name: of the secret.
        version: of the secret; the current one if it is empty.

    Example:
        Keep the secret's name once, then load it by that of its block:
        ```python
        from blocks.key_vault import KeyVaultSecret

        vault = {"url": "https://my-vault.vault.azure.net"}
        KeyVaultSecret(vault=vault, name="warehouse-password").save("BLOCK_NAME")
        secret = KeyVaultSecret.load("BLOCK_NAME")
        secret.read()
        ```
    """

    _block_type_name: ClassVar[str] = "Azure Key Vault Secret"
    _block_type_slug: ClassVar[str] = "azure-key-vault-secret"  # never rename: it is the key of what is stored
    _description: ClassVar[str] = "A secret of an Azure Key Vault, read when it is needed."
    _documentation_url: ClassVar[HttpUrl] = HttpUrl("https://learn.microsoft.com/azure/key-vault/secrets/")

    # Never reorder: the order is part of the schema that Prefect stores, and of the form that it shows.
    vault: KeyVault = Field(description="Where the secret is.")
    name: str = Field(description="Name of the secret.", examples=["warehouse-password"])
    version: str | None = Field(default=None, description="Version of the secret; the current one if it is empty.")

    def read(self, *, fresh: bool = False) -> str:
        """Return the secret in clear; it must not be logged. See `KeyVault.read`."""
        return self.vault.read(self.name, self.version, fresh=fresh).get_secret_value()

    async def aread(self, *, fresh: bool = False) -> str:
        """Return the same without holding up the event loop: what is known, and what is told, is what `read` knows."""
        # A thread, not Azure's other client: that would be a second way to fail, on top of a second HTTP library.
        return await asyncio.to_thread(self.read, fresh=fresh)

    @model_validator(mode="after")
    def _refuse_what_cannot_work(self) -> Self:
        if not NAME.fullmatch(self.name):
            raise ConfigurationError("the name of a secret is letters, digits and dashes, as the vault shows it")
        return self


@dataclass(frozen=True)
class _Known:
    """A secret, and when it was read (seconds of the monotonic clock)."""

    value: SecretStr
    read_at: float


# Blocks are loaded again by every run of a process, and what they have read is to outlast them.
_known: dict[tuple[str, str, str | None], _Known] = {}


def client_options(url: str) -> dict[str, Any]:
    """Return how a vault is asked: as whom, and how long it may take to answer.

    Raises:
        ConfigurationError: it is none of Azure's, and who we are is not shown to others.
    """
    refuse_foreign(_host(url), cloud().vault)
    return {"credential": machine_credential(), **PATIENCE}


def _host(url: str) -> str:
    found = VAULT.fullmatch(url)
    return found[1] if found else ""


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Tell what an error of Azure means for us."""
    try:
        yield
    except ResourceNotFoundError:
        raise ConfigurationError(f"there is no {what}: create it, or correct the name") from None
    except HttpResponseError as error:
        if error.status_code == 403:
            remedy = "give this identity the role Key Vault Secrets User"
            raise ConfigurationError(f"the {what} may not be read: {remedy} ({told(error)})") from None
        raise TransientError(f"the {what} cannot be read: {told(error)}") from None
    except AzureError as error:
        raise TransientError(f"the {what} cannot be read: {told(error)}") from None


def secret_source(typed: SecretStr | None, kept: KeyVaultSecret | None, ascii_only: str = "") -> PasswordSource:
    """Return what gives a secret that was typed into a form or is kept in a vault; without either it is empty.

    Args:
        typed: The secret that the block has accepted.
        kept: read when it is needed.
        ascii_only: The name of the secret for people, if it is sent by a way that carries only ASCII, such as a header.
    """

    def source(*, fresh: bool = False) -> str:
        secret = kept.read(fresh=fresh) if kept else typed.get_secret_value() if typed else ""
        return accepted(secret, ascii_only, ascii_only=True) if ascii_only else secret

    return source


def password_source(typed: SecretStr | None, kept: KeyVaultSecret | None) -> PasswordSource | None:
    """Return what gives a password as `secret_source` does; None without either, where none is needed."""
    return secret_source(typed, kept) if typed or kept else None
