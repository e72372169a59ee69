"""What a flow works with: the block that it names, or what the settings of the installation say."""

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
    """Return the settings of a Kafka client, by the name of a block or from the installation's settings.

    Raises:
        ConfigurationError: there is no such block, or it cannot be used; or nothing names a Kafka, or one that cannot
            be used.
    """
    if block:
        return load_block(KafkaCluster, block).client_settings()
    if here.kafka_bootstrap:
        return KafkaCluster(bootstrap_servers=here.kafka_bootstrap, insecure=here.kafka_insecure).client_settings()
    raise ConfigurationError("no Kafka is named: set DPA_KAFKA_BOOTSTRAP to host:port, or name a Kafka Cluster block")


class WarehousePlace(NamedTuple):
    """Where a warehouse is, and what gives its password."""

    url: str
    password: PasswordSource | None = None


def warehouse_place(block: str | None, here: Settings) -> WarehousePlace:
    """Return where a warehouse is, by the name of a block or from the installation's settings.

    Raises:
        ConfigurationError: there is no such block, or it cannot be used.
    """
    if block is None:
        return WarehousePlace(here.warehouse_url)
    known = load_block(Warehouse, block)
    return WarehousePlace(known.url, known.password_source())


def open_warehouse(block: str | None, here: Settings) -> Engine:
    """Return the engine of a warehouse, by the name of a block or from the installation's settings.

    Raises:
        ConfigurationError: there is no such block, or it cannot be used.
    """
    place = warehouse_place(block, here)
    return open_engine(place.url, password=place.password)


class BlockConnections:
    """What sources of the catalog are reached by, as blocks of Prefect; see `Connections`."""

    def database(self, name: str) -> Database:
        """Return the database of an SQL Source block."""
        return load_block(SqlSource, name).database()

    def api(self, name: str) -> httpx.Client:
        """Return a client of an HTTP API block."""
        return load_block(HttpApi, name).client()

    def drop(self, name: str) -> AbstractFileSystem:
        """Return the filesystem of a Blob Drop block."""
        return load_block(BlobDrop, name).filesystem()


def load_block[B: Block](kind: type[B], name: str) -> B:
    """Return a block that Prefect keeps.

    Raises:
        ConfigurationError: there is no such block, or it cannot be used.
    """
    try:
        block = kind.load(name)
    except ValueError:
        known_as = f"{kind.get_block_type_name()} block {name!r}"
        raise ConfigurationError(
            f"there is no {known_as}: make it in Prefect under Blocks, or correct the name"
        ) from None
    except RuntimeError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        faults = "; ".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in error.__cause__.errors())
        raise ConfigurationError(f"the {kind.get_block_type_name()} block {name!r} cannot be used: {faults}") from None
    assert isinstance(block, kind)  # in a flow that is not async
    return block
