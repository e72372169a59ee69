"""A database that sources of the catalog are read from, as a Prefect block."""

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

# Attributes of Microsoft's ODBC driver. By other ways of `Authentication=` than this one it logs in with a token.
BY_PASSWORD = "sqlpassword"
ENCRYPTED = {"yes", "true", "mandatory", "strict"}
PROVEN = {"no", "false", "0"}
SERVER = ("server", "addr", "address", "networkaddress")
UNNAMED = {"dsn", "filedsn", "failoverpartner"}


class SqlSource(SecretFields, Block):
    """A database that is read from and never written to, and with which password to open it.

    A PostgreSQL or MySQL on another machine has to prove by TLS that it is the one in the URL, unless the URL says
    otherwise; so does an Azure SQL, by the default of its driver.

    Attributes:
        url: where it is, without a password.
        password: of the user in the URL.
        password_secret: the same as a secret of a Key Vault, which is read when a connection is made.

    Example:
        Keep the database once, then load it by its name:
        ```python
        from blocks.sql_source import SqlSource

        SqlSource(url="postgresql://reader@erp.example.org/erp", password="…").save("BLOCK_NAME")
        source = SqlSource.load("BLOCK_NAME")
        with source.database().reading() as connection:
            connection.exec_driver_sql("SELECT 1").scalar_one()
        ```
    """

    _block_type_name: ClassVar[str] = "SQL Source"
    _block_type_slug: ClassVar[str] = "sql-source"  # never rename: it is the key of what is stored
    _description: ClassVar[str] = "A database that is read from, and with which password to open it."
    _documentation_url: ClassVar[HttpUrl] = HttpUrl("https://docs.sqlalchemy.org/en/20/core/engines.html#database-urls")

    # Never reorder: the order is part of the schema that Prefect stores, and of the form that it shows.
    url: str = Field(
        description="Where the database is, without a password. PostgreSQL has to prove who it is, by TLS.",
        examples=[
            "mssql+pyodbc://reader@erp.database.windows.net/erp?driver=ODBC+Driver+18+for+SQL+Server",
            "postgresql://reader@erp.example.org/erp",
        ],
    )
    password: SecretStr | None = Field(
        default=None, description="Password of the user in the URL; empty if the server needs none."
    )
    password_secret: KeyVaultSecret | None = Field(
        default=None, description="The password as a secret of a Key Vault, instead of the field password."
    )

    def database(self) -> Database:
        """Return the database; it is opened when it is read.

        Raises:
            ConfigurationError: there is no driver for it.
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
    """Refuse a URL by which the driver would take a token, and show it to others than Azure's own or unproven ones."""
    named = attributes(url)
    if all(way == BY_PASSWORD for way in named.get("authentication", [])):
        return
    if not (set(named.get("encrypt", [])) <= ENCRYPTED and set(named.get("trustservercertificate", [])) <= PROVEN):
        raise ConfigurationError(
            "a token is sent over verified TLS only: remove Encrypt and TrustServerCertificate from the URL of the "
            "SQL source"
        )
    if named.keys() & UNNAMED:
        raise ConfigurationError("a token is sent to a host that is named: write it into the URL of the SQL source")
    # All of them: drivers differ in which of two they take.
    servers = [server for name in SERVER for server in named.get(name, [])] + ([url.host] if url.host else [])
    for server in servers or [""]:
        refuse_foreign(server.removeprefix("tcp:").partition(",")[0], cloud().sql)
