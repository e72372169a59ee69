"""One Prefect server for all flow tests, and an installation folder for each."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from prefect.context import _temporary_global_settings_context, get_settings_context
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.listen import listen
from freight.settings import PROJECT_ROOT
from freight.warehouse.migrate import migrate
from tasks import load as steps
from tests.lib.kafka import new_topic
from tests.lib.kafka_under_test import SharedKafka
from tests.lib.keeper import TestRun
from tests.lib.streams import send

NewTopic = Callable[[Sequence[bytes]], str]


@pytest.fixture(scope="session", autouse=True)
def _prefect_server(this_run: TestRun) -> Iterator[None]:
    # Without heartbeats of its own, which DPA does not use: their thread makes each run of a flow a second longer.
    ours = {PREFECT_API_URL: this_run.server("prefect")["api"], PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(ours), _temporary_global_settings_context(get_settings_context()):  # of all threads
        yield


@pytest.fixture
def server() -> dict[str, str]:
    """The environment of a process that shall use the server of the tests: it would start one of its own."""
    return {"PREFECT_API_URL": PREFECT_API_URL.value()}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installation of its own, with an embedded warehouse."""
    monkeypatch.setenv("DPA_HOME", str(tmp_path))
    for name in ("DPA_WAREHOUSE_URL", "DPA_KAFKA_BOOTSTRAP"):
        monkeypatch.delenv(name, raising=False)
    steps.warehouse.cache_clear()
    yield tmp_path
    steps.warehouse().dispose()
    steps.warehouse.cache_clear()


@pytest.fixture
def topic_of(home: Path, kafka: SharedKafka, monkeypatch: pytest.MonkeyPatch) -> NewTopic:
    """Makes a topic of messages that this installation, with the product's catalog, has read."""
    monkeypatch.setenv("DPA_KAFKA_BOOTSTRAP", kafka.bootstrap)
    (home / "catalog.yaml").write_text((PROJECT_ROOT / "catalog.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    migrate(steps.warehouse())

    def make(messages: Sequence[bytes]) -> str:
        topic = new_topic(kafka, 1)
        send(kafka, topic, messages)
        assert listen(topic=topic, at_end=True, return_state=True).is_completed()
        return topic

    return make
