"""The statistics that a database uses to plan its queries."""

from freight.contracts import contracts
from freight.warehouse.connect import Engine, is_postgresql, transaction


def refresh_statistics(engine: Engine) -> None:
    """Refresh the statistics that the database does not refresh by itself.

    PostgreSQL analyses each partition by itself, but never the table as a whole; SQLite analyses nothing by itself.
    """
    with transaction(engine) as connection:
        if not is_postgresql(connection):
            connection.exec_driver_sql("PRAGMA optimize=0x10002")  # tables that were never analysed, too
            return
        for contract in contracts().values():
            if contract.retention_days:
                connection.exec_driver_sql(f"ANALYZE {contract.table}")
