"""Azure Key Vault secrets as Prefect blocks: Prefect stores only their names, and they are read on use."""

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

from blocks.azure_identity import TIMEOUTS, cloud, is_below, machine_credential, refuse_foreign, safe_text
from freight.errors import ConfigurationError, TransientError
from freight.secrets import accepted
from freight.types import PasswordSource

FRESH_S = 60.0  # the time for which a secret is cached
VAULT = re.compile(r"https://([A-Za-z0-9.-]+)(?::443)?/?")
LOOPBACK = re.compile(r"https://(localhost|127\.0\.0\.1):[0-9]{1,5}/?")  # a stand-in, which never receives our token
NAME = re.compile(r"[0-9A-Za-z-]{1,127}")

log = logging.getLogger("freight")


class KeyVault(Block):
    """An Azure Key Vault, opened with the identity of the process.

    Attributes:
        url: The URL of the vault.

    Example:
        Save the vault once, then load it by name:
        ```python
        from blocks.key_vault import KeyVault

        KeyVault(url="https://my-vault.vault.azure.net").save("BLOCK_NAME")
        vault = KeyVault.load("BLOCK_NAME")
        vault.read("warehouse-password")
        ```
    """

    _block_type_name: ClassVar[str] = "Azure Key Vault"
    _block_type_slug: ClassVar[str] = "azure-key-vault"  # never rename: it is the key of the stored blocks
    _description: ClassVar[str] = "An Azure Key Vault, opened with the identity of the process."
    _documentation_url: ClassVar[HttpUrl] = HttpUrl("https://learn.microsoft.com/azure/key-vault/secrets/")

    # Never reorder: the order is part of Prefect's stored schema and of its form.
    url: str = Field(description="URL of the vault.", examples=["https://my-vault.vault.azure.net"])

    def read(self, name: str, version: str | None = None, *, fresh: bool = False) -> SecretStr:
        """Return a secret; it is cached for a minute.

        Args:
            name: The name of the secret.
            version: The version of the secret; by default the current one.
            fresh: True to bypass the cache.

        Raises:
            ConfigurationError: The secret does not exist, or must not be read.
            TransientError: The vault does not answer.
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
            log.warning("%s; going on with the cached secret %r", error, name)
            return known.value
        _known[key] = _Known(value, now)
        return value

    def _ask(self, name: str, version: str | None) -> SecretStr:
        from azure.keyvault.secrets import SecretClient  # a slow import that few installations need

        what = f"secret {name!r} of the vault {self.url}"
        with _our_errors(what), SecretClient(self.url, **client_options(self.url)) as client:
            value = accepted(client.get_secret(name, version).value or "", f"the {what}")
        if not value:
            raise ConfigurationError(f"the {what} is empty: write its value into the vault")
        return SecretStr(value)

    @model_validator(mode="after")
    def _refuse_what_cannot_work(self) -> Self:
        if not (is_below(_host(self.url), cloud().vault) or LOOPBACK.fullmatch(self.url)):
            raise ConfigurationError(
                f"the URL of a vault is https:// and its host, below {' or '.join(cloud().vault)}, such as "
                f"my-vault.{cloud().vault[0]}; DPA_AZURE_CLOUD names a sovereign cloud"
            )
        return self


class KeyVaultSecret(Block):
    """A secret in an Azure Key Vault; a new version takes effect without a restart.

    Attributes:
        vault: The vault of the secret.
        name: The name of the secret.
        version: The version of the secret; empty for the current one.

    Example:
        Save the secret's name once, then load it by the name of its block:
        ```python
        from blocks.key_vault import KeyVaultSecret

        vault = {"url": "https://my-vault.vault.azure.net"}
        KeyVaultSecret(vault=vault, name="warehouse-password").save("BLOCK_NAME")
        secret = KeyVaultSecret.load("BLOCK_NAME")
        secret.read()
        ```
    """

    _block_type_name: ClassVar[str] = "Azure Key Vault Secret"
    _block_type_slug: ClassVar[str] = "azure-key-vault-secret"  # never rename: it is the key of the stored blocks
    _description: ClassVar[str] = "A secret in an Azure Key Vault, read on use."
    _documentation_url: ClassVar[HttpUrl] = HttpUrl("https://learn.microsoft.com/azure/key-vault/secrets/")

    # Never reorder: the order is part of Prefect's stored schema and of its form.
    vault: KeyVault = Field(description="Vault of the secret.")
    name: str = Field(description="Name of the secret.", examples=["warehouse-password"])
    version: str | None = Field(default=None, description="Version of the secret; empty for the current one.")

    def read(self, *, fresh: bool = False) -> str:
        """Return the secret in clear; it must not be logged. See `KeyVault.read`."""
        return self.vault.read(self.name, self.version, fresh=fresh).get_secret_value()

    async def aread(self, *, fresh: bool = False) -> str:
        """Return the same without blocking the event loop; cache and errors are those of `read`."""
        # A thread, not Azure's async client: that would add a second HTTP library with failures of its own.
        return await asyncio.to_thread(self.read, fresh=fresh)

    @model_validator(mode="after")
    def _refuse_what_cannot_work(self) -> Self:
        if not NAME.fullmatch(self.name):
            raise ConfigurationError("the name of a secret is letters, digits and dashes, as the vault shows it")
        return self


@dataclass(frozen=True)
class _Known:
    """A secret and the time it was read (seconds of the monotonic clock)."""

    value: SecretStr
    read_at: float


# Each run in a process loads its blocks anew, and the cache has to outlast them.
_known: dict[tuple[str, str, str | None], _Known] = {}


def client_options(url: str) -> dict[str, Any]:
    """Return the credential and the time limits for a vault.

    Raises:
        ConfigurationError: The vault is not Azure's, and no other host may see our identity.
    """
    refuse_foreign(_host(url), cloud().vault)
    return {"credential": machine_credential(), **TIMEOUTS}


def _host(url: str) -> str:
    found = VAULT.fullmatch(url)
    return found[1] if found else ""


@contextmanager
def _our_errors(what: str) -> Iterator[None]:
    """Turn Azure's errors into ours."""
    try:
        yield
    except ResourceNotFoundError:
        raise ConfigurationError(f"there is no {what}: create it, or correct its name") from None
    except HttpResponseError as error:
        if error.status_code == 403:
            remedy = "give this identity the role Key Vault Secrets User"
            raise ConfigurationError(f"the {what} may not be read: {remedy} ({safe_text(error)})") from None
        raise TransientError(f"the {what} cannot be read: {safe_text(error)}") from None
    except AzureError as error:
        raise TransientError(f"the {what} cannot be read: {safe_text(error)}") from None


def secret_source(typed: SecretStr | None, kept: KeyVaultSecret | None, ascii_only: str = "") -> PasswordSource:
    """Return the source of a secret from a form or a vault; without either it is empty.

    Args:
        typed: The secret from the block's form.
        kept: The secret in a vault, which is read on use.
        ascii_only: The name of the secret for people, if its transport carries only ASCII, as a header does.
    """

    def source(*, fresh: bool = False) -> str:
        secret = kept.read(fresh=fresh) if kept else typed.get_secret_value() if typed else ""
        return accepted(secret, ascii_only, ascii_only=True) if ascii_only else secret

    return source


def password_source(typed: SecretStr | None, kept: KeyVaultSecret | None) -> PasswordSource | None:
    """Return the source of a password as `secret_source` does; None without either."""
    return secret_source(typed, kept) if typed or kept else None
