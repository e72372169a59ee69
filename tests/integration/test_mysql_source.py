"""Tables of a MariaDB as sources: what is new, who proves who it is, and that nobody writes."""

import socketserver
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest
import sqlalchemy as sa

from freight import retry
from freight.care.reconcile import reconcile
from freight.databases import Database
from freight.errors import ConfigurationError, DpaError
from freight.pipeline import UnitOutcome
from freight.types import LoadCounts
from tests.conftest import WarehouseUnderTest, cannot_test
from tests.lib import mariadb
from tests.lib.certificates import write_certificates
from tests.lib.connections import KnownConnections
from tests.lib.corridor import Corridor
from tests.lib.mariadb import MariaDbServer

DAY = "2026-02-01"
TABLE = """
CREATE TABLE transactions (transaction_id VARCHAR(40), machine_id VARCHAR(20), date DATETIME(6),
volume_transferred DECIMAL(12, 3), status_code VARCHAR(10), updated_at DATETIME(6))
"""


@dataclass(frozen=True)
class Erp:
    """The database of an ERP, which we may write to here."""

    url: str
    engine: sa.Engine

    def do(self, *statements: str) -> None:
        """Run statements in one transaction."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def put(self, key: int, updated: str) -> None:
        """Insert a transaction, changed at a time of the day in Douala."""
        self.do(f"INSERT INTO transactions VALUES ('TRX-{key}', 'MCH-001', '{DAY} 08:00', 30, 'OK', '{DAY} {updated}')")

    def rows(self, table: str) -> int:
        """Count the rows of a table."""
        with self.engine.connect() as connection:
            return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificate of a server on 127.0.0.1, and of the authority that vouches for it."""
    folder = tmp_path_factory.mktemp("certificates")
    write_certificates(folder / "ca.pem", folder / "server.pem")
    return folder


@pytest.fixture(scope="module")
def server(certificates: Path) -> Iterator[MariaDbServer]:
    if not mariadb.is_there():
        cannot_test("no MariaDB server programs (mariadbd) on this machine: install the package 'mariadb-server'")
    with MariaDbServer(certificates / "server.pem") as server:
        yield server


@pytest.fixture
def erp(server: MariaDbServer) -> Iterator[Erp]:
    url = server.new_database()
    engine = sa.create_engine(url.replace("mysql:", "mysql+pymysql:"), poolclass=sa.NullPool)
    erp = Erp(url, engine)
    erp.do(TABLE)
    erp.put(1, "10:00")
    erp.put(2, "11:00")
    yield erp
    engine.dispose()


@pytest.fixture
def corridor(
    tmp_path: Path, erp: Erp, sqlite_warehouse: WarehouseUnderTest, monkeypatch: pytest.MonkeyPatch
) -> Corridor:
    """A corridor whose transactions are in the table of an ERP, with two rows in it."""
    monkeypatch.setattr(retry, "SOURCE", retry.RetryPolicy(first_pause_s=0.05, retries=4))
    corridor = Corridor(tmp_path, sqlite_warehouse.engine, connections=KnownConnections({"erp": erp.url}))
    corridor.add_connected("erp", "transactions", "sql", options={"table": "transactions", "watermark": "updated_at"})
    return corridor


def load(corridor: Corridor) -> UnitOutcome:
    """Load, and check that the ledger agrees with the tables."""
    (outcome,) = corridor.load().outcomes
    assert reconcile(corridor.engine) == []
    return outcome


def test_a_table_loads_once_and_then_what_is_new(corridor: Corridor, erp: Erp) -> None:
    assert load(corridor).counts == LoadCounts(read=2, inserted=2)
    assert load(corridor).state == "unchanged"
    erp.put(3, "11:30")
    assert load(corridor).counts == LoadCounts(read=3, inserted=1, unchanged=2)
    kept = corridor.rows("fact_transactions", "transaction_id", "transaction_at", "volume_transferred_t")
    assert sorted(kept)[0] == ("TRX-1", f"{DAY} 07:00:00.000000", 30.0)


def test_a_table_without_a_watermark_loads_as_a_whole(corridor: Corridor) -> None:
    del corridor.sources[0]["options"]["watermark"]
    assert load(corridor).counts == LoadCounts(read=2, inserted=2)
    assert load(corridor).state == "unchanged"


def test_names_that_need_quotes_are_names(corridor: Corridor, erp: Erp) -> None:
    erp.do("ALTER TABLE transactions RENAME TO `Ordres; 'du' ``jour`")
    corridor.sources[0]["options"]["table"] = "Ordres; 'du' `jour"
    assert load(corridor).counts == LoadCounts(read=2, inserted=2)


@pytest.mark.parametrize("engine", ["InnoDB", "MyISAM"])  # the second one takes nothing back
def test_a_view_that_writes_when_it_is_read_writes_nothing(corridor: Corridor, erp: Erp, engine: str) -> None:
    erp.do(
        f"CREATE TABLE readers (who VARCHAR(80)) ENGINE={engine}",
        "CREATE FUNCTION noted() RETURNS INTEGER BEGIN INSERT INTO readers VALUES (USER()); RETURN 30; END",
        "CREATE VIEW exported AS SELECT transaction_id, machine_id, date, noted() AS volume_transferred, status_code, "
        "updated_at FROM transactions",
    )
    corridor.sources[0]["options"]["table"] = "exported"
    outcome = load(corridor)
    assert (outcome.state, "READ ONLY transaction" in outcome.message) == ("failed", True), outcome
    assert erp.rows("readers") == 0
    with erp.engine.connect() as connection:
        connection.exec_driver_sql("SELECT * FROM exported").all()  # such as it is, it does write
        connection.commit()
    assert erp.rows("readers") == 2


@pytest.mark.parametrize("query", ["", "?init_command=SELECT 1"], ids=["as it is", "told otherwise"])
@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM transactions", "DROP TABLE transactions", "CREATE TABLE t (i INT)", "TRUNCATE TABLE transactions"],
)
def test_the_source_cannot_be_written_to(erp: Erp, statement: str, query: str) -> None:
    with pytest.raises(ConfigurationError, match="READ ONLY"), Database(erp.url + query).reading() as connection:
        connection.exec_driver_sql(statement)
    assert erp.rows("transactions") == 2


def test_one_state_is_read_whatever_is_written_meanwhile(erp: Erp) -> None:
    count = "SELECT count(*) FROM transactions"
    with Database(erp.url).reading() as connection:
        before = connection.exec_driver_sql(count).scalar_one()
        erp.put(3, "12:00")
        assert connection.exec_driver_sql(count).scalar_one() == before == 2
    assert erp.rows("transactions") == 3


def test_a_server_elsewhere_has_to_prove_who_it_is(
    erp: Erp, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freight.database_urls.is_loopback", lambda host: host == "127.0.0.1")
    elsewhere = erp.url.replace("127.0.0.1", "127.0.0.2")  # for which its certificate does not vouch
    told_otherwise = ("", f"?ssl_ca={certificates / 'ca.pem'}", "?ssl_check_hostname=true")
    for url in (f"{erp.url}?host=127.0.0.2", *(f"{elsewhere}{query}" for query in told_otherwise)):
        with pytest.raises(DpaError, match="certificate verify failed"), Database(url).reading():
            pass
    with Database(f"{erp.url}?ssl_ca={certificates / 'ca.pem'}").reading() as connection:
        assert connection.exec_driver_sql("SHOW STATUS LIKE 'Ssl_version'").one()[1].startswith("TLS")


def test_a_wrong_login_is_told_at_once_and_asked_for_once_more(erp: Erp) -> None:
    asked: list[bool] = []

    def password(*, fresh: bool = False) -> str:
        asked.append(fresh)
        return "canary"

    with pytest.raises(ConfigurationError, match="Access denied") as refused, Database(erp.url, password).reading():
        pass
    assert "canary" not in str(refused.value)
    assert asked == [False, True]


OK = b"\0\0\0\2\0\0\0"


class AsksForAFile(socketserver.BaseRequestHandler):
    """Says it is a MySQL, and answers a question by asking for a file of whoever asked."""

    GREETING = (
        b"\x0a8.0.36\0" + b"\1\0\0\0" + b"12345678\0" + b"\xff\xf7" + b"\x21" + b"\2\0" + b"\x0f\x80" + b"\x15"
        + b"\0" * 10 + b"123456789012\0" + b"mysql_native_password\0"
    )  # fmt: skip
    wanted = b""
    heard = b""

    def handle(self) -> None:
        self.request.settimeout(20)
        self._send(0, self.GREETING)
        self.request.recv(65_536)
        self._send(2, OK)
        self.request.recv(65_536)  # names of characters, about which no client looks at the answer
        self._send(1, OK)
        self.request.recv(65_536)
        self._send(1, b"\xfb" + self.wanted)
        type(self).heard += self.request.recv(65_536)

    def _send(self, number: int, body: bytes) -> None:
        self.request.sendall(len(body).to_bytes(3, "little") + bytes([number]) + body)


@contextmanager
def asking_for(path: Path) -> Iterator[int]:
    """Serve at a port that is given."""
    AsksForAFile.wanted = str(path).encode()
    with socketserver.TCPServer(("127.0.0.1", 0), AsksForAFile) as server, ThreadPoolExecutor(1) as thread:
        thread.submit(server.serve_forever)
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()


def test_a_server_that_asks_for_a_file_of_ours_gets_none(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("canary")
    with asking_for(path) as port:
        url = f"mysql://erp@127.0.0.1:{port}/erp?ssl_disabled=true&local_infile=1"
        with pytest.raises(RuntimeError, match="local_infile option is false"), Database(url).reading():
            pass  # which is contained: the source fails alone
        assert b"canary" not in AsksForAFile.heard
        with pytest.raises(pymysql.Error):  # a client that lets it does send the file
            pymysql.connect(host="127.0.0.1", port=port, user="erp", local_infile=True, init_command="SELECT 1")
    assert b"canary" in AsksForAFile.heard
