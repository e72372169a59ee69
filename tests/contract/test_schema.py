"""The migrations make what the code expects, on both engines."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from freight.errors import ConfigurationError
from freight.warehouse.connect import open_engine, reading, transaction
from freight.warehouse.migrate import drop_everything, migrate, require_current
from freight.warehouse.schema import metadata
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import NOW


def test_the_migrated_schema_is_the_schema_of_the_code(warehouse: WarehouseUnderTest) -> None:
    with reading(warehouse.engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_migrating_again_changes_nothing(warehouse: WarehouseUnderTest) -> None:
    assert migrate(warehouse.engine) == migrate(warehouse.engine)


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
