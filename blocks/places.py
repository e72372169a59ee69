"""The systems of a flow: from the block that it names, or from the settings of the installation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
from fsspec import AbstractFileSystem
from prefect.blocks.core import Block
from pydantic import ValidationError

from blocks.blob_drop import BlobDrop
from blocks.http_api import HttpApi
from blocks.kafka_cluster import KafkaCluster
from blocks.sql_source import SqlSource
from blocks.warehouse import Warehouse
from freight.databases import Database
from freight.errors import ConfigurationError
from freight.settings import Settings
from freight.types import PasswordSource
from freight.warehouse.connect import Engine, open_engine


def kafka_client(block: str | None, here: Settings) -> dict[str, Any]:
    """Return the settings of a Kafka client, from a named block or from the installation's settings.

    Raises:
        ConfigurationError: The block does not exist or cannot be used; or the settings name no Kafka, or an unusable
            one.
    """
    if block:
        return used(KafkaCluster, block, KafkaCluster.client_settings)
    if here.kafka_bootstrap:
        return KafkaCluster(bootstrap_servers=here.kafka_bootstrap, insecure=here.kafka_insecure).client_settings()
    raise ConfigurationError("no Kafka is named: set DPA_KAFKA_BOOTSTRAP to host:port, or name a Kafka Cluster block")


class WarehousePlace(NamedTuple):
    """The URL of a warehouse, and the source of its password."""

    url: str
    password: PasswordSource | None = None


def warehouse_place(block: str | None, here: Settings) -> WarehousePlace:
    """Return the place of a warehouse, from a named block or from the installation's settings.

    Raises:
        ConfigurationError: The block does not exist, or cannot be used.
    """
    if block is None:
        return WarehousePlace(here.warehouse_url)
    return used(Warehouse, block, lambda known: WarehousePlace(known.url, known.password_source()))


def open_warehouse(block: str | None, here: Settings) -> Engine:
    """Return the engine of a warehouse, from a named block or from the installation's settings.

    Raises:
        ConfigurationError: The block does not exist, or cannot be used.
    """
    place = warehouse_place(block, here)
    return open_engine(place.url, password=place.password)


class BlockConnections:
    """The connections of the catalog's sources, as Prefect blocks; see `Connections`."""

    def database(self, name: str) -> Database:
        """Return the database of an SQL Source block."""
        return used(SqlSource, name, SqlSource.database)

    def api(self, name: str) -> httpx.Client:
        """Return a client of an HTTP API block."""
        return used(HttpApi, name, HttpApi.client)

    def drop(self, name: str) -> AbstractFileSystem:
        """Return the filesystem of a Blob Drop block."""
        return used(BlobDrop, name, BlobDrop.filesystem)


def used[B: Block, T](kind: type[B], name: str, use: Callable[[B], T]) -> T:
    """Load a block and return what it provides; an error names the block.

    Raises:
        ConfigurationError: The block does not exist, or cannot be used.
    """
    block = load_block(kind, name)
    with _naming(_known_as(kind, name)):
        return use(block)


def load_block[B: Block](kind: type[B], name: str) -> B:
    """Return a block stored in Prefect.

    Raises:
        ConfigurationError: The block does not exist, or cannot be used.
    """
    known_as = _known_as(kind, name)
    try:
        with _naming(known_as):
            block = kind.load(name)
    except ValueError:
        raise ConfigurationError(
            f"there is no {known_as}: create it in Prefect under Blocks, or correct the name"
        ) from None
    except RuntimeError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        faults = "; ".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in error.__cause__.errors())
        raise ConfigurationError(f"the {known_as} cannot be used: {faults}") from None
    assert isinstance(block, kind)  # in a synchronous flow
    return block


def _known_as(kind: type[Block], name: str) -> str:
    return f"{kind.get_block_type_name()} block {name!r}"


@contextmanager
def _naming(known_as: str) -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"the {known_as} cannot be used: {error}") from None
