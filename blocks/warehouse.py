"""A warehouse as a Prefect block."""

from typing import ClassVar, Self

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, model_validator

from freight.errors import ConfigurationError
from freight.warehouse.connect import holds_password, with_password


class Warehouse(Block):
    """Where a warehouse is and with which password to open it.

    Attributes:
        url: where it is, without a password.
        password: of the user in the URL.

    Example:
        Keep the warehouse once, then load it by its name:
        ```python
        from blocks.warehouse import Warehouse

        Warehouse(url="postgresql://dpa@db.example.org/freight", password="…").save("BLOCK_NAME")
        warehouse = Warehouse.load("BLOCK_NAME")
        warehouse.connection_url()
        ```
    """

    model_config = ConfigDict(hide_input_in_errors=True)  # what was wrong may be the password

    _block_type_name: ClassVar[str] = "Freight Warehouse"
    _block_type_slug: ClassVar[str] = "freight-warehouse"  # never rename: it is the key of what is stored
    _description: ClassVar[str] = "Where a warehouse is and with which password to open it."
    _documentation_url: ClassVar[HttpUrl] = HttpUrl("https://docs.sqlalchemy.org/en/20/core/engines.html#database-urls")

    # Never reorder: the order is part of the schema that Prefect stores, and of the form that it shows.
    url: str = Field(
        description="Where the warehouse is, without a password.",
        examples=["postgresql://dpa@db.example.org/freight", "sqlite:////data/supply_chain_dwh.sqlite"],
    )
    password: SecretStr | None = Field(
        default=None, description="Password of the user in the URL; empty if a password file or the server needs none."
    )

    def connection_url(self) -> str:
        """Return the URL for `open_engine`; it holds the password in clear and must not be logged."""
        return with_password(self.url, self.password.get_secret_value()) if self.password else self.url

    @model_validator(mode="after")
    def _refuse_a_password_in_sight(self) -> Self:
        if holds_password(self.url):
            # Not a ValueError: it would show the input.
            raise ConfigurationError("the URL of a warehouse must not hold a password: put it into the field password")
        return self
