"""Keep as many listeners of each topic as its messages need, and replace those that are gone.

Whether a listener lives is told by its sign of life in the warehouse, so that an outage of Prefect doubles none. Runs
of the deployment follow each other, and the next one goes on where the last one ended.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from prefect import State, flow, runtime
from prefect.states import Completed
from pydantic import Field

from blocks.places import kafka_client, warehouse_place
from flows.listen import listen
from freight.errors import ConfigurationError
from freight.settings import Settings, load_settings
from freight.streaming.consumer import KafkaSource
from freight.streaming.roll import START_LIMIT_S
from freight.streaming.scaler import Scaler, keep_scaled
from freight.streaming.scaling import ScalingLimits
from freight.streaming.session import PATIENCE, topic_of
from freight.types import RunId
from freight.warehouse.connect import Engine, closing, open_engine
from freight.warehouse.streams import Stream
from tasks.background import run_until_told
from tasks.endings import ends_in_words
from tasks.run_names import dated
from tasks.scaling import Board, ListenDeployment, PrefectRuns, read_deployment

LIMITS = ScalingLimits()
DEPLOYMENTS = ("listen/listen-transactions", "listen/listen-terminal-events")

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]


@flow(name="scale-listeners", flow_run_name=dated("scale-listeners"))
@ends_in_words
def scale_listeners(
    deployments: tuple[str, ...] = DEPLOYMENTS,
    minimum: CountOrNone = LIMITS.minimum,
    maximum: Count | None = None,
    lag_threshold: Count = LIMITS.lag_threshold,
    activation_lag: CountOrNone = LIMITS.activation_lag,
    cooldown_s: Seconds = LIMITS.cooldown_s,
    settle_s: Seconds = LIMITS.settle_s,
    catch_up_s: Seconds = LIMITS.catch_up_s,
    commit_limit_s: Seconds = LIMITS.commit_limit_s,
    restarts: Count = LIMITS.restarts,
    start_limit_s: Seconds = START_LIMIT_S,
    lag_limit: CountOrNone | None = None,
    lag_limit_s: Seconds = LIMITS.lag_limit_s,
    period_s: Seconds = 30.0,
    max_run_s: Seconds | None = None,
) -> State[Any]:
    """Start, drain and replace runs of `listen`; a deployment's parameters say which topic, Kafka and warehouse.

    Args:
        deployments: Deployments of listen to scale, each for a topic of its own.
        minimum: Listeners that a topic always has; with 0 an idle one has none.
        maximum: Listeners that a topic never has more of; never more than partitions, and one in an SQLite file.
        lag_threshold: Messages that may wait for each listener.
        activation_lag: With a minimum of 0, messages that may wait before the first listener is started.
        cooldown_s: Seconds for which fewer listeners must have been enough before one is drained.
        settle_s: Seconds between two steps up.
        catch_up_s: Seconds within which a backlog should be gone.
        commit_limit_s: Seconds that commits may take; where they take longer no listener is added.
        restarts: Starts in an hour that may come to nothing before no more are tried.
        start_limit_s: Seconds that a run may take until its listener shows a sign of life.
        lag_limit: Messages that may wait before an event tells so; by default what all listeners may have.
        lag_limit_s: Seconds for which more may wait before an event tells so.
        period_s: Seconds from one look to the next.
        max_run_s: Ends the run so many seconds after it was due.

    Returns:
        Completed when its time is over or somebody told it to end. Failed with the `DpaError` when it cannot work.
    """
    limits = ScalingLimits(
        minimum,
        maximum,
        lag_threshold,
        activation_lag,
        cooldown_s,
        settle_s,
        catch_up_s,
        commit_limit_s,
        restarts,
        lag_limit,
        lag_limit_s,
    )
    if maximum is not None and minimum > maximum:
        raise ConfigurationError(f"the minimum of {minimum} listeners is more than the maximum: lower it")
    return _scale(deployments, limits, start_limit_s, period_s, _end(max_run_s))


def _end(max_run_s: float | None) -> datetime | None:
    """Return when to end: counted from when the run was due, or a late one would stand in the way of the next."""
    due = runtime.flow_run.scheduled_start_time or datetime.now(UTC)
    return None if max_run_s is None else due + timedelta(seconds=max_run_s)


def _scale(
    deployments: tuple[str, ...], limits: ScalingLimits, start_limit_s: float, period_s: float, end: datetime | None
) -> State[Any]:
    here = load_settings()
    run_id, stop = UUID(str(runtime.flow_run.id)), threading.Event()
    board = Board(run_id)
    with ExitStack() as scaled:
        scalers = [
            scaled.enter_context(_scaler(read_deployment(name, listen), here, run_id, limits, start_limit_s, period_s))
            for name in deployments
        ]
        why = run_until_told(lambda: keep_scaled(scalers, stop, period_s, end, board.show), stop, run_id)
    return Completed(message=why, data=why)


@contextmanager
def _scaler(
    deployment: ListenDeployment,
    here: Settings,
    run_id: UUID,
    limits: ScalingLimits,
    start_limit_s: float,
    period_s: float,
) -> Iterator[Scaler]:
    """Give the scaler of the stream that a deployment listens to."""
    told = deployment.parameters
    topic = told["topic"] or topic_of(told["dataset"])
    stream = Stream(told["dataset"], topic, told["group"], simulated=told["simulated"])
    place, client = warehouse_place(told["warehouse"], here), kafka_client(told["kafka"], here)
    with closing(open_engine(place.url, PATIENCE, "dpa scale", place.password)) as engine:
        scaler = Scaler(
            engine,
            stream,
            KafkaSource(client, stream.topic, stream.group),
            PrefectRuns(deployment, stream),
            _possible(limits, engine),
            RunId(str(run_id)),
            period_s,
            start_limit_s,
        )
        try:
            yield scaler
        finally:
            scaler.close()


def _possible(limits: ScalingLimits, engine: Engine) -> ScalingLimits:
    """Keep to one listener where the warehouse has one writer."""
    return limits if engine.dialect.name == "postgresql" else replace(limits, maximum=1)
