"""Keep as many listeners of each topic as its messages need, and replace dead ones.

A listener counts as alive by its heartbeat in the warehouse, so an outage of Prefect never doubles one. Runs of the
deployment follow each other, and the next one continues where the last one ended.
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
from freight.streaming.consumer import KafkaReader
from freight.streaming.roll import START_LIMIT_S
from freight.streaming.scaler import Scaler, keep_scaled
from freight.streaming.scaling import ScalingLimits
from freight.streaming.session import TIMEOUTS, topic_of
from freight.types import RunId
from freight.warehouse.connect import Engine, closing, open_engine
from freight.warehouse.streams import Stream
from tasks.endings import ends_in_words
from tasks.news import told
from tasks.run_names import dated
from tasks.scaling import Board, ListenDeployment, PrefectRuns, read_deployment
from tasks.stoppable import run_until_stopped

LIMITS = ScalingLimits()
DEPLOYMENTS = ("listen/listen-transactions", "listen/listen-terminal-events")

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]


@told
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
    """Start, drain and replace runs of `listen`; a deployment's parameters name its topic, Kafka and warehouse.

    Args:
        deployments: The deployments of listen to scale, each for a topic of its own.
        minimum: The least number of listeners of a topic; with 0 an idle topic has none.
        maximum: The most listeners of a topic; never more than partitions, and one for an SQLite file.
        lag_threshold: The number of messages that may wait per listener.
        activation_lag: The number of messages that may wait before the first listener starts, with a minimum of 0.
        cooldown_s: The seconds for which fewer listeners must have been enough before one is drained.
        settle_s: The seconds between two steps up.
        catch_up_s: The seconds within which a backlog should be gone.
        commit_limit_s: The longest commit, in seconds, at which listeners are still added.
        restarts: The number of failed starts in an hour after which no more are tried.
        start_limit_s: The seconds that a run may take until its listener's first heartbeat.
        lag_limit: The number of waiting messages above which an event reports it; by default that of all listeners.
        lag_limit_s: The seconds for which more may wait before an event reports it.
        period_s: The seconds between two checks.
        max_run_s: The seconds after its due time at which the run ends.

    Returns:
        Completed when its time is over or a person stopped it. Failed with the `DpaError` if it cannot work.
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
    """Return the end of the run, counted from its due time: otherwise a late run would delay the next one."""
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
        why = run_until_stopped(lambda: keep_scaled(scalers, stop, period_s, end, board.show), stop, run_id)
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
    """Yield the scaler of a deployment's stream."""
    parameters = deployment.parameters
    topic = parameters["topic"] or topic_of(parameters["dataset"])
    stream = Stream(parameters["dataset"], topic, parameters["group"], simulated=parameters["simulated"])
    place, client = warehouse_place(parameters["warehouse"], here), kafka_client(parameters["kafka"], here)
    with closing(open_engine(place.url, TIMEOUTS, "dpa scale", place.password)) as engine:
        scaler = Scaler(
            engine,
            stream,
            KafkaReader(client, stream.topic, stream.group),
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
    """Limit the listeners to one if the warehouse allows one writer."""
    return limits if engine.dialect.name == "postgresql" else replace(limits, maximum=1)
