"""Load the messages of a topic into the warehouse as they arrive, until a person or a rule stops it.

A micro-batch commits its rows, quarantine, lineage and offsets in one transaction, so a listener can be stopped and
restarted at any time. From the shell: `python -m flows.listen --idle-s 10`.
"""

import argparse
import signal
import sys
import threading
from typing import Annotated, Any, Literal
from uuid import UUID

from prefect import State, flow, get_client, runtime
from prefect.exceptions import ParameterTypeError
from prefect.states import Cancelled, Completed
from pydantic import Field

from blocks.places import kafka_client, warehouse_place
from freight.errors import ConfigurationError, DpaError
from freight.exits import exits_in_words
from freight.settings import load_settings, started_by
from freight.streaming import session
from freight.streaming.alive import alive_path
from freight.streaming.consumer import KafkaReader
from freight.streaming.listener import ListenSettings, StopRules
from freight.streaming.micro_batch import BatchLimits
from freight.streaming.poison import PoisonLimits
from freight.streaming.sign_of_life import showing_life
from freight.streaming.status import Status
from freight.types import RunId
from freight.warehouse.connect import closing
from freight.warehouse.streams import Stream
from tasks.endings import ends_in_words
from tasks.heartbeat import Heartbeat
from tasks.news import told
from tasks.run_names import dated
from tasks.stoppable import run_until_stopped
from tasks.temporary_server import guard_temporary_server, login_hint

LIMITS, POISON = BatchLimits(), PoisonLimits()
MOST_ROWS = 1_000_000  # the most that a Kafka client returns at once

Seconds = Annotated[float, Field(gt=0)]


def _run_name() -> str:
    parameters = runtime.flow_run.parameters
    return dated(f"listen {parameters['topic'] or session.topic_of(parameters['dataset'])}")()


@told
@flow(name="listen", flow_run_name=_run_name)
@ends_in_words
def listen(
    dataset: str = "transactions",
    topic: str | None = None,
    group: str = "dpa",
    kafka: str | None = None,
    warehouse: str | None = None,
    batch_rows: Annotated[int, Field(ge=1, le=MOST_ROWS)] = LIMITS.rows,
    batch_bytes: Annotated[int, Field(ge=1)] = LIMITS.size_bytes,
    batch_age_s: Seconds = LIMITS.age_s,
    quarantine_limit: Annotated[float, Field(ge=0, le=1)] = POISON.share,
    start_from: Literal["earliest", "latest"] = "earliest",
    max_run_s: Seconds | None = None,
    idle_s: Seconds | None = None,
    at_end: bool = False,
    simulated: bool = False,
    day_first: bool | None = None,
) -> State[Any]:
    """Listen to a topic; a micro-batch is a plain function call, never a task.

    Args:
        dataset: The dataset of the messages, such as transactions or terminal_events; it selects contract and table.
        topic: The name of the topic; by default freight.transactions, freight.terminal-events and so on, by dataset.
        group: The consumer group. Listeners of one group share the partitions; another group reads everything again.
        kafka: The name of a Kafka Cluster block; by default the servers in DPA_KAFKA_BOOTSTRAP.
        warehouse: The name of a Freight Warehouse block; by default the warehouse of this installation.
        batch_rows: The number of messages that completes a micro-batch.
        batch_bytes: The number of bytes that completes a micro-batch.
        batch_age_s: The age in seconds at which a micro-batch is committed, full or not.
        quarantine_limit: The share of bad messages among the last ones above which the listener stops; 1 never does.
        start_from: The start of a new group, at the earliest stored message or at the latest.
        max_run_s: The number of seconds after which the listener stops.
        idle_s: The number of seconds without a message after which the listener stops.
        at_end: True to stop the listener when everything is read.
        simulated: True if the simulator makes the messages; they never mix with real data.
        day_first: Whether 03/02/2026 in a message is the 3rd of February; by default such a day is quarantined.

    Returns:
        Completed when a rule or a person stopped it, with the reason and the counts; Cancelled when its run was.
        Failed with the `DpaError` that stopped it; committed messages stay.
    """
    stream = Stream(dataset, topic or session.topic_of(dataset), group, simulated=simulated, day_first=day_first)
    settings = ListenSettings(
        BatchLimits(batch_rows, batch_bytes, batch_age_s),
        _poison_limits(quarantine_limit),
        StopRules(max_run_s, idle_s, at_end),
        from_end=start_from == "latest",
    )
    return _listen(stream, settings, kafka, warehouse)


def _poison_limits(share: float) -> PoisonLimits:
    return PoisonLimits(share) if share < 1 else PoisonLimits(share, run=sys.maxsize)


def _listen(stream: Stream, settings: ListenSettings, kafka: str | None, warehouse: str | None) -> State[Any]:
    here = load_settings()
    run_id, status, stop = UUID(str(runtime.flow_run.id)), Status(), threading.Event()
    listener = session.new_listener(RunId(str(run_id)))
    reader = KafkaReader(kafka_client(kafka, here), stream.topic, stream.group)
    place = warehouse_place(warehouse, here)

    with (
        closing(session.open_stream_engine(place.url, stream, place.password)) as engine,
        showing_life(alive_path(here.processes, stream.dataset), status),
        Heartbeat(stream, listener.listener_id, run_id, status, stop) as heartbeat,
    ):

        def work() -> str:
            return session.listen(
                engine, stream, listener, reader, settings, started_by=started_by(), stop=stop, status=status
            )

        why = run_until_stopped(work, stop, run_id)
    ending = f"{why}; {status.now().counts}"
    return Cancelled(message=ending, data=ending) if heartbeat.is_cancelled else Completed(message=ending, data=ending)


@exits_in_words
def main() -> int:
    """Run the flow in this process.

    Returns:
        0 when the listener ended normally, 2 if a setting is wrong, 1 if anything else failed, 130 if it was
        interrupted while it ended.
    """
    options = _parser().parse_args()
    guard_temporary_server()
    try:
        with login_hint():
            _start_server_of_our_own()
            state = listen(**vars(options), return_state=True)
    except KeyboardInterrupt:
        return 130
    error = state.result(raise_on_failure=False)
    if isinstance(error, (DpaError, ParameterTypeError)):
        print(f"error: {error}", file=sys.stderr)
    else:
        print(state.message)
    if isinstance(error, (ConfigurationError, ParameterTypeError)):
        return 2
    return 0 if state.is_completed() or state.is_cancelled() else 1


def _parser() -> argparse.ArgumentParser:
    """Return a parser with one option per parameter of the flow."""
    kinds = {"string": str, "integer": int, "number": float}
    parser = argparse.ArgumentParser(description=__doc__, argument_default=argparse.SUPPRESS)
    for name, schema in listen.parameters.properties.items():
        option, text = "--" + name.replace("_", "-"), schema["description"].replace("%", "%%")
        kind = schema.get("type") or schema["anyOf"][0]["type"]
        if kind == "boolean":
            action = argparse.BooleanOptionalAction if "anyOf" in schema else "store_true"
            parser.add_argument(option, help=text, action=action)
        else:
            parser.add_argument(option, help=text, type=kinds[kind], choices=schema.get("enum"))
    return parser


def _start_server_of_our_own() -> None:
    """Start Prefect's temporary server for a run without one, so that Ctrl-C does not end it before the run."""
    if not hasattr(signal, "pthread_sigmask"):
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the server's process inherits it
    try:
        with get_client(sync_client=True):
            pass
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


if __name__ == "__main__":
    sys.exit(main())
