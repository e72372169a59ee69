"""A warehouse that accepts no writes says so with a remedy, on both engines."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from freight.databases import translate
from freight.errors import ConfigurationError, DpaError, TransientError
from tests.conftest import WarehouseUnderTest


@pytest.fixture
def read_only(warehouse: WarehouseUnderTest) -> Iterator[sa.Engine]:
    """The same warehouse for a client that may only read."""
    url = warehouse.engine.url
    if url.drivername == "sqlite":
        engine = sa.create_engine(f"sqlite:///file:{Path(str(url.database)).as_posix()}?mode=ro&uri=true")
    else:
        engine = sa.create_engine(url, connect_args={"options": "-c default_transaction_read_only=on"})
    yield engine
    engine.dispose()


def fault_of(engine: sa.Engine, statement: str) -> DpaError | None:
    with pytest.raises(DBAPIError) as caught, engine.connect() as connection:
        connection.execute(sa.text(statement))
    return translate(caught.value, "the warehouse")


def test_a_warehouse_that_may_only_be_read_names_what_to_do(read_only: sa.Engine) -> None:
    fault = fault_of(read_only, "DELETE FROM runs")
    if read_only.dialect.name == "sqlite":
        assert isinstance(fault, ConfigurationError)
        remedy = "let this user write the file and its folder, and check that their disk is not mounted read-only"
        assert str(fault) == f"the warehouse cannot be used: attempt to write a readonly database; {remedy}"
    else:
        assert isinstance(fault, TransientError)  # a failover ends it
        assert str(fault).startswith("the warehouse is not ready: cannot execute DELETE in a read-only transaction")
        assert str(fault).endswith("else have it set to read-write, or name another server")


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("nowhere/it.sqlite", "check that its folder exists and that this user may enter and write it"),
        ("text.sqlite", "it is another file or damaged: correct its path, or restore a backup"),
    ],
)
def test_a_file_that_is_no_warehouse_names_what_to_do(tmp_path: Path, path: str, remedy: str) -> None:
    (tmp_path / "text.sqlite").write_text("id;machine\n" * 100)
    fault = fault_of(sa.create_engine(f"sqlite:///{(tmp_path / path).as_posix()}"), "SELECT 1 FROM runs")
    assert isinstance(fault, ConfigurationError)
    assert str(fault).endswith(f"; {remedy}")
