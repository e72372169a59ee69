"""A database for sources of the catalog, as a Prefect block."""

from typing import ClassVar, Self

import sqlalchemy as sa
from prefect.blocks.core import Block
from pydantic import Field, HttpUrl, SecretStr, model_validator

from blocks.azure_identity import cloud, refuse_foreign
from blocks.key_vault import KeyVaultSecret, password_source
from blocks.secret_fields import SecretFields
from freight.database_urls import attributes, read_url_without_secrets
from freight.databases import Database
from freight.errors import ConfigurationError

# Attributes of Microsoft's ODBC driver. With any other value of `Authentication=` it logs in with a token.
BY_PASSWORD = "sqlpassword"
ENCRYPTED = {"yes", "true", "mandatory", "strict"}
PROVEN = {"no", "false", "0"}
SERVER = ("server", "addr", "address", "networkaddress")
UNNAMED = {"dsn", "filedsn", "failoverpartner"}


class SqlSource(SecretFields, Block):
    """A database that DPA reads and never writes, and its password.

    A PostgreSQL or MySQL on another machine has to prove its identity by TLS, unless the URL says otherwise; so does
    an Azure SQL, by its driver's default.

    Attributes:
        url: The URL, without a password.
        password: The password of the user in the URL.
        password_secret: The same as a Key Vault secret, which is read when a connection is made.

    Example:
        Save the database once, then load it by name:
        ```python
        from blocks.sql_source import SqlSource

        SqlSource(url="postgresql://reader@erp.example.org/erp", password="…").save("BLOCK_NAME")
        source = SqlSource.load("BLOCK_NAME")
        with source.database().reading() as connection:
            connection.exec_driver_sql("SELECT 1").scalar_one()
        ```
    """

    _block_type_name: ClassVar[str] = "SQL Source"
    _block_type_slug: ClassVar[str] = "sql-source"  # never rename: it is the key of the stored blocks
    _description: ClassVar[str] = "A database that DPA reads, and its password."
    _documentation_url: ClassVar[HttpUrl] = HttpUrl("https://docs.sqlalchemy.org/en/20/core/engines.html#database-urls")

    # Never reorder: the order is part of Prefect's stored schema and of its form.
    url: str = Field(
        description="URL of the database, without a password. PostgreSQL has to prove its identity by TLS.",
        examples=[
            "mssql+pyodbc://reader@erp.database.windows.net/erp?driver=ODBC+Driver+18+for+SQL+Server",
            "postgresql://reader@erp.example.org/erp",
        ],
    )
    password: SecretStr | None = Field(
        default=None, description="Password of the user in the URL; empty if the server needs none."
    )
    password_secret: KeyVaultSecret | None = Field(
        default=None, description="The password as a Key Vault secret, instead of the field password."
    )

    def database(self) -> Database:
        """Return the database; reading opens it.

        Raises:
            ConfigurationError: Its driver is not installed.
        """
        return Database(self.url, password_source(self.password, self.password_secret))

    @model_validator(mode="after")
    def _refuse_what_cannot_work(self) -> Self:
        # No ValueErrors: they would show the input.
        url = read_url_without_secrets(self.url, "the URL of an SQL source")
        if self.password and self.password_secret:
            raise ConfigurationError("an SQL source has one password: remove password, or password_secret")
        _refuse_to_show_tokens(url)
        return self


def _refuse_to_show_tokens(url: sa.URL) -> None:
    """Refuse a URL with which the driver would send a token to a host that is not Azure's or not verified."""
    named = attributes(url)
    if all(way == BY_PASSWORD for way in named.get("authentication", [])):
        return
    if not (set(named.get("encrypt", [])) <= ENCRYPTED and set(named.get("trustservercertificate", [])) <= PROVEN):
        raise ConfigurationError(
            "a token is sent over verified TLS only: remove Encrypt and TrustServerCertificate from the URL of the "
            "SQL source"
        )
    if named.keys() & UNNAMED:
        raise ConfigurationError("a token is only sent to a named host: write the host into the URL of the SQL source")
    # All values: drivers differ in which of two they use.
    servers = [server for name in SERVER for server in named.get(name, [])] + ([url.host] if url.host else [])
    for server in servers or [""]:
        refuse_foreign(server.removeprefix("tcp:").partition(",")[0], cloud().sql)
