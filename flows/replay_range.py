"""Read a span of a topic again: loaded messages stay unchanged, missing ones are loaded."""

import contextlib
from datetime import UTC, datetime
from typing import Any

from prefect import State, flow, runtime
from prefect.states import Completed

from blocks.places import kafka_client, open_warehouse
from freight.settings import load_settings, started_by
from freight.streaming import replay_range as core
from freight.streaming.consumer import KafkaReader
from freight.streaming.session import topic_of
from freight.types import RunId
from freight.warehouse.connect import closing
from freight.warehouse.runs import noted_run
from freight.warehouse.streams import Stream
from tasks.endings import ends_in_words
from tasks.news import told
from tasks.run_names import dated


@told
@flow(name="replay-range", flow_run_name=dated("replay-range"))
@ends_in_words
def replay_range(
    dataset: str = "transactions",
    topic: str | None = None,
    group: str = "dpa",
    kafka: str | None = None,
    warehouse: str | None = None,
    partitions: list[int] | None = None,
    from_offset: int | None = None,
    until_offset: int | None = None,
    from_time: datetime | None = None,
    until_time: datetime | None = None,
    simulated: bool = False,
    day_first: bool | None = None,
) -> State[Any]:
    """Read a span of offsets or times again; positions do not move, and running it again changes nothing.

    Args:
        dataset: The dataset of the messages, such as transactions or terminal_events.
        topic: The name of the topic; by default freight.transactions, freight.terminal-events and so on, by dataset.
        group: The consumer group to note with the messages.
        kafka: The name of a Kafka Cluster block; by default the servers in DPA_KAFKA_BOOTSTRAP.
        warehouse: The name of a Freight Warehouse block; by default the warehouse of this installation.
        partitions: Only these partitions.
        from_offset: The first offset, in each of them.
        until_offset: The offset after the last one, in each of them.
        from_time: Only messages sent at this instant or later.
        until_time: Only messages sent before this instant.
        simulated: True if the simulator makes the messages.
        day_first: Whether 03/02/2026 in a message is the 3rd of February; by default such a day is quarantined.

    Returns:
        Completed with the counts, or Failed with the `DpaError`.
    """
    here = load_settings()
    stream = Stream(dataset, topic or topic_of(dataset), group, simulated=simulated, day_first=day_first)
    chosen = None if partitions is None else tuple(partitions)
    wanted = core.Wanted(chosen, from_offset, until_offset, from_time, until_time)
    run_id = RunId(str(runtime.flow_run.id))
    client = kafka_client(kafka, here)
    with (
        closing(open_warehouse(warehouse, here)) as engine,
        contextlib.closing(KafkaReader(client, stream.topic, f"{group}-replay")) as reader,
        noted_run(engine, run_id, started_by(), lambda: datetime.now(UTC)),
    ):
        counts = core.replay_range(engine, stream, run_id, reader, wanted)
    return Completed(message=str(counts), data=counts)
