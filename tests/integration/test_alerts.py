"""Alerts of a real Prefect server: the thing is made to happen, and the message arrives at a real receiver."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest
from prefect import Flow, State, tags
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect.events import emit_event
from prefect.events.schemas.automations import Automation, Posture
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Completed, Crashed, Failed
from pydantic import SecretStr
from typer.testing import CliRunner

from blocks.alert_channel import AlertChannel
from blocks.warehouse import Warehouse
from deployments import automations
from deployments.alert_commands import app as alert_commands
from deployments.automations import ALERTS, CHANNEL, SENDER, Alert
from deployments.local import POOL
from flows.listen import listen
from flows.load_nightly import load_nightly
from flows.watch import watch
from freight.care.overdue import Night
from freight.warehouse.migrate import migrate
from tasks import heartbeat
from tasks import load as steps
from tasks.overdue import overdue_nightlies
from tests.conftest import WarehouseUnderTest
from tests.lib.alerting import OwnPrefect, Receiver, own_prefect, receiving, run_of
from tests.lib.corridor import HEADER
from tests.lib.kafka import OwnKafka, new_topic
from tests.lib.postgres import PostgresServer
from tests.lib.streams import send
from tests.lib.vault import StandInVault
from tests.lib.waiting import LIMIT_S, wait_until

# What sends to Slack and the like imports a module that Python 3.13 drops.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")

SECRET = "canary-of-the-webhook"
PATIENCE = timedelta(seconds=60)  # far more than a busy server needs for one event
AGAIN_S = 5.0
QUIET_S = 20.0
KILLED, ORDERLY = "freight.transactions", "freight.terminal-events"
GOOD = "TRX-{},MCH-001,2026-03-14 10:00:00,30,OK"
BAD = "TRX-{},MCH-001,never,30,OK"
HOSTILE_NAME, HOSTILE_HEADER = "failed_<!channel> [click](evil).csv", "[x](http://evil.example)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("alerts")


@pytest.fixture(scope="module")
def own(folder: Path, migrated_prefect: Path) -> Iterator[OwnPrefect]:
    with own_prefect(folder, migrated_prefect) as made:
        yield made


@pytest.fixture
def prefect(own: OwnPrefect) -> Iterator[SyncPrefectClient]:
    with own.endpoint.client() as client:
        yield client


@pytest.fixture
def home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installation with catalogs whose load is healthy, degraded and failed."""
    monkeypatch.setenv("DPA_HOME", str(folder))
    monkeypatch.setenv("DPA_KAFKA_BOOTSTRAP", "127.0.0.1:9")  # where nobody answers: a listener waits
    monkeypatch.delenv("DPA_WAREHOUSE_URL", raising=False)
    for name, rows in {"healthy": [GOOD] * 9, "degraded": [GOOD] * 9 + [BAD]}.items():
        lines = [row.format(f"{len(name)}{number}") for number, row in enumerate(rows)]
        (folder / f"{name}_20260315.csv").write_text("\n".join([HEADER, *lines]), encoding="utf-8")
    (folder / HOSTILE_NAME).write_text(f"{HOSTILE_HEADER},date\n1,2\n", encoding="utf-8")
    for name in ("healthy", "degraded", "failed"):
        source = f"{{name: {name}, dataset: transactions, reader: csv, location: '{name}_*.csv'}}"
        (folder / f"{name}.yaml").write_text(f"sources: [{source}]", encoding="utf-8")
    steps.warehouse.cache_clear()
    migrate(steps.warehouse())
    yield folder
    steps.warehouse().dispose()
    steps.warehouse.cache_clear()


@pytest.fixture
def receiver(prefect: SyncPrefectClient) -> Iterator[Receiver]:
    """A receiver to which the alerts go, the patient ones after seconds; they are removed in the end."""
    with receiving(prefect, SECRET, [hasty(alert) for alert in ALERTS]) as made:
        yield made


def hasty(alert: Alert) -> Alert:
    if alert.trigger.posture == Posture.Reactive:
        return alert
    return replace(alert, trigger=alert.trigger.model_copy(update={"within": PATIENCE}))


def deploy(prefect: SyncPrefectClient, flow: Flow[Any, Any], entrypoint: str, **more: Any) -> UUID:
    flow_id = prefect.create_flow(flow)
    return prefect.create_deployment(flow_id, flow.name, entrypoint=entrypoint, tags=["dpa"], **more)


def run(flow: Flow[Any, Any], **parameters: Any) -> State[Any]:
    """Run a flow in this process, tagged as those of deployments are."""
    with tags("dpa"):
        state = flow(**parameters, return_state=True)
    assert isinstance(state, State)
    return state


def tell_of_stream(event: str, reason: str) -> None:
    resource = {"prefect.resource.id": f"dpa.stream.dpa.{ORDERLY}", "prefect.resource.name": ORDERLY}
    emit_event(event, resource, payload={"reason": reason})


def tell_of_pool(own: OwnPrefect, name: str, *states: str) -> None:
    """Tell of states in turn, each of which the server has judged before the next one."""
    place = f"prefect.work-pool.{uuid4()}"
    for state in states:
        while not is_judged(own, place, state):  # Prefect loses an event now and then while its database is busy
            emit_event(f"prefect.work-pool.{state}", {"prefect.resource.id": place, "prefect.resource.name": name})
            with suppress(AssertionError):
                wait_until(partial(is_judged, own, place, state), AGAIN_S)


def is_judged(own: OwnPrefect, pool: str, state: str) -> bool:
    return is_alarm_due(own, pool) == (state == "not-ready")


def is_alarm_due(own: OwnPrefect, resource: str) -> bool:
    """Whether the server will raise an alarm for a resource, unless another event calls it off."""
    query = "SELECT 1 FROM automation_bucket WHERE bucketing_key LIKE ? AND count < 1"
    with closing(sqlite3.connect(own.database, timeout=LIMIT_S)) as connection:
        return connection.execute(query, [f"%{resource}%"]).fetchone() is not None


def beats(prefect: Any, topic: str) -> int:
    wanted = {"event": {"name": [heartbeat.EVENT]}, "any_resource": {"id": [f"dpa.stream.dpa.{topic}"]}}
    return len(prefect.request("POST", "/events/filter", json={"filter": wanted}).json()["events"])


def deploy_nightly(prefect: SyncPrefectClient) -> UUID:
    """Deploy the nightly load with its schedule, but without a worker for it."""
    nightly = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 2 * * *", timezone="Africa/Douala"), active=True)
    return deploy(prefect, load_nightly, "flows.load_nightly.load_nightly", schedules=[nightly])


def age_deployments(own: OwnPrefect) -> None:
    """Make the deployments a week old, so that there were nights since."""
    with closing(sqlite3.connect(own.database, timeout=LIMIT_S)) as connection:
        connection.execute("UPDATE deployment SET created = datetime('now', '-7 days')")
        connection.commit()


def start_a_listener(own: OwnPrefect, prefect: SyncPrefectClient, **more: Any) -> psutil.Process:
    """Start a worker and a run of a listener, without those of earlier tests; return the worker."""
    with suppress(ObjectNotFound):
        prefect.delete_deployment(prefect.read_deployment_by_name("listen/listen").id)
    prefect.create_work_pool(WorkPoolCreate(name=POOL, type="process"), overwrite=True)
    where: dict[str, Any] = {"work_pool_name": POOL, "parameters": {"dataset": "transactions"}}
    deployment = deploy(prefect, listen, "flows.listen.listen", **where)
    worker = own.start_worker(**more)
    prefect.create_flow_run_from_deployment(deployment)
    return worker


def kill_the_listener(own: OwnPrefect, prefect: SyncPrefectClient, worker: psutil.Process) -> None:
    """Kill the listener when it has told of itself."""
    wait_until(lambda: beats(prefect, KILLED) > 0, told=own.worker_log)
    listener = run_of(worker)
    assert listener
    listener.kill()


def test_what_happens_is_told_once_and_what_is_well_is_not_told(
    own: OwnPrefect, prefect: SyncPrefectClient, receiver: Receiver, home: Path
) -> None:
    worker = start_a_listener(own, prefect)
    assert run(load_nightly, catalog=home / "healthy.yaml").is_completed()
    assert run(listen, dataset="terminal_events", max_run_s=1).is_completed()
    assert run(watch).is_completed()
    kill_the_listener(own, prefect, worker)

    degraded = run(load_nightly, catalog=home / "degraded.yaml")
    assert (degraded.is_completed(), degraded.name) == (True, "Degraded")
    for _ in range(3):  # the second time for another reason
        assert run(load_nightly, catalog=home / "failed.yaml").is_failed()
        (home / HOSTILE_NAME).unlink(missing_ok=True)
    (home / "failed_20260316.csv").write_text(f"{HEADER}\n{GOOD.format(990)}\n", encoding="utf-8")
    for name in ("Degraded", "Completed"):  # at first the other file is told as gone
        assert run(load_nightly, catalog=home / "failed.yaml").name == name
    for _ in range(2):
        assert run(watch, freshness_s={"transactions": 0}).name == "Overdue"
    for _ in range(2):
        tell_of_stream("dpa.listener.lost", "no sign of life for 45 s \x1b[2J\u202e<!channel>")
    tell_of_pool(own, "restarted", "not-ready", "ready")
    tell_of_pool(own, "flapping", "not-ready", "ready", "not-ready")
    tell_of_stream("dpa.stream.lagging", "120,000 messages wait for 10 minutes")

    told = receiver.wait_for("listen Crashed").body
    assert "Source: listen, transactions\nReason: " in told
    assert f"\nRun: listen {KILLED} " in told
    assert f" {own.endpoint.ui}/runs/flow-run/" in told
    worker.kill()  # which took its time to tell of the listener
    assert "Reason: no heartbeat since" in receiver.wait_for(f"nobody listens to {KILLED}").body
    assert "Reason: none of its workers" in receiver.wait_for(f"work pool {POOL} is not ready").body
    assert "QUARANTINE degraded: 1 of 10 rows" in receiver.wait_for("load-nightly is done, but degraded").body
    failed = receiver.wait_for("load-nightly Failed").body
    assert f"FAILED failed: {HOSTILE_NAME}, " in failed  # a webhook gets text as it is; others: test_alert_texts.py
    assert HOSTILE_HEADER not in failed  # it is no name of a column
    end = receiver.wait_for("load-nightly is well again").body
    assert ": 4, the last one with: 1 row read: 1 changed the warehouse, 0 quarantined; 1 gone" in end
    overdue = receiver.wait_for("transactions is overdue").body
    assert "\ntransactions: nothing was loaded since" in overdue
    assert f" {own.endpoint.ui}/runs/flow-run/" in overdue
    lost = receiver.wait_for(f"a listener of {ORDERLY} is lost").body
    assert r"Reason: no sign of life for 45 s \x1b[2J\u202e<!channel>" in lost
    assert "120,000 messages wait" in receiver.wait_for(f"{ORDERLY} is lagging").body
    assert receiver.wait_for("work pool flapping is not ready")
    subjects = Counter(told.subject for told in receiver.messages)
    assert len(subjects) == 10, "\n".join(subjects)
    # On a busy machine the worker may have been silent for a while before.
    repeated = {told: times for told, times in subjects.items() if times > 1 and POOL not in told}
    assert repeated == {"DPA: load-nightly Failed": 2, "DPA: load-nightly is done, but degraded": 2}
    assert SECRET not in own.said


def write_broken_files(home: Path) -> None:
    """Write two catalogs whose file is broken, each in another way."""
    for name, text in {"empty": HEADER, "lacking": "transaction_id\nT1"}.items():
        source = f"{{name: {name}, dataset: transactions, reader: csv, location: '{name}_*.csv'}}"
        (home / f"{name}.yaml").write_text(f"sources: [{source}]", encoding="utf-8")
        (home / f"{name}_20260315.csv").write_text(f"{text}\n", encoding="utf-8")


def fail_to_load(home: Path, server: PostgresServer, url: str) -> None:
    """Make loads fail for four reasons: a wrong block, broken files, other broken files, and a read-only warehouse."""
    for catalog, warehouse in (("healthy", "wrong"), ("empty", None), ("healthy", "wrong"), ("lacking", None)):
        assert run(load_nightly, catalog=home / f"{catalog}.yaml", warehouse=warehouse).is_failed()
    Warehouse(url=url).save("standby", overwrite=True)
    with server.read_only(url):
        assert run(load_nightly, catalog=home / "healthy.yaml", warehouse="standby").is_failed()


def mend_loads(home: Path, url: str) -> None:
    """End the failures of the warehouse."""
    Warehouse(url=url).save("wrong", overwrite=True)
    for warehouse in ("wrong", "standby"):
        assert run(load_nightly, catalog=home / "healthy.yaml", warehouse=warehouse).is_completed()


def end_the_late_night(prefect: SyncPrefectClient, nightly: UUID) -> None:
    late = prefect.create_flow_run_from_deployment(nightly)
    prefect.set_flow_run_state(late.id, Completed())
    assert run(watch).is_completed()
    prefect.delete_deployment(nightly)


def be_healthy(home: Path) -> None:
    """Run what has nothing to tell, and wait for what may arrive late."""
    for _ in range(2):
        assert run(load_nightly, catalog=home / "healthy.yaml").is_completed()
        assert run(watch).is_completed()
    sleep(QUIET_S)


@pytest.mark.chaos
@pytest.mark.timeout(1_800)
def test_eight_failures_within_minutes_are_told_with_their_reasons_and_their_ends(
    own: OwnPrefect,
    prefect: SyncPrefectClient,
    receiver: Receiver,
    home: Path,
    own_kafka: OwnKafka,
    postgres_server: PostgresServer,
    postgres_warehouse: WarehouseUnderTest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_broken_files(home)
    kafka = own_kafka()
    monkeypatch.setenv("DPA_KAFKA_BOOTSTRAP", kafka.bootstrap)
    new_topic(kafka, 1, name=KILLED)
    poisoned = new_topic(kafka, 1)
    send(kafka, poisoned, [b"poison"] * 200)
    assert run(load_nightly, catalog=home / "healthy.yaml").is_completed()
    nightly = deploy_nightly(prefect)
    age_deployments(own)

    began = monotonic()
    kafka.stop()
    worker = start_a_listener(own, prefect, bootstrap=kafka.bootstrap)
    fail_to_load(home, postgres_server, postgres_warehouse.url)
    for _ in range(2):
        assert run(watch).name == "Overdue"
    waits = receiver.wait_for(f"{KILLED} waits").body
    kafka.start()
    assert receiver.wait_for(f"{KILLED} goes on")
    assert run(listen, topic=poisoned, at_end=True, quarantine_limit=0.1).is_failed()
    kill_the_listener(own, prefect, worker)
    crashed = receiver.wait_for("listen Crashed").body
    worker.kill()
    assert monotonic() - began < automations.AGAIN.total_seconds()  # in which alerts could be taken for one
    assert receiver.wait_for(f"work pool {POOL} is not ready")
    assert receiver.wait_for(f"nobody listens to {KILLED}")

    mend_loads(home, postgres_warehouse.url)
    end_the_late_night(prefect, nightly)
    assert receiver.wait_for("watch is well again")
    be_healthy(home)
    failed = "\n".join(told.body for told in receiver.messages if told.subject == "DPA: load-nightly Failed")
    reasons = ("no Freight Warehouse block 'wrong'", "[header_only]", "[missing_column]", "read-only transaction")
    assert {reason: failed.count(reason) for reason in reasons} == dict.fromkeys(reasons, 1)
    assert "waiting: Kafka does not answer" in waits
    assert "200 of the last 200 messages are bad" in receiver.wait_for(f"listen, {poisoned} Failed").body
    assert "status code: -9" in crashed
    assert "no run ended since" in receiver.wait_for("load-nightly/load-nightly is overdue").body
    assert Counter(told.subject.removeprefix("DPA: ") for told in receiver.messages) == {
        "load-nightly Failed": 4,
        f"{KILLED} waits": 1,
        f"listen, {poisoned} Failed": 1,
        "load-nightly/load-nightly is overdue": 1,
        "listen Crashed": 1,
        f"nobody listens to {KILLED}": 1,
        f"work pool {POOL} is not ready": 1,
        f"{KILLED} goes on": 1,
        "load-nightly is well again": 2,
        "watch is well again": 1,
    }, receiver


@pytest.mark.chaos
@pytest.mark.timeout(1_200)
@pytest.mark.usefixtures("home")
def test_a_healthy_listener_raises_no_alarm_for_as_long_as_it_runs_nor_after_it(
    own: OwnPrefect, prefect: SyncPrefectClient, receiver: Receiver
) -> None:
    assert automations.apply(prefect).endswith("0 made, 2 changed, 0 removed")  # as patient as they really are
    start_a_listener(own, prefect)
    quiet_s = automations.SILENCE.total_seconds() + 60
    assert run(listen, dataset="terminal_events", max_run_s=quiet_s).is_completed()
    sleep(quiet_s)
    assert beats(prefect, KILLED) > quiet_s * 2 / heartbeat.BEAT_S - 2
    assert receiver.messages == []


def test_to_apply_again_changes_nothing_but_what_differs(prefect: SyncPrefectClient, receiver: Receiver) -> None:
    assert receiver
    there = ours(prefect)
    assert {found.name for found in there} == {f"DPA: {alert.name}" for alert in ALERTS}
    patient = automations.apply(prefect)
    assert patient == f"{len(ALERTS)} alerts go to the channel 'alerts': 0 made, 2 changed, 0 removed"
    assert automations.apply(prefect).endswith("0 made, 0 changed, 0 removed")
    assert {found.id for found in ours(prefect)} == {found.id for found in there}

    prefect.pause_automation(there[0].id)
    assert automations.apply(prefect, alerts=ALERTS[1:]).endswith("0 made, 0 changed, 1 removed")
    assert automations.apply(prefect).endswith("1 made, 0 changed, 0 removed")


def test_an_alert_that_was_switched_off_stays_off(prefect: SyncPrefectClient, receiver: Receiver) -> None:
    assert receiver
    automations.apply(prefect)
    (silent,) = (found for found in ours(prefect) if found.name == "DPA: a stream is silent")
    prefect.pause_automation(silent.id)
    assert automations.apply(prefect).endswith("0 made, 0 changed, 0 removed")
    assert not prefect.read_automation(silent.id).enabled  # type: ignore[union-attr]


def test_a_channel_of_another_kind_takes_the_place_and_the_old_key_is_forgotten(
    prefect: SyncPrefectClient, receiver: Receiver
) -> None:
    assert receiver
    slack = "https://hooks.slack.com/services/T0/B0/canary"
    AlertChannel(kind="slack", key=SecretStr(slack)).save(CHANNEL, overwrite=True)
    assert automations.apply(prefect).endswith(f"0 made, {len(ALERTS)} changed, 0 removed")
    documents = [found for found in prefect.read_block_documents(include_secrets=False) if found.name == SENDER]
    assert [found.block_type.slug for found in documents if found.block_type] == ["slack-webhook"]
    assert "canary" not in str(documents)


def test_the_commands_set_a_channel_and_try_it_and_say_what_is_missing(
    prefect: SyncPrefectClient, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prefect
    alerts = CliRunner()
    given = alerts.invoke(alert_commands, ["set", "webhook"], input=f"{receiver.url}\n", catch_exceptions=False)
    assert "alerts go to the channel 'alerts'" in given.output
    assert SECRET not in given.output
    monkeypatch.setenv("DPA_ALERT_KEY", receiver.url)
    assert "0 made" in alerts.invoke(alert_commands, ["set", "webhook"], catch_exceptions=False).output
    assert "A test alert is on its way" in alerts.invoke(alert_commands, ["try"]).output
    assert "this is a test of the alerts" in receiver.wait_for("this is how an alert arrives").body

    missing = alerts.invoke(alert_commands, ["apply", "--channel", "none"])
    assert "there is no Alert Channel block 'none'" in str(missing.exception)
    monkeypatch.setenv("DPA_HOME", str(tmp_path))
    for url, said in (
        (None, "no Prefect server is running here: make up"),
        ("http://127.0.0.1:9/api", "does not answer at http://127.0.0.1:9"),
    ):
        with temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}):
            assert said in str(alerts.invoke(alert_commands, ["try"]).exception)


def test_the_key_of_a_channel_may_stay_in_a_vault(
    prefect: SyncPrefectClient, receiver: Receiver, vault: StandInVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DPA_ALERT_KEY", "https://example.org/not-this-one")
    vault.set("alerts-key", receiver.url)
    wanted = ["set", "webhook", "--vault", vault.url]
    alone = CliRunner().invoke(alert_commands, wanted)
    assert "needs both --vault and --secret" in str(alone.exception)
    given = CliRunner().invoke(alert_commands, [*wanted, "--secret", "alerts-key"], catch_exceptions=False)
    assert f"{len(ALERTS)} alerts go to the channel" in given.output
    channel = prefect.read_block_document_by_name(CHANNEL, AlertChannel.get_block_type_slug())
    assert SECRET not in str(channel)
    CliRunner().invoke(alert_commands, ["try"], catch_exceptions=False)
    assert receiver.wait_for("this is how an alert arrives")


def test_a_nightly_is_overdue_if_it_is_scheduled_and_no_run_has_ended(
    own: OwnPrefect, prefect: SyncPrefectClient
) -> None:
    deployment = deploy_nightly(prefect)
    night = Night.before(datetime.now(UTC), time(2), time(4))
    assert overdue_nightlies(load_nightly.name, night) == []  # it was made after that night
    age_deployments(own)
    (found,) = overdue_nightlies(load_nightly.name, night)
    assert found.key == "nightly.load-nightly/load-nightly"
    assert found.reason.startswith("no run ended since 02:00, it was due by ")
    assert overdue_nightlies(listen.name, night) == []  # it has no schedule

    crashed, failed = (prefect.create_flow_run_from_deployment(deployment) for _ in range(2))
    prefect.set_flow_run_state(crashed.id, Crashed())
    assert len(overdue_nightlies(load_nightly.name, night)) == 1
    prefect.set_flow_run_state(failed.id, Failed())
    assert overdue_nightlies(load_nightly.name, night) == []


def ours(prefect: SyncPrefectClient) -> list[Automation]:
    found = prefect.read_automations()
    return [automation for automation in found if automations.TAG in automation.tags]
