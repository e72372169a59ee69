"""Tables of a PostgreSQL and of an SQLite as sources: what is new by a watermark, or all of it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mssql

from freight import databases, retry
from freight.care.reconcile import reconcile
from freight.contracts import contract_for, contracts
from freight.contracts.contract import Drift
from freight.databases import Database, log_in, translate
from freight.errors import ConfigurationError, DpaError, TransientError
from freight.pipeline import RunReport, UnitOutcome, extract_unit, load_conformed, steps
from freight.readers import Place, sql_table
from freight.readers.sql_table import SqlOptions, TableDelivery, TableRows, _Now, _Table, _Window
from freight.readers.watermarks import note
from freight.types import BatchId, Fingerprint, LoadCounts, Position
from freight.warehouse.connect import reading
from freight.warehouse.explain import explain
from tests.conftest import Measured, WarehouseUnderTest
from tests.lib.connections import KnownConnections, keep_databases
from tests.lib.corridor import NOW, Corridor
from tests.lib.kills import Death, LoadProcess
from tests.lib.postgres import PostgresServer
from tests.lib.tables import content_of, empty

COLUMNS = "transaction_id, machine_id, date, volume_transferred, status_code, updated_at"
TYPES = {
    "sqlite": {"instant": "DATETIME", "amount": "NUMERIC"},
    "postgresql": {"instant": "TIMESTAMP WITH TIME ZONE", "amount": "NUMERIC(12, 3)"},
}
DAY = "2026-02-01"
# For what does not depend on the kind of source.
on_postgresql = pytest.mark.parametrize("erp", ["postgresql"], indirect=True)


@dataclass(frozen=True)
class Erp:
    """The database of an ERP, which we may write to here."""

    url: str
    engine: sa.Engine

    @property
    def kind(self) -> str:
        return self.engine.dialect.name

    def do(self, *statements: str) -> None:
        """Run statements in one transaction."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def make_table(self, name: str = "transactions") -> None:
        """Make the table of transactions."""
        instant, amount = TYPES[self.kind]["instant"], TYPES[self.kind]["amount"]
        self.do(
            f"CREATE TABLE {name} (transaction_id VARCHAR(40), machine_id VARCHAR(20), date {instant}, "
            f"volume_transferred {amount}, status_code VARCHAR(10), updated_at {instant}, clerk VARCHAR(20))"
        )

    def put(self, key: int, updated: str | None, volume: float = 30, table: str = "transactions") -> None:
        """Insert a transaction, changed at a time of the day."""
        at = "NULL" if updated is None else f"'{updated if '-' in updated else f'{DAY} {updated}'}+00:00'"
        self.do(
            f"INSERT INTO {table} ({COLUMNS}) "
            f"VALUES ('TRX-{key}', 'MCH-001', '{DAY} 08:00:00+00:00', {volume}, 'OK', {at})"
        )


@pytest.fixture(params=["sqlite", "postgresql"])
def erp(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Erp]:
    """The same test on both kinds of source."""
    if request.param == "sqlite":
        url = made = f"sqlite:///{(tmp_path / 'erp 100% #1.sqlite').as_posix()}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.new_database()
        made = url.replace("postgresql://", "postgresql+psycopg://")
    engine = sa.create_engine(made, poolclass=sa.NullPool)
    yield Erp(url, engine)
    engine.dispose()


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for policy in ("STEP", "SOURCE"):
        monkeypatch.setattr(retry, policy, retry.RetryPolicy(first_pause_s=0.05, retries=4))


@pytest.fixture
def corridor(tmp_path: Path, erp: Erp, sqlite_warehouse: WarehouseUnderTest) -> Corridor:
    """A corridor whose transactions are in the table of an ERP, with two rows in it."""
    corridor = Corridor(tmp_path, sqlite_warehouse.engine, connections=KnownConnections({"erp": erp.url}))
    corridor.add_connected(
        "azure", "transactions", "sql", options={"table": "transactions", "watermark": "updated_at", "overlap_s": 600}
    )
    erp.make_table()
    erp.put(1, "10:00:00")
    erp.put(2, "11:00:00")
    return corridor


def only(report: RunReport) -> UnitOutcome:
    (outcome,) = report.outcomes
    return outcome


def load(corridor: Corridor) -> UnitOutcome:
    """Load, and check that the ledger agrees with the tables."""
    outcome = only(corridor.load())
    assert reconcile(corridor.engine) == []
    return outcome


def stored(corridor: Corridor) -> dict[str, Any]:
    return dict(corridor.rows("fact_transactions", "transaction_id", "volume_transferred_t"))


def test_a_table_loads_once_and_then_what_is_new_with_the_overlap(corridor: Corridor, erp: Erp) -> None:
    assert load(corridor).counts == LoadCounts(read=2, inserted=2)
    assert load(corridor) == UnitOutcome("azure", "erp/transactions", "unchanged", message="loaded before")
    erp.put(3, "11:05:00")
    erp.do(
        f"UPDATE transactions SET volume_transferred = 31, updated_at = '{DAY} 12:00:00+00:00' WHERE machine_id = "
        "'MCH-001' AND transaction_id = 'TRX-1'"
    )
    assert load(corridor).counts == LoadCounts(read=3, inserted=1, updated=1, unchanged=1)
    assert stored(corridor) == {"TRX-1": 31.0, "TRX-2": 30.0, "TRX-3": 30.0}
    assert load(corridor).state == "unchanged"


@pytest.mark.parametrize("policy", ["freeze", "quarantine"])
def test_a_column_that_was_renamed_is_told_by_its_name_and_nothing_is_passed_over(
    corridor: Corridor, erp: Erp, monkeypatch: pytest.MonkeyPatch, policy: Drift
) -> None:
    load(corridor)
    erp.do("ALTER TABLE transactions RENAME COLUMN volume_transferred TO volumes")
    erp.do(f"UPDATE transactions SET updated_at = '{DAY} 12:00:00+00:00'")
    monkeypatch.setitem(contracts(), "transactions", replace(contract_for("transactions"), drift=policy))
    outcome = load(corridor)
    assert outcome.state == "failed"
    assert "'volumes' seems to be the new header of 'volume_transferred_t', by its name" in outcome.message
    assert "the last one loaded read 'transaction_id', 'machine_id', 'date', 'volume_transferred'" in outcome.message
    assert "aliases of 'volume_transferred_t' in freight/contracts/transactions.py, then `dpa retry`" in outcome.message
    assert corridor.rows("quarantine", "reason", "1") == []


def test_a_row_that_comes_late_is_loaded_within_the_overlap(corridor: Corridor, erp: Erp) -> None:
    load(corridor)
    erp.put(3, "10:55:00")
    assert load(corridor).counts == LoadCounts(read=2, inserted=1, unchanged=1)
    assert load(corridor).state == "unchanged"
    erp.put(5, "11:20:00")
    erp.put(6, "10:50:00")
    assert load(corridor).counts == LoadCounts(read=4, inserted=2, unchanged=2)


def test_rows_without_a_watermark_are_loaded_and_named(corridor: Corridor, erp: Erp) -> None:
    erp.put(3, None)
    outcome = load(corridor)
    assert outcome.counts == LoadCounts(read=3, inserted=3)
    assert outcome.message == "1 row without updated_at, read with every load: have it filled in"
    assert load(corridor).state == "unchanged"
    erp.put(4, None)
    assert load(corridor).counts == LoadCounts(read=3, inserted=1, unchanged=2)


@on_postgresql
def test_a_table_of_rows_without_a_watermark_loads(corridor: Corridor, erp: Erp) -> None:
    erp.do("UPDATE transactions SET updated_at = NULL")
    assert load(corridor).counts == LoadCounts(read=2, inserted=2)
    assert load(corridor).state == "unchanged"


def test_a_row_from_the_future_waits_and_hides_none_that_comes_before_it(corridor: Corridor, erp: Erp) -> None:
    erp.put(3, "2999-01-01 00:00:00")
    outcome = load(corridor)
    assert (outcome.counts.inserted, outcome.message) == (
        2,
        "1 row with a updated_at in the future, to be read then",
    )
    erp.put(4, "12:00:00")
    assert load(corridor).counts == LoadCounts(read=2, inserted=1, unchanged=1)
    assert stored(corridor).keys() == {"TRX-1", "TRX-2", "TRX-4"}


@on_postgresql
def test_a_table_that_was_restored_is_read_from_the_beginning(corridor: Corridor, erp: Erp) -> None:
    load(corridor)
    erp.do("DELETE FROM transactions WHERE transaction_id = 'TRX-2'")
    erp.put(3, "10:10:00")
    outcome = load(corridor)
    assert outcome.counts == LoadCounts(read=2, inserted=1, unchanged=1)
    assert "updated_at is behind the loaded rows" in outcome.message
    assert load(corridor).state == "unchanged"


@on_postgresql
def test_an_empty_table_has_nothing_new(corridor: Corridor, erp: Erp) -> None:
    erp.do("DELETE FROM transactions")
    assert load(corridor).state == "unchanged"
    erp.put(1, "10:00:00")
    assert load(corridor).counts == LoadCounts(read=1, inserted=1)


def test_a_growing_number_is_a_watermark_too_and_another_column_begins_anew(corridor: Corridor, erp: Erp) -> None:
    erp.do("ALTER TABLE transactions ADD COLUMN change_number INTEGER", "UPDATE transactions SET change_number = 7")
    corridor.sources[0]["options"]["watermark"] = "change_number"
    assert load(corridor).counts == LoadCounts(read=2, inserted=2)
    erp.put(3, "10:00:00")
    erp.do("UPDATE transactions SET change_number = 8 WHERE change_number IS NULL")
    assert load(corridor).counts == LoadCounts(read=3, inserted=1, unchanged=2)
    corridor.sources[0]["options"]["watermark"] = "updated_at"
    assert load(corridor).counts == LoadCounts(read=3, unchanged=3)
    assert load(corridor).state == "unchanged"


@on_postgresql
@pytest.mark.parametrize("odd", ["infinity", "-infinity", "0044-03-15 12:00:00+00 BC", "12026-02-01 00:00:00+00"])
@pytest.mark.parametrize("column", ["date", "updated_at"])
def test_a_time_of_no_calendar_quarantines_its_row_alone(corridor: Corridor, erp: Erp, odd: str, column: str) -> None:
    erp.put(3, "10:30:00")
    erp.do(f"UPDATE transactions SET {column} = '{odd}' WHERE transaction_id = 'TRX-3'")
    corridor.sources[0]["quarantine_limit"] = 0.9
    quarantined = int(column == "date")  # the contract does not know the other one
    assert load(corridor).counts == LoadCounts(read=3, inserted=3 - quarantined, quarantined=quarantined)
    assert load(corridor).state == "unchanged"
    erp.put(4, "11:00:01")
    outcome = load(corridor)
    assert outcome.counts.inserted == 1
    assert ("with a updated_at such as infinity" in outcome.message) == (column == "updated_at")


@pytest.mark.parametrize("erp", ["sqlite"], indirect=True)
@pytest.mark.parametrize("odd", ["infinity", "-0044-03-15", "12026-02-01", "unknown"])
def test_a_text_that_is_no_time_is_no_watermark_among_times(corridor: Corridor, erp: Erp, odd: str) -> None:
    erp.put(3, "10:30:00")
    erp.do(f"UPDATE transactions SET updated_at = '{odd}' WHERE transaction_id = 'TRX-3'")
    assert load(corridor).counts == LoadCounts(read=3, inserted=3)
    erp.put(4, "11:00:01")
    assert load(corridor).counts.inserted == 1


def test_a_row_that_commits_out_of_the_order_of_its_number_is_loaded(corridor: Corridor, erp: Erp) -> None:
    erp.do("ALTER TABLE transactions ADD COLUMN change_number INTEGER", "UPDATE transactions SET change_number = 2000")
    corridor.sources[0]["options"] |= {"watermark": "change_number", "overlap": 1_000}
    outcome = load(corridor)
    assert outcome.counts == LoadCounts(read=2, inserted=2)
    assert "change_number is not a time: a row that commits more than 1000 behind the highest one" in outcome.message
    erp.put(3, "10:00:00")
    erp.do("UPDATE transactions SET change_number = 1000 WHERE transaction_id = 'TRX-3'")
    assert load(corridor).counts == LoadCounts(read=3, inserted=1, unchanged=2)
    assert load(corridor).state == "unchanged"


def test_rows_of_a_clock_that_went_back_are_loaded_and_named(corridor: Corridor, erp: Erp) -> None:
    assert load(corridor).counts == LoadCounts(read=2, inserted=2)
    erp.put(3, "08:00:00")
    outcome = load(corridor)
    assert outcome.counts == LoadCounts(read=3, inserted=1, unchanged=2)
    assert "1 row came with a updated_at before the overlap, so the whole table is read again" in outcome.message
    assert load(corridor).state == "unchanged"
    erp.do("DELETE FROM transactions WHERE transaction_id IN ('TRX-1', 'TRX-3')")
    assert load(corridor).counts == LoadCounts(read=1, unchanged=1)


MANY = [2, pytest.param(100, marks=[pytest.mark.chaos, pytest.mark.timeout(1_800)], id="100 tables")]
OVERLAPS = {"updated_at": 600, "change_number": 50}


@pytest.mark.parametrize("watermark", OVERLAPS)
@pytest.mark.parametrize("tables", MANY)
def test_every_row_of_a_drawn_table_is_loaded_once(
    corridor: Corridor, erp: Erp, measured: Measured, watermark: str, tables: int
) -> None:
    """Rows commit out of the order of their watermarks, some have the same one, none, or one of no calendar."""
    rows = 0
    for seed in range(tables):
        table, chance = f"moves_{seed}", Random(seed)
        erp.make_table(table)
        erp.do(f"ALTER TABLE {table} ADD COLUMN change_number INTEGER")
        corridor.sources[0]["options"] = {"table": table, "watermark": watermark, "overlap_s": 600, "overlap": 50}
        drawn = drawn_marks(chance, watermark, erp.kind)
        for part in range(0, len(drawn), 8):
            for number, mark in drawn[part : part + 8]:
                key = 1_000 * seed + number
                erp.put(key, None, table=table)
                erp.do(f"UPDATE {table} SET {watermark} = {mark} WHERE transaction_id = 'TRX-{key}'")
            outcome = only(corridor.load())
            assert outcome.state == "loaded", outcome
        rows += len(drawn)
        assert len(corridor.rows("fact_transactions", "transaction_id", order_by="1")) == rows, seed
    assert reconcile(corridor.engine) == []
    measured(f"{tables} tables by {watermark} on {erp.kind}, {rows} rows, lost 0, doubled 0")


def drawn_marks(chance: Random, watermark: str, kind: str) -> list[tuple[int, str]]:
    """Return numbers of rows and their watermarks in SQL, in the order of their commits."""
    overlap = OVERLAPS[watermark]
    steps = [chance.randrange(0, 5 * overlap) for _ in range(32)]
    steps[1] = steps[0]
    # Whoever commits before another one is less than the overlap ahead of it; or a clock went back for a part.
    order = sorted(range(32), key=lambda number: steps[number] + chance.uniform(0, overlap - 1))
    if chance.random() < 0.5:
        for number in order[20:24]:
            steps[number] = -3 * overlap - number
    odd = ["NULL"]
    if watermark == "updated_at":
        odd += ["'infinity'", "'-infinity'", "'0044-03-15 12:00:00 BC'"] if kind == "postgresql" else ["'infinity'"]
    return [
        (number, chance.choice(odd) if chance.random() < 0.1 else mark_of(watermark, steps[number])) for number in order
    ]


def mark_of(watermark: str, step: int) -> str:
    at = datetime(2026, 2, 1, 8, tzinfo=UTC) + timedelta(seconds=step)
    return str(1_000 + step) if watermark == "change_number" else f"'{at:%Y-%m-%d %H:%M:%S}+00:00'"


def lengthen(erp: Erp, key: int) -> None:
    """Let the state of a transaction be text of any size, and that of one be very long."""
    long = "hex(zeroblob(1048576))" if erp.kind == "sqlite" else "repeat('x', 2097152)"
    erp.do("ALTER TABLE transactions ADD COLUMN status TEXT", "UPDATE transactions SET status = status_code")
    erp.do("ALTER TABLE transactions DROP COLUMN status_code", "ALTER TABLE transactions RENAME status TO status_code")
    erp.do(f"UPDATE transactions SET status_code = {long} WHERE transaction_id = 'TRX-{key}'")


def test_a_row_beyond_the_limit_is_refused_and_the_others_load(
    corridor: Corridor, erp: Erp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_table, "FETCHED_ROWS", 2)
    monkeypatch.setattr(sql_table, "BATCH_ROWS", 3)
    corridor.sources[0]["quarantine_limit"] = 0.9
    for key in range(3, 8):
        erp.put(key, "11:30:00")
    lengthen(erp, 3)
    assert load(corridor).counts == LoadCounts(read=7, inserted=6, quarantined=1)
    ((reason, detail, raw),) = corridor.rows("quarantine", "reason", "detail", "raw")
    assert reason == "row_too_large"
    assert "and the limit is 1,048,576 bytes: shorten the long value, or name the `columns`" in detail
    assert b'"transaction_id":"TRX-3"' in bytes(raw)
    assert b'"status_code":null' in bytes(raw)


def test_a_whole_table_with_a_row_beyond_the_limit_loads_once(corridor: Corridor, erp: Erp) -> None:
    corridor.sources[0] |= {"quarantine_limit": 0.9, "options": {"table": "transactions"}}
    lengthen(erp, 2)
    assert load(corridor).counts == LoadCounts(read=2, inserted=1, quarantined=1)
    assert load(corridor).state == "unchanged"


@on_postgresql
def test_a_column_that_does_not_grow_is_no_watermark(corridor: Corridor, erp: Erp) -> None:
    erp.do("ALTER TABLE transactions ADD COLUMN changes TIME DEFAULT '10:00'")
    corridor.sources[0]["options"]["watermark"] = "changes"
    outcome = only(corridor.load())
    assert (outcome.state, "a time, such as datetime.time(10, 0), cannot be a watermark" in outcome.message) == (
        "failed",
        True,
    )


def test_values_become_the_text_that_a_file_would_hold(corridor: Corridor, erp: Erp) -> None:
    erp.do(
        f"INSERT INTO transactions ({COLUMNS}) VALUES "
        f"('TRX-3', 'MCH-001', '{DAY} 23:30:00.250+00:00', 123.125, 'WARN', '{DAY} 10:00:00+00:00'), "
        f"('TRX-4', 'MCH-001', '{DAY} 08:00:00+00:00', NULL, 'OK', '{DAY} 10:00:00+00:00'), "
        f"(NULL, 'MCH-001', '{DAY} 08:00:00+00:00', 1, 'OK', '{DAY} 10:00:00+00:00'), "
        f"('', 'MCH-001', '{DAY} 08:00:00+00:00', 0.1, 'OK', '{DAY} 10:00:00+00:00')"
    )
    corridor.sources[0]["quarantine_limit"] = 0.5
    assert load(corridor).counts == LoadCounts(read=6, inserted=4, quarantined=2)
    columns = ("transaction_id", "volume_transferred_t", "transaction_at", "day_number")
    found = {row[0]: row[1:] for row in corridor.rows("fact_transactions", *columns)}
    assert found["TRX-3"] == (123.125, f"{DAY} 23:30:00.250000", 20486)  # the day is that of Douala
    assert found["TRX-4"][0] is None
    assert found["TRX-1"][1] == f"{DAY} 08:00:00.000000"
    raw = [bytes(row[0]).decode() for row in corridor.rows("quarantine", "raw", "reason")]
    assert sorted('"transaction_id":null' in text for text in raw) == [False, True]
    assert sorted('"transaction_id":""' in text for text in raw) == [False, True]


@on_postgresql
def test_a_row_leads_back_to_the_table(corridor: Corridor) -> None:
    load(corridor)
    with reading(corridor.engine) as connection:
        (explanation,) = explain(connection, "fact_transactions", "TRX-2")
    assert dict(explanation.lineage)["file"] == "erp/transactions"
    assert dict(explanation.lineage)["as_of"].isoformat() == f"{DAY}T11:00:00+00:00"  # type: ignore[attr-defined]
    assert dict(explanation.lineage)["row"] == 2


@on_postgresql
def test_a_view_and_chosen_columns_load(corridor: Corridor, erp: Erp) -> None:
    erp.do(f"CREATE VIEW exported AS SELECT {COLUMNS} AS changed FROM transactions")
    columns = ["transaction_id", "machine_id", "date", "volume_transferred", "status_code"]
    corridor.sources[0]["options"] = {"table": "exported", "watermark": "changed", "columns": columns}
    assert load(corridor).counts == LoadCounts(read=2, inserted=2)


def test_names_that_need_quotes_are_names(corridor: Corridor, erp: Erp) -> None:
    erp.do('ALTER TABLE transactions RENAME TO "Ordres; \'du\' ""jour"""')
    erp.do('ALTER TABLE "Ordres; \'du\' ""jour""" RENAME COLUMN updated_at TO "Geändert -- am"')
    corridor.sources[0]["options"] = {"table": "Ordres; 'du' \"jour\"", "watermark": "Geändert -- am"}
    assert load(corridor).counts == LoadCounts(read=2, inserted=2)


@on_postgresql
@pytest.mark.parametrize(
    "options",
    [
        {"table": "transactions; DROP TABLE transactions"},
        {"table": 'transactions" UNION SELECT * FROM secrets --'},
        {"table": "(SELECT * FROM transactions) AS t"},
        {"watermark": "updated_at IS NULL OR updated_at"},
        {"columns": ["transaction_id", "(SELECT max(clerk) FROM transactions) AS clerk"]},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_is_no_name_of_the_database_is_refused(corridor: Corridor, erp: Erp, options: dict[str, Any]) -> None:
    corridor.sources[0]["options"] |= options
    outcome = only(corridor.load())
    assert outcome.state == "failed"
    assert "has no table or view" in outcome.message or "has no column" in outcome.message
    assert "in the catalog" in outcome.message
    with erp.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM transactions").scalar_one() == 2


def test_a_table_without_a_watermark_is_read_as_a_whole(corridor: Corridor, erp: Erp) -> None:
    erp.do(
        "CREATE TABLE assets (machine_id VARCHAR(20), site_location VARCHAR(40), installation_year INTEGER)",
        "INSERT INTO assets VALUES ('MCH-001', 'Douala', 2010), ('MCH-002', 'Bélabo', 2012)",
    )
    corridor.sources = []
    corridor.add_connected("assets", "machines", "sql", options={"table": "assets"})
    assert load(corridor).counts == LoadCounts(read=2, inserted=2)
    assert load(corridor).state == "unchanged"
    erp.do("DELETE FROM assets WHERE machine_id = 'MCH-002'", "UPDATE assets SET site_location = 'Edéa'")
    assert load(corridor).counts == LoadCounts(read=1, updated=1)
    # Deliveries of one minute are one snapshot.
    assert set(corridor.rows("dim_machines", "machine_id", "is_absent")) == {("MCH-001", False), ("MCH-002", True)}
    erp.do("DELETE FROM assets")
    assert "header and no rows" in only(corridor.load()).message


@on_postgresql
def test_a_table_that_changes_between_two_readings_is_left_for_the_next_run(
    corridor: Corridor, erp: Erp, monkeypatch: pytest.MonkeyPatch
) -> None:
    corridor.sources[0]["options"] = {"table": "transactions"}

    def written_to(*arguments: Any) -> Any:
        erp.put(3, "10:00:00")
        return extract_unit(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(steps, "extract_unit", written_to)
        outcome = load(corridor)
    assert outcome.state == "waiting"
    assert "[changed_while_reading]" in outcome.message
    assert load(corridor).counts == LoadCounts(read=3, inserted=3)


@on_postgresql
def test_the_rows_of_a_large_table_come_in_pieces(
    corridor: Corridor, erp: Erp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_table, "BATCH_ROWS", 100)
    row = f"'MCH-001', '{DAY} 08:00:00+00:00', 1, 'OK', '{DAY} 09:00:00+00:00'"
    erp.do(f"INSERT INTO transactions ({COLUMNS}) VALUES " + ", ".join(f"('TRX-{n}', {row})" for n in range(10, 510)))
    cursors: set[str] = set()

    def note_cursor(_: Any, cursor: Any, statement: str, *__: Any) -> None:
        if "FROM transactions" in statement and "ORDER BY" in statement:
            cursors.add(type(cursor).__name__)

    sa.event.listen(sa.Engine, "before_cursor_execute", note_cursor)
    try:
        assert load(corridor).counts.inserted == 502
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note_cursor)
    assert cursors == {"ServerCursor"}


def test_the_source_cannot_be_written_to(erp: Erp) -> None:
    erp.make_table()
    erp.put(1, "10:00:00")
    refused = "read-only" if erp.kind == "postgresql" else "readonly"
    with pytest.raises(DpaError, match=refused), Database(erp.url).reading() as connection:
        connection.exec_driver_sql("DELETE FROM transactions")
    with erp.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM transactions").scalar_one() == 1


@on_postgresql
@pytest.mark.parametrize(
    "query", ["", "?options=-c default_transaction_read_only%3Doff"], ids=["plain", "told otherwise"]
)
def test_a_view_that_writes_when_it_is_read_writes_nothing(corridor: Corridor, erp: Erp, query: str) -> None:
    erp.do(
        "CREATE TABLE readers (who TEXT)",
        "CREATE FUNCTION noted() RETURNS NUMERIC LANGUAGE plpgsql VOLATILE AS $$ BEGIN "
        "SET default_transaction_read_only = off; INSERT INTO readers VALUES (current_user); RETURN 30; END $$",
        "CREATE VIEW exported AS SELECT transaction_id, machine_id, date, noted() AS volume_transferred, status_code, "
        "updated_at FROM transactions",
    )
    corridor.connections = KnownConnections({"erp": erp.url + query})
    corridor.sources[0]["options"]["table"] = "exported"
    outcome = load(corridor)
    assert (outcome.state, "read-only transaction" in outcome.message) == ("failed", True), outcome
    with erp.engine.begin() as connection:
        count = "SELECT count(*) FROM readers"
        assert connection.exec_driver_sql(count).scalar_one() == 0
        connection.exec_driver_sql("SELECT * FROM exported").all()  # such as it is, it does write
        assert connection.exec_driver_sql(count).scalar_one() == 2


@pytest.mark.parametrize("query", ["", "?mode=rwc", "?uri=false"])
def test_a_file_of_sqlite_cannot_be_written_to_whatever_its_url_says(tmp_path: Path, query: str) -> None:
    path = tmp_path / "erp.sqlite"
    with pytest.raises(DpaError), Database(f"sqlite:///{path.as_posix()}{query}").reading() as connection:
        connection.exec_driver_sql("CREATE TABLE t (i INTEGER)")
    assert not path.exists()


@pytest.mark.parametrize(
    ("erp", "when"),
    [
        ("postgresql", "before"),
        pytest.param("postgresql", "after", marks=pytest.mark.chaos),
        pytest.param("sqlite", "before", marks=pytest.mark.chaos),
        pytest.param("sqlite", "after", marks=pytest.mark.chaos),
    ],
    indirect=["erp"],
)
def test_a_load_that_is_killed_around_its_commit_loses_and_doubles_nothing(
    corridor: Corridor, erp: Erp, sqlite_warehouse: WarehouseUnderTest, when: Any
) -> None:
    load(corridor)
    erp.put(3, "11:01:00")
    load(corridor)
    clean = content_of(corridor.engine, without=["batches", "file_positions"])
    empty(corridor.engine)
    erp.do("DELETE FROM transactions WHERE transaction_id = 'TRX-3'")
    load(corridor)
    erp.put(3, "11:01:00")
    keep_databases(corridor.folder, {"erp": erp.url})
    died = LoadProcess(sqlite_warehouse.url, corridor.folder, "victim", Death(when, 2)).end()
    assert died.returncode == -9, died.said
    assert len(stored(corridor)) == (2 if when == "before" else 3)
    outcome = load(corridor)
    assert outcome.state == ("loaded" if when == "before" else "unchanged")
    assert content_of(corridor.engine, without=["batches", "file_positions"]) == clean


@on_postgresql
def test_of_two_loads_at_once_one_commits_and_the_other_looks_again(
    corridor: Corridor, erp: Erp, monkeypatch: pytest.MonkeyPatch
) -> None:
    overtakers: list[UnitOutcome] = []

    def overtaken(*arguments: Any) -> UnitOutcome:
        if not overtakers:
            overtakers.append(UnitOutcome("", "", "loaded"))
            erp.put(3, "11:30:00")
            overtakers.append(only(corridor.load()))
        return load_conformed(*arguments)

    monkeypatch.setattr(steps, "load_conformed", overtaken)
    outcome = load(corridor)
    assert overtakers[1].counts == LoadCounts(read=3, inserted=3)
    assert (outcome.state, outcome.counts) == ("waiting", LoadCounts())
    assert "another run has loaded other content from erp/transactions" in outcome.message
    erp.put(4, "11:31:00")
    assert load(corridor).counts == LoadCounts(read=2, inserted=1, unchanged=1)


@on_postgresql
def test_a_window_with_too_many_bad_rows_waits_and_is_read_again_when_the_table_has_changed(
    corridor: Corridor, erp: Erp
) -> None:
    load(corridor)
    erp.put(3, "11:20:00", volume=-1)
    assert only(corridor.load()).state == "failed"
    assert only(corridor.load()).state == "parked"
    erp.do("UPDATE transactions SET volume_transferred = 1 WHERE transaction_id = 'TRX-3'")
    erp.put(4, "11:21:00")
    assert load(corridor).counts == LoadCounts(read=3, inserted=2, unchanged=1)


def test_a_source_that_is_away_fails_alone(corridor: Corridor, erp: Erp) -> None:
    away = "sqlite:////nowhere/erp.sqlite" if erp.kind == "sqlite" else "postgresql://x@127.0.0.1:1/erp"
    corridor.connections = KnownConnections({"erp": away})
    corridor.add_source("csv", "transactions", "csv", "erp*.csv")
    corridor.write_transactions("erp_20260202.csv", ["TRX-9,MCH-001,2026-02-01 10:00:00,30,OK"])
    azure, csv = corridor.load().outcomes
    assert (azure.state, csv.state) == ("failed", "loaded")
    assert "[unreadable]. Remedy: " in azure.message
    corridor.connections = KnownConnections({"erp": erp.url})
    assert corridor.load().counts("azure").inserted == 2


def test_a_refused_password_is_told_without_it(
    tmp_path: Path, postgres_server: PostgresServer, sqlite_warehouse: WarehouseUnderTest
) -> None:
    url = postgres_server.new_protected_database("right")
    asked: list[bool] = []

    def password(*, fresh: bool = False) -> str:
        asked.append(fresh)
        return "right" if len(asked) > 3 else "canary"

    class Refused(KnownConnections):
        def database(self, _: str) -> Database:
            return Database(url, password)

    corridor = Corridor(tmp_path, sqlite_warehouse.engine, connections=Refused())
    corridor.add_connected("azure", "transactions", "sql", options={"table": "transactions"})
    message = only(corridor.load()).message
    assert "refuses us" in message
    assert "canary" not in message + repr(Database(url, password))
    assert asked == [False, True]  # no account is locked by trying again and again
    assert "has no table or view" in only(corridor.load()).message


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"options": {}}, "options > table: Field required"),
        ({"options": {"table": "t", "where": "1=1"}}, "options > where: unknown to this reader"),
        ({"connection": ""}, "connection: the reader 'sql' needs one"),
        ({"location": "x.csv"}, "location: the reader 'sql' does not use one"),
        ({"drop": "corridor"}, "drop: only files have one"),
        ({"archive": "done"}, "archive: only files have one"),
        ({"settle_s": 60}, "settle_s: only files have one"),
        ({"dataset": "machines"}, "options > watermark: machines need the whole list"),
    ],
)
def test_a_catalog_that_cannot_work_is_refused_at_once(tmp_path: Path, entry: dict[str, Any], told: str) -> None:
    corridor = Corridor(tmp_path, sa.create_engine("sqlite://"))
    options = {"table": "transactions", "watermark": "updated_at"}
    corridor.add_connected("azure", "transactions", "sql", options=options)
    corridor.sources[0] |= entry
    with pytest.raises(ConfigurationError, match=told):
        _ = corridor.catalog


def test_a_driver_that_is_not_installed_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"there is no driver for .*\(.*\): install it"):
        Database("mssql+pymssql://reader@erp.database.windows.net/erp")


class SqlServer:
    """Stands for an SQL Server, of which there is none here: answers in turn, and keeps what its dialect was asked."""

    dialect = mssql.dialect()  # type: ignore[no-untyped-call]

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def execute(self, query: sa.Select[Any]) -> "SqlServer":
        compiled = query.compile(dialect=self.dialect)
        self.asked.append(" ".join(str(compiled).split()))
        return self

    def scalar_one(self) -> Any:
        return self._answers.pop(0)


@pytest.mark.parametrize(
    ("query", "intent"),
    [
        ("driver=ODBC+Driver+18+for+SQL+Server", "ReadOnly"),
        ("driver=ODBC+Driver+18+for+SQL+Server&applicationintent=ReadWrite", "ReadWrite"),
    ],
)
def test_an_sql_server_is_asked_for_a_copy_that_takes_no_changes(query: str, intent: str) -> None:
    url = databases._to_a_readable_copy(sa.make_url(f"mssql+pyodbc://reader@erp.example.org/erp?{query}"))
    named = {name.lower(): value for name, value in url.query.items()}
    assert named["applicationintent"] == intent


@pytest.mark.parametrize("may_write", [0, 1])
def test_a_user_of_an_sql_server_that_may_write_is_told(may_write: int, caplog: pytest.LogCaptureFixture) -> None:
    class Connection:
        """Stands for one to an SQL Server, of which there is none here."""

        def cursor(self) -> Any:
            return self

        def execute(self, asked: str) -> Any:
            assert asked == "SELECT HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'INSERT')"
            return self

        def fetchone(self) -> tuple[int]:
            return (may_write,)

        def close(self) -> None: ...

    databases._warn_if_it_may_write(Connection(), None)
    assert ("give it one with the role db_datareader alone" in caplog.text) == bool(may_write)


def test_an_sql_server_is_asked_in_its_own_words(tmp_path: Path) -> None:
    names = ("id", "date", "changed]at")
    clause = sa.table("trans actions", *(sa.column(name) for name in names), schema="dbo")
    table = _Table(clause, [clause.c.id, clause.c.date], clause.c["changed]at"], mssql.DATETIME())
    options = SqlOptions(table="dbo.trans actions", watermark="changed]at", overlap_s=600)
    contract = contract_for("transactions")
    place = Place("", tmp_path, contract, "UTC", KnownConnections(), NOW, tmp_path)
    delivery = TableDelivery("erp/dbo.trans actions", place, options, Database("sqlite://"))
    server: Any = SqlServer(datetime(2026, 2, 1, 11), 0, 3, 2, 5)
    noted = note("changed]at", datetime(2026, 2, 1, 10))
    known = Position(Fingerprint(watermark=noted), 1, 0, BatchId(1))
    content = _Window(server, table, delivery, known, datetime(2026, 3, 1, tzinfo=UTC)).content()
    assert content
    assert isinstance(content.item, TableRows)
    server.execute(content.item.queries[0])
    server.execute(sa.select(_Now()))
    newest, unmarked, *_, rows, now = server.asked
    table_name, column = "dbo.[trans actions]", "dbo.[trans actions].[changed]]at]"
    bounds = [f"CAST(:param_{number} AS DATETIME)" for number in (1, 2)]
    assert newest == f"SELECT max({column}) AS max_1 FROM {table_name} WHERE 1 = 1"
    assert unmarked == f"SELECT count(*) AS count_1 FROM {table_name} WHERE {column} IS NULL"
    assert rows == (
        f"SELECT {table_name}.id, {table_name}.date FROM {table_name} "
        f"WHERE {column} >= {bounds[0]} AND {column} <= {bounds[1]} ORDER BY {column}"
    )
    assert now.startswith("SELECT SYSDATETIMEOFFSET() AS")
    assert content.fingerprint.watermark == '["changed]at","datetime","2026-02-01T11:00:00",5]'


class OdbcError(Exception):
    """What pyodbc raises."""


class Odbc:
    """Stands for pyodbc: keeps how it was called, and lets nobody in."""

    Error = DatabaseError = InterfaceError = OperationalError = OdbcError
    Cursor, paramstyle, version = object, "qmark", "5.2.0"

    def __init__(self) -> None:
        self.called: list[str] = []

    def connect(self, place: str, **_: Any) -> None:
        """Refuse the login, then everything."""
        self.called.append(place)
        refused = ("28000", "Login failed for user 'reader'") if len(self.called) == 1 else ("08001", "gone")
        raise OdbcError(*refused)


def test_a_password_goes_to_an_sql_server_where_it_belongs_and_is_asked_for_again_when_refused() -> None:
    driver: Any = Odbc()
    url = "mssql+pyodbc://reader@erp.database.windows.net/erp?driver=ODBC+Driver+18+for+SQL+Server"
    engine = sa.create_engine(url, module=driver)
    log_in(engine, lambda *, fresh=False: "new;{word}" if fresh else "old")
    with pytest.raises(sa.exc.DBAPIError) as raised:
        engine.connect()
    old, new = driver.called
    assert "UID=reader;PWD=old" in old
    assert "PWD={new;{word}}}" in new
    assert translate(raised.value, "the database").__class__ is TransientError
    raised.value.orig = OdbcError("28000", "Login failed")
    assert translate(raised.value, "the database").__class__ is ConfigurationError


def test_a_function_reshapes_the_new_rows_of_a_table_and_all_of_them_if_it_changes(
    corridor: Corridor, erp: Erp
) -> None:
    code = "def by_clerk(frame):\n    frame['status_code'] = frame.pop('clerk').fillna('WARN')\n    return frame\n"
    corridor.write("transforms/erp.py", code)
    columns = ["transaction_id", "machine_id", "date", "volume_transferred", "clerk"]
    corridor.sources[0]["transform"] = "erp.by_clerk"
    corridor.sources[0]["options"] |= {"columns": columns, "overlap_s": 0}
    assert only(corridor.load()).counts == LoadCounts(read=2, inserted=2)
    erp.put(3, "11:30:00")
    assert only(corridor.load()).counts == LoadCounts(read=2, inserted=1, unchanged=1)
    corridor.write("transforms/erp.py", code.replace("WARN", "ERR"))
    assert only(corridor.load()).counts == LoadCounts(read=3, updated=3)
    assert set(corridor.rows("fact_transactions", "status_code", order_by="1")) == {("ERR",)}
    assert reconcile(corridor.engine) == []
