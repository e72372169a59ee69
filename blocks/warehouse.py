"""A warehouse as a Prefect block."""

from typing import ClassVar, Self

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, model_validator

from blocks.azure_tokens import azure_passwords
from blocks.key_vault import KeyVaultSecret, password_source
from freight.databases import holds_password
from freight.errors import ConfigurationError
from freight.types import PasswordSource


class Warehouse(Block):
    """Where a warehouse is and with which password to open it.

    A PostgreSQL on another machine has to prove by TLS that it is the one in the URL (`sslmode=verify-full`), unless
    the URL says otherwise.

    Attributes:
        url: where it is, without a password.
        password: of the user in the URL.
        password_secret: the same as a secret of a Key Vault, which is read when a connection is made.
        entra_id: whether to log in with tokens of Entra ID, taken when a connection is made.

    Example:
        Keep the warehouse once, then load it by its name:
        ```python
        from blocks.warehouse import Warehouse

        Warehouse(url="postgresql://dpa@db.example.org/freight", password="…").save("BLOCK_NAME")
        warehouse = Warehouse.load("BLOCK_NAME")
        warehouse.password_source()
        ```
    """

    model_config = ConfigDict(hide_input_in_errors=True)  # what was wrong may be the password

    _block_type_name: ClassVar[str] = "Freight Warehouse"
    _block_type_slug: ClassVar[str] = "freight-warehouse"  # never rename: it is the key of what is stored
    _description: ClassVar[str] = "Where a warehouse is and with which password to open it."
    _documentation_url: ClassVar[HttpUrl] = HttpUrl("https://docs.sqlalchemy.org/en/20/core/engines.html#database-urls")

    # Never reorder: the order is part of the schema that Prefect stores, and of the form that it shows.
    url: str = Field(
        description="Where the warehouse is, without a password. TLS is verify-full, unless ?sslmode= says otherwise.",
        examples=["postgresql://dpa@db.example.org/freight", "sqlite:////data/supply_chain_dwh.sqlite"],
    )
    password: SecretStr | None = Field(
        default=None, description="Password of the user in the URL; empty if a password file or the server needs none."
    )
    password_secret: KeyVaultSecret | None = Field(
        default=None, description="The password as a secret of a Key Vault, instead of the field password."
    )
    entra_id: bool = Field(
        default=False,
        description="Log in with tokens of the identity that the process runs as (Microsoft Entra ID), not a password.",
    )

    def password_source(self) -> PasswordSource | None:
        """Return what gives `open_engine` the password, None if nothing has to."""
        if self.entra_id:
            return azure_passwords()
        return password_source(self.password, self.password_secret)

    @model_validator(mode="after")
    def _refuse_what_cannot_work(self) -> Self:
        # No ValueErrors: they would show the input.
        if holds_password(self.url):
            raise ConfigurationError("the URL of a warehouse must not hold a password: put it into the field password")
        ways = {"password": self.password, "password_secret": self.password_secret, "entra_id": self.entra_id}
        if len(given := [name for name, value in ways.items() if value]) > 1:
            raise ConfigurationError(f"a warehouse has one password: remove {', or '.join(given)}")
        return self
