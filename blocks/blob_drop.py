"""An Azure Blob storage account, or an ADLS, as a Prefect block: where others drop files for us."""

import asyncio
import re
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from azure.core.credentials import AccessToken, AzureNamedKeyCredential
from fsspec import AbstractFileSystem
from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, model_validator

from blocks.azure_identity import machine_credential
from blocks.key_vault import KeyVaultSecret, secret_source
from freight.errors import ConfigurationError

ACCOUNT = re.compile(r"https://[a-z0-9]{3,24}\.[a-z0-9.-]+")
LOOPBACK = re.compile(r"https?://(127\.0\.0\.1|localhost):\d{1,5}/[a-z0-9]{3,24}")
SIGNED = "sig="  # a part of each SAS, and of no key


class BlobDrop(Block):
    """An Azure Blob storage account, or an ADLS, into which others drop files.

    Without a key it is opened by the identity that the process runs as.

    Attributes:
        account_url: where the account is.
        key: of the account, or a shared access signature (SAS).
        key_secret: the same as a secret of a Key Vault, which is read when the account is opened.

    Example:
        Keep the account once, then load it by its name:
        ```python
        from blocks.blob_drop import BlobDrop

        BlobDrop(account_url="https://myaccount.blob.core.windows.net").save("BLOCK_NAME")
        drop = BlobDrop.load("BLOCK_NAME")
        drop.filesystem().glob("abfs://container/folder/*.csv")
        ```
    """

    model_config = ConfigDict(hide_input_in_errors=True)  # what was wrong may be the key

    _block_type_name: ClassVar[str] = "Blob Drop"
    _block_type_slug: ClassVar[str] = "blob-drop"  # never rename: it is the key of what is stored
    _description: ClassVar[str] = "An Azure Blob storage account, or an ADLS, into which others drop files."
    _documentation_url: ClassVar[HttpUrl] = HttpUrl("https://learn.microsoft.com/azure/storage/blobs/")

    # Never reorder: the order is part of the schema that Prefect stores, and of the form that it shows.
    account_url: str = Field(
        description="Where the account is, as its blob endpoint; an ADLS has one, too.",
        examples=["https://myaccount.blob.core.windows.net"],
    )
    key: SecretStr | None = Field(
        default=None,
        description="Key of the account, or a shared access signature (SAS); without one, the identity that the "
        "process runs as logs in (Microsoft Entra ID).",
    )
    key_secret: KeyVaultSecret | None = Field(
        default=None, description="The same as a secret of a Key Vault, instead of the field key."
    )

    def filesystem(self) -> AbstractFileSystem:
        """Return the account as a filesystem, which knows files as `abfs://container/folder/file`.

        Faults of the account are told as `SourceError`s that name a remedy, those of a file as by every filesystem.

        Raises:
            ConfigurationError: there is no such secret in the vault, or it may not be read.
            TransientError: the vault does not answer.
        """
        from blocks.drop_files import DropFileSystem  # a slow import, which few need

        credential, remedy = self._login()
        return DropFileSystem(self.account_url, credential, remedy)

    def _login(self) -> tuple[Any, str]:
        """Return what logs in, and what to do when it is refused."""
        key = secret_source(self.key, self.key_secret)()
        if not key:
            remedy = "give this identity the role Storage Blob Data Contributor, Reader if nothing is archived"
            return _MachineIdentity(), remedy
        if SIGNED in key:
            remedy = "write a new SAS into the Blob Drop block: it needs Read and List, to archive Write and Delete"
            return f"?{key.removeprefix('?')}", remedy
        return AzureNamedKeyCredential(self._account, key), "correct the key in the Blob Drop block"

    @property
    def _account(self) -> str:
        where = urlsplit(self.account_url)
        return where.path.strip("/") or where.netloc.partition(".")[0]

    @model_validator(mode="after")
    def _refuse_what_cannot_work(self) -> Self:
        if fault := self._fault_of_place() or self._fault_of_key():
            raise ConfigurationError(f"blob drop: {fault}")  # not a ValueError, which would show the input
        return self

    def _fault_of_place(self) -> str | None:
        if LOOPBACK.fullmatch(self.account_url):
            return None
        if not ACCOUNT.fullmatch(self.account_url):
            return "account_url wants https:// and the host of the account, such as myaccount.blob.core.windows.net"
        if ".dfs." in self.account_url:
            return "account_url wants the blob endpoint of an ADLS: write .blob. in place of .dfs."
        return None

    def _fault_of_key(self) -> str | None:
        if self.key and self.key_secret:
            return "there is one key: remove key, or key_secret"
        return None


class _MachineIdentity:
    """The identity that this machine has, for a client that must not be held up."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Return a token; see `machine_credential`."""
        return await asyncio.to_thread(machine_credential().get_token, *scopes, **options)

    async def close(self) -> None:
        """Do nothing: others use the identity, too."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
