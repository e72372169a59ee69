"""The migrations make what the code expects, on both engines."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from freight.contracts.rules import BrokenRule, read_broken_rules
from freight.errors import ConfigurationError
from freight.warehouse import migrate as migrate_module
from freight.warehouse.connect import open_engine, reading, transaction
from freight.warehouse.migrate import alembic_config, drop_everything, migrate, require_current
from freight.warehouse.schema import metadata
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import NOW


def test_the_migrated_schema_is_the_schema_of_the_code(warehouse: WarehouseUnderTest) -> None:
    with reading(warehouse.engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": is_no_partition})
        assert compare_metadata(context, metadata) == []


def is_no_partition(name: str | None, kind: str, _: object) -> bool:
    """The partitions of a table come and go with time."""
    return kind != "table" or not re.search(r"_\d{4}_\d{2}$", name or "")


def test_migrating_again_changes_nothing(warehouse: WarehouseUnderTest) -> None:
    assert migrate(warehouse.engine) == migrate(warehouse.engine)


@pytest.fixture
def sql_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the SQL folder that a test may change, as the next release would."""
    folder = tmp_path / "sql"
    shutil.copytree(migrate_module.SQL_FOLDER, folder)
    monkeypatch.setattr(migrate_module, "SQL_FOLDER", folder)
    return folder


def view_names(warehouse: WarehouseUnderTest) -> set[str]:
    return set(sa.inspect(warehouse.engine).get_view_names())


def test_a_view_that_a_release_no_longer_has_is_dropped(warehouse: WarehouseUnderTest, sql_folder: Path) -> None:
    before = view_names(warehouse)
    (sql_folder / "views" / "50_v_data_quality.sql").unlink()
    migrate(warehouse.engine)
    assert view_names(warehouse) == before - {"v_data_quality"}


def test_a_warehouse_of_the_first_schema_version_is_brought_up_with_its_rows_and_views(
    warehouse: WarehouseUnderTest,
) -> None:
    views = view_names(warehouse)
    go_back_to_the_first_schema_version(warehouse)
    with transaction(warehouse.engine) as connection:
        connection.execute(sa.text("CREATE TABLE schema_views (fingerprint TEXT PRIMARY KEY)"))
        connection.execute(sa.text("INSERT INTO schema_views VALUES ('of the whole')"))
        connection.execute(
            sa.text(
                "INSERT INTO fact_transactions (transaction_id, machine_id, transaction_at, status_code, "
                "transaction_date, day_number, site_location, critical_alert, batch_id, origin_us, origin_seq, "
                "content_hash) VALUES ('TRX-1', 'MCH-001', '2026-03-01 08:00:00', 'OK', '2026-03-01', 20513, 'Douala', "
                "false, 1, 2, 3, 4)"
            )
        )
    migrate(warehouse.engine)
    assert view_names(warehouse) == views
    require_current(warehouse.engine)
    with reading(warehouse.engine) as connection:
        facts = connection.execute(sa.text("SELECT transaction_id, is_late FROM fact_transactions")).all()
    assert [tuple(fact) for fact in facts] == [("TRX-1", False)]


def go_back_to_the_first_schema_version(warehouse: WarehouseUnderTest) -> None:
    drop_everything(warehouse.engine)
    with transaction(warehouse.engine) as connection:
        command.upgrade(alembic_config(connection), "0001")
        connection.execute(sa.text("DROP TABLE schema_views"))


def test_a_view_of_a_users_own_is_named_when_postgresql_lets_it_stand_in_the_way(
    postgres_warehouse: WarehouseUnderTest, sql_folder: Path
) -> None:
    with transaction(postgres_warehouse.engine) as connection:
        connection.execute(sa.text("CREATE VIEW my_view AS SELECT * FROM v_ledger"))
    (sql_folder / "views" / "50_v_data_quality.sql").unlink()
    with pytest.raises(ConfigurationError, match=r"views of your own read them: view my_view depends on view v_ledger"):
        migrate(postgres_warehouse.engine)


def test_an_empty_warehouse_is_refused_until_it_is_migrated(warehouse: WarehouseUnderTest) -> None:
    drop_everything(warehouse.engine)
    with pytest.raises(ConfigurationError, match=r"has schema version none, this release needs .*: run `dpa migrate`"):
        require_current(warehouse.engine)
    migrate(warehouse.engine)
    require_current(warehouse.engine)


def test_a_failed_transaction_leaves_nothing(warehouse: WarehouseUnderTest) -> None:
    with pytest.raises(RuntimeError):
        write_a_run_and_fail(warehouse)
    with reading(warehouse.engine) as connection:
        assert connection.execute(metadata.tables["runs"].select()).all() == []


def write_a_run_and_fail(warehouse: WarehouseUnderTest) -> None:
    with transaction(warehouse.engine) as connection:
        connection.execute(metadata.tables["runs"].insert(), {"run_id": "x", "started_by": "y", "started_at": NOW})
        raise RuntimeError


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no warehouse runs on 'mysql'"):
        open_engine("mysql://somewhere/db")


@pytest.mark.parametrize("part", ["database", "username"])
def test_a_server_that_does_not_know_us_is_a_wrong_setting_and_not_tried_again(
    postgres_warehouse: WarehouseUnderTest, part: str
) -> None:
    unknown: dict[str, Any] = {part: "nowhere"}
    url = sa.make_url(postgres_warehouse.url).set(**unknown)
    with pytest.raises(ConfigurationError, match=r'refuses us: .*"nowhere" does not exist'):
        require_current(open_engine(url.render_as_string(hide_password=False)))


REQUIRED = BrokenRule("required", ("machine_id",))
OF_BEFORE = {  # by its detail, what a row of before 0011 has as broken rules from then on
    "machine_id: required": [REQUIRED],
    "machine_id: required; volume_transferred_t: out_of_range": [
        REQUIRED,
        BrokenRule("out_of_range", ("volume_transferred_t",)),
    ],
    "topic/0 offset 7: machine_id: required": [],
    "": [],
}


def test_rows_that_were_quarantined_before_keep_their_broken_rules(warehouse: WarehouseUnderTest) -> None:
    drop_everything(warehouse.engine)
    with transaction(warehouse.engine) as connection:
        command.upgrade(alembic_config(connection), "0010")
        for number, detail in enumerate([*OF_BEFORE, "7 cells where the header has 5; and: more"]):
            reason = "required" if detail in OF_BEFORE else "ragged_row"
            values = {"n": number, "reason": reason, "detail": detail or None}
            connection.execute(
                sa.text(
                    "INSERT INTO quarantine (batch_id, source, dataset, location, row_number, column_name, reason, "
                    "detail, raw) VALUES (1, 'erp', 'transactions', 'a.csv', :n, 'machine_id', :reason, :detail, '{}')"
                ),
                values,
            )
            connection.execute(
                sa.text(
                    "INSERT INTO load_attempt_rows (attempt_id, row_number, column_name, reason, detail, raw) "
                    "VALUES (1, :n, 'machine_id', :reason, :detail, '{}')"
                ),
                values,
            )
    migrate(warehouse.engine)
    with reading(warehouse.engine) as connection:
        for table in ("quarantine", "load_attempt_rows"):
            kept = connection.execute(sa.text(f"SELECT broken_rules FROM {table} ORDER BY row_number")).scalars().all()
            assert [read_broken_rules(text) for text in kept] == [*OF_BEFORE.values(), []]


def test_positions_begin_with_the_newest_usable_time_that_their_batches_state(warehouse: WarehouseUnderTest) -> None:
    drop_everything(warehouse.engine)
    with transaction(warehouse.engine) as connection:
        command.upgrade(alembic_config(connection), "0014")
        for batch_id, as_of in enumerate(["2026-02-28 10:00:00", "2026-02-28 09:00:00", "5138-01-01 00:00:00"], 1):
            connection.execute(sa.text(STREAM_BATCH), {"batch_id": batch_id, "as_of": as_of})
            connection.execute(sa.text(f"INSERT INTO stream_batches VALUES ({batch_id}, 'dpa', 't', 'id', 0)"))
        connection.execute(
            sa.text(
                "INSERT INTO stream_positions VALUES ('dpa', 't', 'id', 0, 0, 3, NULL, 'me', '2026-03-01 00:00:00'), "
                "('dpa', 't', 'id', 1, 0, 0, NULL, 'me', '2026-03-01 00:00:00')"
            )
        )
    migrate(warehouse.engine)
    with reading(warehouse.engine) as connection:
        found = connection.execute(sa.text("SELECT newest_sent_us FROM stream_positions ORDER BY partition_number"))
        assert found.scalars().all() == [1_772_272_800_000_000, 0]


STREAM_BATCH = (
    "INSERT INTO batches (batch_id, run_id, source, dataset, cause, contract_version, location, file_hash, size_bytes, "
    "as_of, decimal_mark, simulated, read_rows, inserted, updated, unchanged, superseded, quarantined, loaded_at) "
    "VALUES (:batch_id, 'run', 't', 'transactions', 'load', 1, 't/0', 'id', 0, :as_of, '', false, "
    "0, 0, 0, 0, 0, 0, '2026-02-28 10:00:01')"
)
