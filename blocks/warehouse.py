"""A warehouse as a Prefect block."""

from typing import ClassVar, Self

import sqlalchemy as sa
from prefect.blocks.core import Block
from pydantic import Field, HttpUrl, SecretStr, model_validator

from blocks.azure_identity import cloud, refuse_foreign
from blocks.azure_tokens import azure_passwords
from blocks.key_vault import KeyVaultSecret, password_source
from blocks.secret_fields import SecretFields
from freight.database_urls import VERIFIED, read_url_without_secrets, servers_of
from freight.errors import ConfigurationError
from freight.types import PasswordSource

# Allowed parameters beside a token: none that names another server, or waives the proof of its identity.
HARMLESS = {
    "host",
    "port",
    "sslmode",
    "sslrootcert",
    "application_name",
    "connect_timeout",
    "load_balance_hosts",
    "options",
    "target_session_attrs",
}


class Warehouse(SecretFields, Block):
    """The URL of a warehouse and its password.

    A PostgreSQL on another machine has to prove its identity by TLS (`sslmode=verify-full`), unless the URL says
    otherwise; with `entra_id` it always has to, and has to be one of Azure's.

    Attributes:
        url: The URL, without a password.
        password: The password of the user in the URL.
        password_secret: The same as a Key Vault secret, which is read when a connection is made.
        entra_id: True to log in with Entra ID tokens, fetched when a connection is made.

    Example:
        Save the warehouse once, then load it by name:
        ```python
        from blocks.warehouse import Warehouse

        Warehouse(url="postgresql://dpa@db.example.org/freight", password="…").save("BLOCK_NAME")
        warehouse = Warehouse.load("BLOCK_NAME")
        warehouse.password_source()
        ```
    """

    _block_type_name: ClassVar[str] = "Freight Warehouse"
    _block_type_slug: ClassVar[str] = "freight-warehouse"  # never rename: it is the key of the stored blocks
    _description: ClassVar[str] = "URL of a warehouse and its password."
    _documentation_url: ClassVar[HttpUrl] = HttpUrl("https://docs.sqlalchemy.org/en/20/core/engines.html#database-urls")

    # Never reorder: the order is part of Prefect's stored schema and of its form.
    url: str = Field(
        description="URL of the warehouse, without a password. TLS is verify-full, unless ?sslmode= says otherwise.",
        examples=["postgresql://dpa@db.example.org/freight", "sqlite:////data/supply_chain_dwh.sqlite"],
    )
    password: SecretStr | None = Field(
        default=None, description="Password of the user in the URL; empty if a password file or the server needs none."
    )
    password_secret: KeyVaultSecret | None = Field(
        default=None, description="The password as a Key Vault secret, instead of the field password."
    )
    entra_id: bool = Field(
        default=False,
        description="Log in with tokens of the process's identity (Microsoft Entra ID), not a password.",
    )

    def password_source(self) -> PasswordSource | None:
        """Return the source of the password for `open_engine`; None if it needs none."""
        if self.entra_id:
            return azure_passwords()
        return password_source(self.password, self.password_secret)

    @model_validator(mode="after")
    def _refuse_what_cannot_work(self) -> Self:
        # No ValueErrors: they would show the input.
        url = read_url_without_secrets(self.url, "the URL of a warehouse")
        ways = {"password": self.password, "password_secret": self.password_secret, "entra_id": self.entra_id}
        if len(given := [name for name, value in ways.items() if value]) > 1:
            raise ConfigurationError(f"a warehouse has one password: remove {', or '.join(given)}")
        if self.entra_id:
            _refuse_to_show_tokens(url)
        return self


def _refuse_to_show_tokens(url: sa.URL) -> None:
    """Refuse a URL that would send a token to a host that is not Azure's or not verified."""
    if url.get_backend_name() != "postgresql":
        raise ConfigurationError("a warehouse with entra_id is a PostgreSQL of Azure: correct url, or remove entra_id")
    if more := sorted(set(url.query) - HARMLESS):
        raise ConfigurationError(f"a token is sent over verified TLS only: remove {', '.join(more)} from url")
    if url.query.get("sslmode", VERIFIED) != VERIFIED:
        raise ConfigurationError(
            f"a token is sent over verified TLS only: remove sslmode from url, or set it to {VERIFIED}"
        )
    for host in servers_of(url) or [""]:
        refuse_foreign(host, cloud().postgresql)
