"""Which Kafka and which warehouse a flow works with: those of a block that it names, or those of the installation.

And where alerts go.
"""

from typing import Any, NamedTuple

from prefect.blocks.core import Block
from pydantic import ValidationError

from blocks.alert_channel import AlertChannel
from blocks.kafka_cluster import KafkaCluster
from blocks.warehouse import Warehouse
from freight.errors import ConfigurationError
from freight.settings import Settings
from freight.warehouse.connect import PasswordSource


def kafka_client(block: str | None, here: Settings) -> dict[str, Any]:
    """Return the settings of a Kafka client, by the name of a block or from the installation's settings.

    Raises:
        ConfigurationError: there is no such block, or it cannot be used; or nothing names a Kafka.
    """
    if block:
        return _loaded(KafkaCluster, block).client_settings()
    if here.kafka_bootstrap:
        return KafkaCluster(bootstrap_servers=here.kafka_bootstrap).client_settings()
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
    known = _loaded(Warehouse, block)
    return WarehousePlace(known.url, known.password_source())


def alert_channel(block: str) -> AlertChannel:
    """Return where alerts go, by the name of a block.

    Raises:
        ConfigurationError: there is no such block, or it cannot be used.
    """
    return _loaded(AlertChannel, block)


def _loaded[B: Block](kind: type[B], name: str) -> B:
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
