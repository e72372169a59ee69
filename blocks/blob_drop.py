"""An Azure Blob or ADLS storage account as a Prefect block: others drop files there."""

import re
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from azure.core.credentials import AzureNamedKeyCredential
from fsspec import AbstractFileSystem
from prefect.blocks.core import Block
from pydantic import Field, HttpUrl, SecretStr, model_validator

from blocks.azure_identity import WaitingCredential, cloud, is_below, refuse_foreign
from blocks.key_vault import KeyVaultSecret, secret_source
from blocks.secret_fields import SecretFields
from freight.errors import ConfigurationError

ACCOUNT = re.compile(r"https://([a-z0-9]{3,24}\.[a-z0-9.-]+)")
LOOPBACK = re.compile(r"https?://(127\.0\.0\.1|localhost):[0-9]{1,5}/[a-z0-9]{3,24}")  # a stand-in for Azure
SIGNED = "sig="  # part of every SAS and of no key
SAS = re.compile(r"[A-Za-z0-9._~:/+,;=&%!*'()-]+")  # other characters would end it, or the URL that contains it
IDENTITY_REMEDY = "give this identity the role Storage Blob Data Contributor, Reader if nothing is archived"


class BlobDrop(SecretFields, Block):
    """An Azure Blob or ADLS storage account into which others drop files.

    Without a key, the identity of the process opens it.

    Attributes:
        account_url: The URL of the account, below a domain of Azure since a SAS or a token is sent there.
        key: The account key, or a shared access signature (SAS).
        key_secret: The same as a Key Vault secret, which is read when the account is opened.

    Example:
        Save the account once, then load it by name:
        ```python
        from blocks.blob_drop import BlobDrop

        BlobDrop(account_url="https://myaccount.blob.core.windows.net").save("BLOCK_NAME")
        drop = BlobDrop.load("BLOCK_NAME")
        drop.filesystem().glob("abfs://container/folder/*.csv")
        ```
    """

    _block_type_name: ClassVar[str] = "Blob Drop"
    _block_type_slug: ClassVar[str] = "blob-drop"  # never rename: it is the key of the stored blocks
    _description: ClassVar[str] = "An Azure Blob or ADLS storage account into which others drop files."
    _documentation_url: ClassVar[HttpUrl] = HttpUrl("https://learn.microsoft.com/azure/storage/blobs/")

    # Never reorder: the order is part of Prefect's stored schema and of its form.
    account_url: str = Field(
        description="Blob endpoint of the account; an ADLS account has one too.",
        examples=["https://myaccount.blob.core.windows.net"],
    )
    key: SecretStr | None = Field(
        default=None,
        description="Account key, or a shared access signature (SAS); without one, the identity of the process "
        "logs in (Microsoft Entra ID).",
    )
    key_secret: KeyVaultSecret | None = Field(
        default=None, description="The same as a Key Vault secret, instead of the field key."
    )

    def filesystem(self) -> AbstractFileSystem:
        """Return the account as a filesystem with paths such as `abfs://container/folder/file`.

        It reports faults of the account as `SourceError`s with a remedy, faults of a file as any filesystem does.

        Raises:
            ConfigurationError: The secret is not in the vault, must not be read or cannot be used; or the identity
                would go to a host that is not Azure's.
            TransientError: The vault does not answer.
        """
        from blocks.drop_files import DropFileSystem  # a slow import that few installations need

        if not (self.key or self.key_secret):
            refuse_foreign(self.account_url.removeprefix("https://"), cloud().blob)
            return DropFileSystem(self.account_url, WaitingCredential(), IDENTITY_REMEDY)
        key = secret_source(self.key, self.key_secret, "the key of the Blob Drop block")()
        credential, remedy = self._login(key)
        return DropFileSystem(self.account_url, credential, remedy, secret=key.partition(SIGNED)[2] or key)

    def _login(self, key: str) -> tuple[Any, str]:
        """Return the credential, and the remedy if it is refused."""
        if SIGNED not in key:
            return AzureNamedKeyCredential(self._account, key), "correct the key in the Blob Drop block"
        sas = key.removeprefix("?")
        if not SAS.fullmatch(sas):
            raise ConfigurationError(
                "blob drop: the key looks like a SAS, but has a wrong character: copy it again from the Azure portal"
            )
        remedy = "write a new SAS into the Blob Drop block: it needs Read and List, to archive Write and Delete"
        return f"?{sas}", remedy

    @property
    def _account(self) -> str:
        where = urlsplit(self.account_url)
        return where.path.strip("/") or where.netloc.partition(".")[0]

    @model_validator(mode="after")
    def _refuse_what_cannot_work(self) -> Self:
        if fault := self._fault_of_place() or self._fault_of_key():
            raise ConfigurationError(f"blob drop: {fault}")  # a ValueError would show the input
        return self

    def _fault_of_place(self) -> str | None:
        if LOOPBACK.fullmatch(self.account_url):
            return None
        if ".dfs." in self.account_url:
            return "account_url needs the blob endpoint of an ADLS: write .blob. in place of .dfs."
        found, domains = ACCOUNT.fullmatch(self.account_url), cloud().blob
        if not (found and is_below(found[1], domains)):
            return (
                f"account_url needs https:// and the host of the account, such as myaccount.{domains[0]}, without a "
                "port or a trailing dot; a private endpoint has the same name, and DPA_AZURE_CLOUD names a "
                "sovereign cloud"
            )
        return None

    def _fault_of_key(self) -> str | None:
        if self.key and self.key_secret:
            return "there is one key: remove key, or key_secret"
        return None
