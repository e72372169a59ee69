"""Fixtures that every test may use: warehouses on both engines, and a real PostgreSQL that starts itself."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from freight.warehouse.connect import Engine, open_engine
from freight.warehouse.migrate import migrate
from tests.lib.postgres import PostgresServer, server_programs

Measured = Callable[[str], None]


@dataclass(frozen=True)
class WarehouseUnderTest:
    """A migrated, empty warehouse."""

    engine: Engine
    url: str


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    if server_programs() is None:
        reason = "no PostgreSQL server programs (initdb) on this machine: install the package 'postgresql'"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def sqlite_warehouse(tmp_path: Path) -> Iterator[WarehouseUnderTest]:
    url = f"sqlite:///{(tmp_path / 'database' / 'warehouse.sqlite').as_posix()}"
    yield from _migrated(url)


@pytest.fixture
def postgres_warehouse(postgres_server: PostgresServer) -> Iterator[WarehouseUnderTest]:
    yield from _migrated(postgres_server.new_database())


def _migrated(url: str) -> Iterator[WarehouseUnderTest]:
    engine = open_engine(url)
    migrate(engine)
    yield WarehouseUnderTest(engine, url)
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def warehouse(request: pytest.FixtureRequest) -> WarehouseUnderTest:
    """The same test on both engines."""
    name = {"sqlite": "sqlite_warehouse", "postgresql": "postgres_warehouse"}[request.param]
    found = request.getfixturevalue(name)
    assert isinstance(found, WarehouseUnderTest)
    return found


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    """Note figures that a test has measured; they close the output of the test run."""
    return lambda figures: record_property("measured", figures)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have measured."""
    for report in terminalreporter.getreports("passed"):
        for _, figures in report.user_properties:
            terminalreporter.line(f"{report.nodeid.rpartition('::')[2]}: {figures}")


class FlowsTogether(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out single tests, but those of the flows to one worker: its Prefect server takes seconds to start.

    Marks of `xdist_group` do not do it: pytest 9.2 ignores the names that pytest-xdist 3.8 gives to marked tests.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "flows" if nodeid.startswith("tests/flows/") else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FlowsTogether:
    """Distribute the tests over the workers."""
    return FlowsTogether(config, log)
