"""The listening flow on a real Prefect server and a real Kafka."""

import itertools
import json
import re
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from confluent_kafka import Consumer, TopicPartition
from prefect import State, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import Artifact, FlowRun
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelling
from pydantic import SecretStr
from typer.testing import CliRunner

from blocks.kafka_cluster import KafkaCluster
from blocks.key_vault import KeyVault, KeyVaultSecret
from blocks.warehouse import Warehouse
from flows.listen import listen, main
from freight.care.reconcile import reconcile
from freight.console.cli import app
from freight.errors import ConfigurationError, OffsetGap, QuarantineLimitExceeded, TransientError
from freight.settings import PROJECT_ROOT
from freight.streaming import alive, session
from freight.streaming.alive import alive_path
from freight.streaming.listener import ListenerLoop
from freight.types import LoadCounts
from freight.warehouse.connect import Engine, open_engine
from freight.warehouse.migrate import migrate
from freight.warehouse.stream_load import MicroBatch, StreamLoader
from tasks import heartbeat, stoppable
from tasks import load as steps
from tests.conftest import Measured, WarehouseUnderTest
from tests.lib.cut import Way
from tests.lib.kafka import Broker, OwnKafka, delete_records_before, new_topic
from tests.lib.kafka_under_test import SharedKafka
from tests.lib.listening import ListenProcess, Load, count
from tests.lib.ports import free_port
from tests.lib.postgres import PostgresServer, own_server
from tests.lib.runs import logged_within
from tests.lib.streams import event, rows, send
from tests.lib.vault import StandInVault
from tests.lib.waiting import LIMIT_S, wait_until

CANARY = "canary: p@ss/word?"
PARTITIONS = 2
NO_ANSWER = "Prefect does not get the listener's state"
AN_HOUR = "3600"  # longer than any test


@pytest.fixture
def prefect() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def warehouse_here(home: Path, kafka: SharedKafka, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The warehouse of an installation that listens to the Kafka of the tests."""
    assert home
    monkeypatch.setenv("DPA_KAFKA_BOOTSTRAP", kafka.bootstrap)
    migrate(steps.warehouse())
    return steps.warehouse()


@pytest.fixture
def topic(kafka: SharedKafka) -> str:
    topic = new_topic(kafka, PARTITIONS)
    send(kafka, topic, [event(number) for number in range(1_000)])
    return topic


def run_flow(**parameters: Any) -> State[Any]:
    state = listen(**parameters, return_state=True)
    assert isinstance(state, State)
    return state


def run_of(prefect: SyncPrefectClient, state: State[Any]) -> FlowRun:
    assert state.state_details.flow_run_id
    return prefect.read_flow_run(state.state_details.flow_run_id)


def ask(prefect: Any, method: str, path: str, what: dict[str, Any]) -> Any:
    """Ask the API itself: its client knows neither events nor all filters."""
    return prefect.request(method, path, json=what).json()


def artifacts_of(prefect: SyncPrefectClient, run_id: UUID) -> list[Artifact]:
    wanted = {"artifacts": {"flow_run_id": {"any_": [str(run_id)]}}}
    return [Artifact.model_validate(artifact) for artifact in ask(prefect, "POST", "/artifacts/filter", wanted)]


def shown_of(prefect: SyncPrefectClient, run_id: UUID) -> str:
    return "".join(str(artifact.data) for artifact in artifacts_of(prefect, run_id))


def events_of(prefect: SyncPrefectClient, name: str, resource: str) -> list[dict[str, Any]]:
    wanted = {"event": {"name": [name]}, "any_resource": {"id": [resource]}}
    return list(ask(prefect, "POST", "/events/filter", {"filter": wanted})["events"])


def test_a_topic_is_read_to_its_end_and_prefect_shows_what_came_of_it(
    warehouse_here: Engine, topic: str, prefect: SyncPrefectClient, home: Path
) -> None:
    state = run_flow(topic=topic, at_end=True)
    assert state.is_completed()
    assert str(state.message).startswith("everything is read; read 1000, inserted 1000, updated 0,")
    assert count(warehouse_here, "fact_transactions") == 1_000
    assert reconcile(warehouse_here) == []

    run = run_of(prefect, state)
    assert re.fullmatch(rf"listen {topic} [\d-]{{10}} [\d:]{{8}} UTC", run.name)
    (artifact,) = artifacts_of(prefect, run.id)
    assert (artifact.key, artifact.type) == (f"listen-{topic}", "markdown")
    assert "| state | completed |" in str(artifact.data)
    assert "| messages | 1,000 |" in str(artifact.data)
    stream = f"dpa.stream.dpa.{topic}"
    wait_until(lambda: len(events_of(prefect, heartbeat.ENDED, stream)) == 1)
    (ended,) = events_of(prefect, heartbeat.ENDED, stream)
    assert ended["payload"]["state"] == "completed"
    assert ended["follows"] in [event["id"] for event in events_of(prefect, heartbeat.EVENT, stream)]
    assert prefect.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))) == []
    assert not alive_path(home / "run", "transactions").exists()


def test_every_parameter_is_described_in_the_form_and_on_the_page() -> None:
    parameters = listen.parameters.properties
    assert [name for name, told in parameters.items() if not told.get("description")] == []
    page = (PROJECT_ROOT / "docs" / "streaming.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE) == list(parameters)


@pytest.mark.parametrize(
    ("topic", "key"),
    [("freight.terminal-events", "listen-freight-terminal-events"), ("__Odd_.Topic!", "listen-odd-topic")],
)
def test_the_artifact_of_any_topic_has_a_key_that_prefect_takes(topic: str, key: str) -> None:
    assert heartbeat.artifact_key(topic) == key


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({}, "no Kafka is named: set DPA_KAFKA_BOOTSTRAP to host:port, or name a Kafka Cluster block"),
        ({"kafka": "nowhere"}, "there is no Kafka Cluster block 'nowhere': create it in Prefect under Blocks"),
        ({"kafka": "here", "warehouse": "nowhere"}, "there is no Freight Warehouse block 'nowhere'"),
        ({"kafka": "no-file"}, "the Kafka client refuses its settings"),
        ({"kafka": "unfinished"}, "the Kafka Cluster block 'unfinished' cannot be used: "),
        ({"kafka": "misfit"}, "the Kafka Cluster block 'misfit' cannot be used: sasl_mechanism: Input should be"),
    ],
    ids=lambda value: str(value.get("kafka")) if isinstance(value, dict) else "",
)
@pytest.mark.usefixtures("home", "_blocks")
def test_a_wrong_setting_fails_the_run_with_a_remedy(named: dict[str, str], message: str) -> None:
    state = run_flow(**named)
    assert state.is_failed()
    assert message in str(state.message)
    assert "canary" not in str(state.message)
    assert isinstance(state.result(raise_on_failure=False), ConfigurationError)


@pytest.fixture(scope="module")
def _blocks() -> None:
    """Blocks that a form lets pass, and that cannot be used."""
    places: dict[str, Any] = {"bootstrap_servers": "127.0.0.1:1"}
    KafkaCluster(**places).save("here")
    secured = {**places, "security_protocol": "SASL_SSL", "username": "dpa", "password": CANARY}
    KafkaCluster(**secured, ca_location="/nowhere/ca.pem").save("no-file")
    with get_client(sync_client=True) as prefect:
        store(prefect, "unfinished", {**places, "security_protocol": "SASL_SSL"})
        store(prefect, "misfit", {**secured, "sasl_mechanism": "KERBEROS"})


def store(prefect: SyncPrefectClient, name: str, data: dict[str, Any]) -> None:
    """Store a block that only the form of Prefect has checked."""
    KafkaCluster(bootstrap_servers="127.0.0.1:1").save(name)
    document = prefect.read_block_document_by_name(name, KafkaCluster.get_block_type_slug())
    asked: Any = prefect
    asked.request("PATCH", f"/block_documents/{document.id}", json={"data": data, "merge_existing_data": False})


def test_secrets_of_blocks_are_nowhere_to_be_seen(
    home: Path,
    kafka: SharedKafka,
    postgres_server: PostgresServer,
    prefect: SyncPrefectClient,
    vault: StandInVault,
    capfd: pytest.CaptureFixture[str],
) -> None:
    topic = new_topic(kafka, 1)
    send(kafka, topic, [event(1)])
    url, login = postgres_server.new_protected_database(CANARY), kafka.logins["PLAIN"]
    engine = open_engine(url, password=lambda **_: CANARY)
    migrate(engine)
    KafkaCluster(
        bootstrap_servers=kafka.secure_bootstrap,
        security_protocol="SASL_SSL",
        username=login.user,
        password=SecretStr(login.password),
        ca_location=str(kafka.ca_path),
    ).save("secured", overwrite=True)
    vault.set("warehouse-password", CANARY)
    secret = KeyVaultSecret(vault=KeyVault(url=vault.url), name="warehouse-password")
    secret.save("warehouse-password", overwrite=True)
    Warehouse(url=url, password_secret=secret).save("secured", overwrite=True)

    state = run_flow(topic=topic, at_end=True, kafka="secured", warehouse="secured")
    assert state.is_completed(), state.message
    assert count(engine, "fact_transactions") == 1
    engine.dispose()
    run = run_of(prefect, state)
    stream = f"dpa.stream.dpa.{topic}"
    wait_until(lambda: len(events_of(prefect, heartbeat.ENDED, stream)) == 1)
    seen = {
        "run": run.model_dump_json(),
        "artifacts": str(artifacts_of(prefect, run.id)),
        "blocks": json.dumps(ask(prefect, "POST", "/block_documents/filter", {})),
        "events": json.dumps(ask(prefect, "POST", "/events/filter", {"filter": {}})),
        "logs": json.dumps(ask(prefect, "POST", "/logs/filter", {})),
        "log file": (home / "logs" / "dpa.log").read_text(encoding="utf-8"),
        "output": "".join(capfd.readouterr()),
    }
    key = login.password.rpartition("SharedAccessKey=")[2]
    assert [place for place, text in seen.items() if "canary" in text or key in text] == []
    assert "secured" in seen["run"]


def test_a_gap_fails_the_run_with_what_to_do_and_without_a_trace(
    warehouse_here: Engine,
    kafka: SharedKafka,
    topic: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run_flow(topic=topic, at_end=True).is_completed()
    send(kafka, topic, [event(number) for number in range(1_000, 1_100)])
    delete_records_before(kafka, topic, {0: 1_050})
    state = run_flow(topic=topic, at_end=True)
    assert state.is_failed()
    ((gap,),) = rows(warehouse_here, "SELECT gap_id FROM stream_gaps")
    assert str(state.message) == (
        f"gap {gap}: {topic}/0 from offset 1000: the broker deleted 50 messages that were never read\n"
        f"`dpa accept-gap {gap}` lets the group dpa continue after it"
    )
    assert isinstance(state.result(raise_on_failure=False), OffsetGap)
    assert "Traceback" not in "".join(capfd.readouterr())
    monkeypatch.setattr("sys.argv", ["listen", "--topic", topic])
    assert main() == 1
    assert f"error: gap {gap}: " in capfd.readouterr().err


def test_a_bad_release_of_a_producer_fails_the_run_unless_the_limit_says_to_take_it(
    warehouse_here: Engine, kafka: SharedKafka
) -> None:
    topic = new_topic(kafka, 1)
    send(kafka, topic, [event(number, surprise=1) for number in range(1_000)])
    state = run_flow(topic=topic, at_end=True)
    assert state.is_failed()
    assert "the listener stopped without advancing" in str(state.message)
    assert isinstance(state.result(raise_on_failure=False), QuarantineLimitExceeded)
    assert CliRunner().invoke(app, ["retry"]).exit_code == 0
    assert run_flow(topic=topic, at_end=True, quarantine_limit=1).is_completed()
    assert count(warehouse_here, "quarantine") == 1_000


@pytest.mark.usefixtures("warehouse_here")
@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--at-end", "--batch-rows", "100"], 0, r"^everything is read; read 1000, "),
        (["--batch-rows", "0"], 2, r"error: .*batch_rows: Input should be greater than or equal to 1"),
        (["--kafka", "nowhere"], 2, r"^error: there is no Kafka Cluster block 'nowhere'"),
    ],
    ids=["completed", "wrong parameter", "wrong block"],
)
def test_the_shell_gets_an_exit_code_and_a_line(
    topic: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.setattr("sys.argv", ["listen", "--topic", topic, *options])
    assert main() == code
    shown = capsys.readouterr()
    assert re.search(said, shown.out + shown.err, re.MULTILINE | re.DOTALL)


def committed_in_kafka(kafka: Broker, topic: str) -> dict[int, int]:
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "dpa"})
    found = consumer.committed([TopicPartition(topic, partition) for partition in range(PARTITIONS)], 30)
    consumer.close()
    return {place.partition: max(0, place.offset) for place in found}


def positions(engine: Engine) -> dict[int, int]:
    return dict(rows(engine, "SELECT partition_number, next_offset FROM stream_positions"))


@pytest.fixture
def start(
    tmp_path: Path, postgres_warehouse: WarehouseUnderTest, kafka: SharedKafka, server: dict[str, str]
) -> Iterator[Callable[..., ListenProcess]]:
    """Start listeners of their own process; what a failed test leaves running is killed."""
    started: list[ListenProcess] = []

    def start(*options: str, flow_run: UUID | None = None, **settings: str) -> ListenProcess:
        told = {**server, "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "relinquish", **settings}
        started.append(ListenProcess(tmp_path, postgres_warehouse.url, kafka, told, *options, flow_run=flow_run))
        return started[-1]

    yield start
    for process in started:
        process.kill_after(0)


def assert_drained(engine: Engine, kafka: Broker, topic: str, load: Load) -> None:
    """Everything that was read is committed, Kafka knows it, and who comes next finds the rest."""
    read = positions(engine)
    assert committed_in_kafka(kafka, topic) == read
    assert count(engine, "fact_transactions") == sum(read.values())
    assert rows(engine, "SELECT DISTINCT state FROM stream_listeners") == [("completed",)]
    assert run_flow(topic=topic, at_end=True).is_completed()
    assert count(engine, "fact_transactions") == load.sent
    assert reconcile(engine) == []


def drain_again_and_again(
    start: Callable[..., ListenProcess], engine: Engine, topic: str, prefect: SyncPrefectClient, numbers: Sequence[int]
) -> float:
    """End listeners by signals while messages come; return the longest time that one took to end."""
    longest = 0.0
    for number in numbers:
        process = start("--topic", topic)
        run_id = process.wait_until_it_reads(engine)
        ended = process.signal(number)
        assert ended.returncode == 0, ended.said
        state = prefect.read_flow_run(run_id).state
        assert state
        assert state.is_completed()
        assert str(state.message).startswith("told to stop; read ")
        longest = max(longest, ended.seconds)
    return longest


def listen_here_as(monkeypatch: pytest.MonkeyPatch, url: str, kafka: Broker) -> None:
    monkeypatch.setenv("DPA_WAREHOUSE_URL", url)
    monkeypatch.setenv("DPA_KAFKA_BOOTSTRAP", kafka.bootstrap)


@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param([signal.SIGTERM], id="once"),
        pytest.param(
            50 * [signal.SIGTERM, signal.SIGINT], id="100 times", marks=[pytest.mark.chaos, pytest.mark.timeout(1_800)]
        ),
    ],
)
def test_a_listener_that_is_told_to_end_under_load_drains_and_completes(
    start: Callable[..., ListenProcess],
    kafka: SharedKafka,
    postgres_warehouse: WarehouseUnderTest,
    prefect: SyncPrefectClient,
    monkeypatch: pytest.MonkeyPatch,
    measured: Measured,
    numbers: Sequence[int],
) -> None:
    engine, topic = postgres_warehouse.engine, new_topic(kafka, PARTITIONS)
    load = Load(kafka, topic, PARTITIONS)
    with load.coming():
        longest = drain_again_and_again(start, engine, topic, prefect, numbers)
    listen_here_as(monkeypatch, postgres_warehouse.url, kafka)
    assert_drained(engine, kafka, topic, load)
    measured(f"{len(numbers)} ended, the slowest after {longest:.1f} s, lost 0, doubled 0, messages {load.sent}")


@pytest.fixture
def own_warehouse() -> Iterator[tuple[PostgresServer, WarehouseUnderTest]]:
    """A warehouse on a server that this test may freeze."""
    with own_server() as server:
        url = server.new_database()
        engine = open_engine(url)
        migrate(engine)
        yield server, WarehouseUnderTest(engine, url)
        engine.dispose()


@pytest.mark.chaos
def test_a_listener_that_is_told_to_end_while_its_warehouse_is_frozen_ends_in_time(
    start: Callable[..., ListenProcess],
    kafka: SharedKafka,
    own_warehouse: tuple[PostgresServer, WarehouseUnderTest],
    prefect: SyncPrefectClient,
    monkeypatch: pytest.MonkeyPatch,
    measured: Measured,
) -> None:
    server, warehouse = own_warehouse
    engine, topic = warehouse.engine, new_topic(kafka, PARTITIONS)
    load = Load(kafka, topic, PARTITIONS)
    with load.coming(), engine.connect() as other:
        process = start("--topic", topic, DPA_WAREHOUSE_URL=warehouse.url, DRAIN_S=str(stoppable.DRAIN_S))
        run_id = process.wait_until_it_reads(engine)
        other.execute(sa.text("LOCK TABLE fact_transactions"))
        time.sleep(1)  # so that it is in the middle of a statement
        server.pause()
        try:
            ended = process.signal(signal.SIGTERM)
        finally:
            server.resume()
    assert ended.returncode == 0, ended.said
    measured(f"ended after {ended.seconds:.1f} s, although its warehouse was frozen")
    state = prefect.read_flow_run(run_id).state
    assert state
    assert state.is_completed()
    assert str(state.message).startswith(stoppable.UNDRAINED)
    listen_here_as(monkeypatch, warehouse.url, kafka)
    assert run_flow(topic=topic, at_end=True).is_completed()
    assert count(engine, "fact_transactions") == load.sent
    assert reconcile(engine) == []


ENDS_S = 20.0
TWENTY = [1, pytest.param(20, id="20 times", marks=[pytest.mark.chaos, pytest.mark.timeout(3_600)])]


@pytest.fixture
def start_apart(start: Callable[..., ListenProcess]) -> Callable[..., ListenProcess]:
    """Starts a listener whose Kafka is that of the test alone."""

    def start_apart(kafka: Broker, topic: str) -> ListenProcess:
        return start("--topic", topic, DPA_KAFKA_BOOTSTRAP=kafka.bootstrap, DRAIN_S=str(stoppable.DRAIN_S))

    return start_apart


@pytest.mark.parametrize("how", ["frozen", "dead"])
@pytest.mark.parametrize("times", TWENTY)
def test_a_listener_that_is_told_to_end_while_its_broker_is_silent_ends_in_time(
    start_apart: Callable[..., ListenProcess],
    own_kafka: OwnKafka,
    postgres_warehouse: WarehouseUnderTest,
    measured: Measured,
    how: str,
    times: int,
) -> None:
    """SIGTERM comes while the listener reads, or some seconds later, while it asks the broker in vain."""
    kafka, engine, longest = own_kafka(), postgres_warehouse.engine, 0.0
    topic = new_topic(kafka, PARTITIONS)
    for number in range(times):
        send(kafka, topic, [event(1_000 * number + i) for i in range(500)])
        process = start_apart(kafka, topic)
        process.wait_until_it_reads(engine)
        (kafka.pause if how == "frozen" else kafka.crash)()
        time.sleep(2.0 * (number % 5))
        try:
            ended = process.signal(signal.SIGTERM)
        finally:
            (kafka.resume if how == "frozen" else kafka.start)()
        assert ended.returncode == 0, ended.said
        assert ended.seconds < ENDS_S, ended.said
        longest = max(longest, ended.seconds)
        assert rows(engine, "SELECT count(*) FROM stream_listeners WHERE ended_at IS NULL") == [(0,)]
        told = process.log.rpartition(f"{topic} reads")[2]
        assert told.count("Kafka") <= 4, told  # that the broker is away, and that it takes no leave of us
    measured(f"{times} ended with a {how} broker, the slowest after {longest:.1f} s, exit 0, rows released")


@pytest.mark.parametrize("times", TWENTY)
def test_a_listener_that_is_told_to_end_before_its_warehouse_answered_ends_well(
    start: Callable[..., ListenProcess], kafka: SharedKafka, measured: Measured, times: int
) -> None:
    nowhere, longest = f"postgresql://freight@127.0.0.1:{free_port()}/freight", 0.0
    for number in range(times):
        topic = new_topic(kafka, 1)
        process = start("--topic", topic, DPA_WAREHOUSE_URL=nowhere, DRAIN_S=str(stoppable.DRAIN_S))
        waits = f"{topic} waits: "
        process.wait_until(lambda at=process, waits=waits: waits in at.log)  # type: ignore[misc]
        time.sleep(1.5 * (number % 5))
        ended = process.signal(signal.SIGTERM)
        assert ended.returncode == 0, ended.said
        assert session.NOT_BEGUN in ended.said
        assert ended.seconds < ENDS_S, ended.said
        assert process.log.count(waits) == 1
        longest = max(longest, ended.seconds)
    measured(f"{times} ended without a warehouse, the slowest after {longest:.1f} s, exit 0")


def deployed_run(prefect: SyncPrefectClient, topic: str) -> UUID:
    """Return a flow run as a deployment makes it."""
    step = {"prefect.deployments.steps.set_working_directory": {"directory": str(PROJECT_ROOT)}}
    deployment = prefect.create_deployment(
        prefect.create_flow(listen), name="test", entrypoint="flows.listen.listen", pull_steps=[step]
    )
    return prefect.create_flow_run_from_deployment(deployment, parameters={"topic": topic}).id


@pytest.mark.parametrize(("how", "state"), [("pod", "Completed"), ("cancel", "Cancelled")])
def test_a_run_of_a_deployment_drains_when_its_pod_goes_or_it_is_cancelled(
    start: Callable[..., ListenProcess],
    kafka: SharedKafka,
    postgres_warehouse: WarehouseUnderTest,
    prefect: SyncPrefectClient,
    monkeypatch: pytest.MonkeyPatch,
    measured: Measured,
    how: str,
    state: str,
) -> None:
    engine, topic = postgres_warehouse.engine, new_topic(kafka, PARTITIONS)
    load = Load(kafka, topic, PARTITIONS)
    run_id = deployed_run(prefect, topic)
    with load.coming():
        process = start(flow_run=run_id)
        assert process.wait_until_it_reads(engine) == run_id
        started = time.monotonic()
        if how == "pod":
            process.signal(signal.SIGTERM)
        else:
            prefect.set_flow_run_state(run_id, Cancelling())
            process.end()
    took = time.monotonic() - started
    run = prefect.read_flow_run(run_id)
    assert run.state
    assert run.state.name == state, process.output
    measured(f"{state} after {took:.1f} s")
    listen_here_as(monkeypatch, postgres_warehouse.url, kafka)
    assert_drained(engine, kafka, topic, load)


@pytest.mark.parametrize(
    ("away_s", "pause_s"),
    [
        pytest.param(8.0, 0.02, id="for seconds"),
        pytest.param(900.0, 1.0, id="for 15 minutes", marks=[pytest.mark.chaos, pytest.mark.timeout(1_800)]),
    ],
)
def test_the_data_go_on_while_prefect_is_away_and_the_run_can_be_cancelled_afterwards(
    start: Callable[..., ListenProcess],
    kafka: SharedKafka,
    postgres_warehouse: WarehouseUnderTest,
    prefect: SyncPrefectClient,
    server: dict[str, str],
    tmp_path: Path,
    measured: Measured,
    away_s: float,
    pause_s: float,
) -> None:
    engine, topic = postgres_warehouse.engine, new_topic(kafka, PARTITIONS)
    load, log = Load(kafka, topic, PARTITIONS, pause_s), tmp_path / "logs" / "dpa.log"
    port = int(re.findall(r":(\d+)/", server["PREFECT_API_URL"])[0])
    with Way(port) as way:
        there = server["PREFECT_API_URL"].replace(str(port), str(way.port))
        with load.coming():
            process = start("--topic", topic, PREFECT_API_URL=there)
            run_id = process.wait_until_it_reads(engine)
            way.cut()
            before = count(engine, "fact_transactions")
            time.sleep(away_s)
            process.wait_until(lambda: log.exists() and NO_ANSWER in log.read_text(encoding="utf-8"))
            process.wait_until(lambda: count(engine, "fact_transactions") > before)
            meanwhile = count(engine, "fact_transactions") - before
        process.wait_until(lambda: count(engine, "fact_transactions") == load.sent)
        way.restore()
        process.wait_until(lambda: f"| messages | {load.sent:,} |" in shown_of(prefect, run_id))
        prefect.set_flow_run_state(run_id, Cancelling())
        assert process.end() == 0, process.output
    state = prefect.read_flow_run(run_id).state
    assert state
    assert state.is_cancelled()
    assert str(state.message).startswith(f"told to stop; read {load.sent}, inserted {load.sent}, ")
    assert len(artifacts_of(prefect, run_id)) == 1
    assert log.read_text(encoding="utf-8").count(NO_ANSWER) == 1
    assert reconcile(engine) == []
    measured(f"{meanwhile} of {load.sent} messages loaded while Prefect was away for {away_s:.0f} s, doubled 0")


@pytest.mark.chaos
def test_a_listener_that_ends_while_prefect_is_away_ends_soon_if_clients_are_told_to_try_less(
    start: Callable[..., ListenProcess],
    kafka: SharedKafka,
    postgres_warehouse: WarehouseUnderTest,
    server: dict[str, str],
    measured: Measured,
) -> None:
    engine, topic = postgres_warehouse.engine, new_topic(kafka, PARTITIONS)
    port = int(re.findall(r":(\d+)/", server["PREFECT_API_URL"])[0])
    with Way(port) as way, Load(kafka, topic, PARTITIONS).coming():
        there = server["PREFECT_API_URL"].replace(str(port), str(way.port))
        process = start("--topic", topic, PREFECT_API_URL=there, PREFECT_CLIENT_MAX_RETRIES="1")
        process.wait_until_it_reads(engine)
        way.cut()
        ended = process.signal(signal.SIGTERM)
    assert ended.returncode == 1, ended.said
    assert committed_in_kafka(kafka, topic) == positions(engine)
    assert rows(engine, "SELECT DISTINCT state FROM stream_listeners") == [("completed",)]
    measured(f"ended {ended.seconds:.1f} s after it was told, without Prefect")


def probe(*options: str) -> int:
    return alive.main(["transactions", *options])


@pytest.mark.usefixtures("warehouse_here")
def test_a_loop_that_is_stuck_is_seen_by_the_probe(topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe() == 1
    stuck, go_on, receive = threading.Event(), threading.Event(), ListenerLoop._receive
    turns = itertools.count()

    def receive_once_stuck(loop: ListenerLoop) -> None:
        if next(turns) == 1:  # there is a second turn however soon all is read: the first one commits nothing
            stuck.set()
            go_on.wait(LIMIT_S)
        receive(loop)

    def look() -> list[int]:
        assert stuck.wait(LIMIT_S)
        at_once = probe("--max-age", AN_HOUR)
        wait_until(lambda: probe("--max-age", "1") == 1)
        later = probe("--max-age", AN_HOUR)
        go_on.set()
        return [at_once, later]

    monkeypatch.setattr(ListenerLoop, "_receive", receive_once_stuck)
    with ThreadPoolExecutor(1) as operator:
        seen = operator.submit(look)
        assert run_flow(topic=topic, at_end=True).is_completed()
    assert seen.result() == [0, 0]


def test_a_home_where_nothing_can_be_written_is_a_wrong_setting(warehouse_here: Engine, home: Path, topic: str) -> None:
    assert warehouse_here
    (home / "run").write_text("a file where a folder belongs")
    state = run_flow(topic=topic, at_end=True)
    assert state.is_failed()
    assert "no sign of life can be written" in str(state.message)


def test_a_prefect_that_fails_is_told_once_and_harms_nothing(
    warehouse_here: Engine, topic: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("no artifacts today")

    monkeypatch.setattr(heartbeat, "impatient_client", fail)
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.1)
    assert run_flow(topic=topic, at_end=True).is_completed()
    assert count(warehouse_here, "fact_transactions") == 1_000
    log = (home / "logs" / "dpa.log").read_text(encoding="utf-8")
    assert log.count("Prefect does not get the listener's state: RuntimeError: no artifacts today") == 1


def test_what_goes_wrong_in_any_thread_is_in_the_log_of_the_run(
    warehouse_here: Engine, topic: str, prefect: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise TransientError("not today")

    def fail_once(loader: StreamLoader, batch: MicroBatch) -> LoadCounts:
        return load(loader, batch) if next(tries) else fail()

    load, tries = StreamLoader.load, itertools.count()
    monkeypatch.setattr(StreamLoader, "load", fail_once)
    monkeypatch.setattr(session, "has_marks", fail)
    monkeypatch.setattr(session, "AGGREGATES_S", 0.1)
    monkeypatch.setattr(heartbeat, "emit_event", fail)
    state = run_flow(topic=topic, at_end=True)
    assert state.is_completed()
    for said in (
        f"{topic} waits: not today",  # the thread that commits
        "daily statistics: not today",
        "Prefect does not get the listener's state: TransientError: not today",
        f"{topic}: everything is read",  # the loop
    ):
        logged_within(prefect, run_of(prefect, state).id, said)
    assert count(warehouse_here, "fact_transactions") == 1_000


class SlotLost(BaseException):
    """What Prefect raises in the main thread when a concurrency slot is lost."""


def told_to_end_by(told: type[BaseException], work: Callable[[threading.Event], str]) -> str:
    """Do some work whose thread lets something be raised in this one."""
    stop = threading.Event()

    def handle(*_: object) -> None:
        raise told() if told is not TerminationSignal else TerminationSignal(signal.SIGTERM)

    def interrupted() -> str:
        signal.raise_signal(signal.SIGUSR1)
        return work(stop)

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        return stoppable.run_until_stopped(interrupted, stop, uuid4())
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_work_has_its_time_to_end_whatever_ends_the_run() -> None:
    drained = []

    def work(stop: threading.Event) -> str:
        assert stop.wait(LIMIT_S)
        drained.append(True)
        return "drained"

    assert told_to_end_by(TerminationSignal, work) == "drained"
    assert told_to_end_by(KeyboardInterrupt, work) == "drained"
    with pytest.raises(SlotLost):
        told_to_end_by(SlotLost, work)
    assert len(drained) == 3


def test_work_that_is_stuck_does_not_keep_the_run_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stoppable, "DRAIN_S", 0.5)
    go_on = threading.Event()

    def work(_: threading.Event) -> str:
        go_on.wait(LIMIT_S)
        return "never seen"

    assert told_to_end_by(TerminationSignal, work) == stoppable.UNDRAINED
    cancelled = threading.Event()
    cancelled.set()
    assert stoppable.run_until_stopped(lambda: work(cancelled), cancelled, uuid4()) == stoppable.UNDRAINED
    go_on.set()


def test_what_the_work_raises_is_raised() -> None:
    def work() -> str:
        raise sqlite3.Error("broken")

    with pytest.raises(sqlite3.Error, match="broken"):
        stoppable.run_until_stopped(work, threading.Event(), uuid4())
