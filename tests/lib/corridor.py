"""A small corridor on disk: writes source files, loads them, and reads the tables."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml

from freight.catalog import Catalog, read_catalog
from freight.contracts import contract_for
from freight.pipeline import CoreSteps, Run, RunReport, run_catalog
from freight.readers import FILES_ONLY, Connections
from freight.simulator import fill_landing
from freight.types import RunId
from freight.warehouse.connect import Engine, reading
from freight.warehouse.schema import metadata

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HEADER = "transaction_id,machine_id,date,volume_transferred,status_code"
MACHINES = [
    {"machine_id": "MCH-001", "site_location": "Douala", "installation_year": 2010},
    {"machine_id": "MCH-002", "site_location": "Bélabo", "installation_year": 2012},
]
SIMULATED_SOURCES = [
    {"name": "stations", "dataset": "stations", "reader": "csv", "location": "stations/*.csv"},
    {"name": "machines", "dataset": "machines", "reader": "json", "location": "machines/*.json"},
    {"name": "erp", "dataset": "transactions", "reader": "csv", "location": "erp_csv/*.csv"},
]
SIMULATED_FILES = 6
_run_numbers = count(1)


@dataclass
class Corridor:
    """Source files in a folder with a catalog, loaded into one warehouse."""

    folder: Path
    engine: Engine
    sources: list[dict[str, Any]] = field(default_factory=list)
    now: datetime = NOW
    connections: Connections = FILES_ONLY

    def add_source(self, name: str, dataset: str, reader: str, location: str, **more: object) -> "Corridor":
        """Add a catalog entry."""
        self.sources.append({"name": name, "dataset": dataset, "reader": reader, "location": location, **more})
        return self

    def add_connected(self, name: str, dataset: str, reader: str, **more: object) -> "Corridor":
        """Add a catalog entry with the connection `erp`."""
        self.sources.append({"name": name, "dataset": dataset, "reader": reader, "connection": "erp", **more})
        return self

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file below the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def write_machines(self, name: str, machines: Sequence[dict[str, Any]] = MACHINES) -> Path:
        """Write a machines snapshot."""
        return self.write(name, json.dumps(list(machines)))

    def write_transactions(self, name: str, rows: Iterable[str]) -> Path:
        """Write a transactions file with the given lines."""
        return self.write(name, "\n".join([HEADER, *rows]) + "\n")

    @property
    def catalog(self) -> Catalog:
        """The current catalog."""
        path = self.folder / "catalog.yaml"
        path.write_text(yaml.safe_dump({"sources": self.sources}), encoding="utf-8")
        return read_catalog(path)

    def load(self) -> RunReport:
        """Run the nightly load without Prefect."""
        run_id, spool = RunId(f"run-{next(_run_numbers)}"), self.folder / "spool"
        run = Run(self.engine, run_id, spool, lambda: self.now, self.connections)
        return run_catalog(CoreSteps(run, self.catalog), "tester@here")

    def stored(self, dataset: str) -> list[dict[str, Any]]:
        """Return the rows of a dataset, with the columns that its sources deliver, as Python values."""
        contract = contract_for(dataset)
        table = metadata.tables[contract.table]
        query = sa.select(*(table.c[name] for name in contract.column_names))
        with reading(self.engine) as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def rows(self, table: str, *columns: str, order_by: str = "1, 2") -> list[tuple[Any, ...]]:
        """Return rows of a table or view."""
        query = f"SELECT {', '.join(columns) or '*'} FROM {table} ORDER BY {order_by}"
        with reading(self.engine) as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]


def nightly(folder: Path, engine: Engine) -> Corridor:
    """Return a corridor with a machines and a transactions source, and one machines snapshot."""
    corridor = Corridor(folder, engine)
    corridor.add_source("machines", "machines", "json", "machines*.json")
    corridor.add_source("erp", "transactions", "csv", "erp*.csv")
    corridor.write_machines("machines_20260101.json")
    return corridor


def simulated_landing(folder: Path) -> Path:
    """Fill a folder with simulated files and a catalog; some machines move, and some rows break the contract."""
    fill_landing(folder, days=4, rows_per_day=1_500, last_day=date(2026, 2, 24))
    (folder / "catalog.yaml").write_text(yaml.safe_dump({"sources": SIMULATED_SOURCES}))
    return folder
