"""One Prefect server for all flow tests, which one worker runs, and an installation folder for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from tasks import load as steps


@pytest.fixture(scope="session", autouse=True)
def _prefect_server() -> Iterator[None]:
    # Without heartbeats of its own, which DPA does not use: their thread makes each run of a flow a second longer.
    without = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with prefect_test_harness(server_startup_timeout=180), temporary_settings(without):
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
