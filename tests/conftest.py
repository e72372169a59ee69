"""Fixtures that every test may use: warehouses on both engines; a PostgreSQL, a Kafka, an Azurite and a browser."""

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from blocks import key_vault
from freight.demo.local_kafka import fetch_broker, why_not
from freight.errors import ConfigurationError
from freight.readers.access_jars import fetch_access
from freight.settings import load_settings
from freight.warehouse.connect import Engine, open_engine
from freight.warehouse.migrate import migrate
from tests.lib.access import AccessWriter
from tests.lib.azurite import Azurite, OwnAzurite, fetch_azurite
from tests.lib.azurite import why_not as why_no_azurite
from tests.lib.browser import Browser, browsing
from tests.lib.browser import why_not as why_no_browser
from tests.lib.examples import register_profiles
from tests.lib.kafka import OwnKafka
from tests.lib.kafka_under_test import KafkaUnderTest, SharedKafka
from tests.lib.keeper import KAFKA_JARS, TestRun
from tests.lib.parsing import parsed_here
from tests.lib.postgres import PostgresServer, server_programs
from tests.lib.stream_reader import Reader
from tests.lib.vault import StandInVault

register_profiles()

NewReader = Callable[..., Reader]
Measured = Callable[[str], None]


@dataclass(frozen=True)
class WarehouseUnderTest:
    """A migrated, empty warehouse."""

    engine: Engine
    url: str


@pytest.fixture(autouse=True)
def _parsing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Parse files in this process, unless a test needs a parser apart."""
    with nullcontext() if request.node.get_closest_marker("apart") else parsed_here():
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker whose run it works for."""
    node.workerinput["run_pid"] = os.getpid()


@pytest.fixture(scope="session")
def this_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TestRun:
    """The run of tests, with the servers that its workers share."""
    own, told = tmp_path_factory.getbasetemp(), getattr(request.config, "workerinput", None)
    return TestRun(told["run_pid"], own.parent) if told else TestRun(os.getpid(), own)


@pytest.fixture(scope="session")
def postgres_server(this_run: TestRun) -> PostgresServer:
    """A PostgreSQL for tests that leave it as it is; each makes databases, and roles, of its own."""
    if server_programs() is None:
        cannot_test("no PostgreSQL server programs (initdb) on this machine: install the package 'postgresql'")
    where = this_run.server("postgres")
    return PostgresServer(Path(where["folder"]), port=where["port"])


def cannot_test(reason: str) -> NoReturn:
    """Skip a test that this machine lacks something for; the machine of the CI must have it."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(f"NOT TESTED: {reason}")


@pytest.fixture(scope="session")
def kafka_jars() -> Path:
    """The jars of Apache Kafka, which all workers and later runs share."""
    try:
        jars = fetch_broker(KAFKA_JARS)
    except ConfigurationError as error:
        cannot_test(str(error))
    return jars or cannot_test(why_not(KAFKA_JARS))


@pytest.fixture(scope="session")
def access_writer() -> AccessWriter:
    """Writes MS Access files; what reads them is then there, too."""
    try:
        return AccessWriter(fetch_access(load_settings().access))
    except ConfigurationError as error:
        cannot_test(str(error))


@pytest.fixture(scope="session")
def kafka(kafka_jars: Path, this_run: TestRun) -> SharedKafka:
    """An Apache Kafka for tests that leave it as it is; each makes topics, groups and users of its own."""
    assert kafka_jars
    return SharedKafka.at(this_run.server("kafka"))


@pytest.fixture
def own_kafka(kafka_jars: Path, tmp_path: Path) -> Iterator[OwnKafka]:
    """Starts an Apache Kafka for this test alone, which may crash or freeze it."""
    with ExitStack() as at_the_end:

        def start(options: Mapping[str, str] | None = None) -> KafkaUnderTest:
            broker = KafkaUnderTest(kafka_jars, tmp_path / "kafka", options=options)
            at_the_end.callback(broker.crash)
            broker.start()
            return broker

        yield start


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file to copy, since the migrations take longer than most tests."""
    path = tmp_path_factory.mktemp("migrated") / "warehouse.sqlite"
    _migrate(_sqlite_url(path))
    return path


@pytest.fixture(scope="session")
def migrated_database(postgres_server: PostgresServer) -> str:
    """The URL of a migrated, empty database to copy."""
    url = postgres_server.new_database()
    _migrate(url)
    return url


@pytest.fixture(scope="session")
def migrated_prefect(this_run: TestRun) -> Path:
    """A migrated, empty database of Prefect to copy, since its migrations take seconds."""
    return Path(this_run.server("prefect")["database"])


@pytest.fixture(scope="session")
def azurite_programs() -> Path:
    """Azurite, which all workers and later runs share."""
    if reason := why_no_azurite():
        cannot_test(reason)
    try:
        return fetch_azurite()
    except subprocess.SubprocessError as error:
        cannot_test(f"npm could not fetch Azurite, check the network: {error}")


@pytest.fixture(scope="session")
def azurite(azurite_programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """An Azure Blob for tests that leave it as it is; each makes containers of its own."""
    with Azurite(azurite_programs, tmp_path_factory.mktemp("azurite")) as azurite:
        yield azurite


@pytest.fixture
def own_azurite(azurite_programs: Path, tmp_path: Path) -> Iterator[OwnAzurite]:
    """Starts an Azure Blob for this test alone, which may stop it."""
    with ExitStack() as at_the_end:
        yield lambda secure=False: at_the_end.enter_context(
            Azurite(azurite_programs, tmp_path / "azurite", secure=secure)
        )


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A headless Chromium that remembers nothing."""
    if reason := why_no_browser():
        cannot_test(reason)
    with browsing(tmp_path) as browser:
        yield browser


@pytest.fixture
def sqlite_warehouse(tmp_path: Path, migrated_file: Path) -> Iterator[WarehouseUnderTest]:
    path = tmp_path / "database" / "warehouse.sqlite"
    path.parent.mkdir()
    shutil.copyfile(migrated_file, path)
    yield from _opened(_sqlite_url(path))


@pytest.fixture
def postgres_warehouse(postgres_server: PostgresServer, migrated_database: str) -> Iterator[WarehouseUnderTest]:
    yield from _opened(postgres_server.new_database(migrated_database))


def _sqlite_url(path: Path) -> str:
    return f"sqlite:///{path.as_posix()}"


def _migrate(url: str) -> None:
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()


def _opened(url: str) -> Iterator[WarehouseUnderTest]:
    engine = open_engine(url)
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
def new_reader(warehouse: WarehouseUnderTest) -> Iterator[NewReader]:
    """Makes readers, and closes their connections."""
    made: list[Reader] = []

    def make(group: str = "dpa", dataset: str = "transactions", day_first: bool | None = None) -> Reader:
        made.append(Reader(warehouse.url, group, dataset, day_first))
        return made[-1]

    yield make
    for reader in made:
        reader.engine.dispose()


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInVault]:
    """A Key Vault that the blocks of this process ask."""
    with StandInVault(tmp_path) as vault:
        monkeypatch.setattr(key_vault, "client_options", vault.client_options)
        yield vault


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    """Note figures that a test has measured; they close the output of the test run."""
    return lambda figures: record_property("measured", figures)


def pytest_configure() -> None:
    """Let modules be compiled once: the processes of tests import ours hundreds of times."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    gc.disable()  # what is imported and collected stays


@pytest.hookimpl(tryfirst=True)  # before that of pytest-xdist, which ends the search for hooks
def pytest_runtestloop() -> None:
    """Search for garbage seldom, and only in what tests make: modules and tests are half a million objects."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have measured."""
    for report in terminalreporter.getreports("passed"):
        for _, figures in report.user_properties:
            terminalreporter.line(f"{report.nodeid.rpartition('::')[2]}: {figures}")


SHARING = ("tests/checkouts/", "tests/integration/test_alerts.py", "tests/integration/test_attacking_apis.py")
SHOWN = ("tests/flows/test_readme.py", "tests/flows/test_add_a_source.py")


class FlowsTogether(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out single tests, but those of the flows to one worker: its Prefect server takes seconds to start.

    What the documents show of flows goes to another worker with a server of its own: all in one would last longest.
    But all listeners of the usual group stay in one worker: those of another one would share their topics.
    Those of some files go together, too, since they share a copy of the repository, a server or a process of their own.

    Marks of `xdist_group` do not do it: pytest 9.2 ignores the names that pytest-xdist 3.8 gives to marked tests.
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith("tests/flows/"):
            return "shown" if nodeid.startswith(SHOWN) else "flows"
        return nodeid.partition("::")[0] if nodeid.startswith(SHARING) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FlowsTogether:
    """Distribute the tests over the workers."""
    return FlowsTogether(config, log)
