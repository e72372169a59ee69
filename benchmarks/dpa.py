"""DPA as a candidate: the whole batch load without Prefect, from the files to committed rows and fresh statistics.

Run as a program, this module loads a folder and prints its peak memory:
`python -m benchmarks.dpa WAREHOUSE_URL FOLDER`.
"""

import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path

from freight.catalog import Catalog, Source
from freight.pipeline import CoreSteps, Run, run_catalog
from freight.simulator import COMMA, Corridor, write_csv, write_json
from freight.types import LoadCounts, RunId
from freight.warehouse.connect import Engine, open_engine
from freight.warehouse.migrate import drop_everything, migrate

DAY = date(2026, 2, 28)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ERP = "erp_20260301.csv"
_numbers = count()


def write_sources(folder: Path, rows: int) -> Catalog:
    """Write machines and one ERP file of some transactions; return their catalog."""
    folder.mkdir(parents=True, exist_ok=True)
    corridor = Corridor()
    write_json(corridor.machines_on(DAY), folder / "machines_20260101.json")
    write_csv(corridor.transaction_chunks(DAY, rows), folder / ERP, COMMA)
    return catalog_of(folder)


def catalog_of(folder: Path) -> Catalog:
    """Return the catalog of a folder that `write_sources` filled."""
    machines = Source(name="machines", dataset="machines", reader="json", location="machines*.json")
    erp = Source(name="erp", dataset="transactions", reader="csv", location="erp*.csv")
    return Catalog(sources=(machines, erp), folder=folder)


def load_into_empty(url: str, catalog: Catalog) -> float:
    """Empty a warehouse, then load; return the seconds of the load."""
    engine = open_engine(url)
    drop_everything(engine)
    migrate(engine)
    seconds, _ = _load(engine, catalog)
    engine.dispose()
    return seconds


def load_again(url: str, catalog: Catalog) -> tuple[float, LoadCounts]:
    """Load into a warehouse without emptying it; return the seconds and the counts of the rows."""
    engine = open_engine(url)
    result = _load(engine, catalog)
    engine.dispose()
    return result


def _load(engine: Engine, catalog: Catalog) -> tuple[float, LoadCounts]:
    run_id = RunId(f"bench-{next(_numbers)}")
    with tempfile.TemporaryDirectory() as spool:
        started = time.perf_counter()
        report = run_catalog(CoreSteps(Run(engine, run_id, Path(spool), lambda: NOW), catalog), "bench")
        seconds = time.perf_counter() - started
    assert not report.failures, report.failures
    return seconds, report.counts()


def change_every_tenth(erp: Path) -> None:
    """Deliver the ERP file again with another volume in every tenth row."""
    header, *lines = erp.read_text(encoding="utf-8").splitlines()
    volume = header.split(",").index("volume_transferred")
    lines[::10] = [_with_cell(line, volume, "77.125") for line in lines[::10]]
    erp.write_text("\n".join([header, *lines, ""]), encoding="utf-8")


def _with_cell(line: str, position: int, text: str) -> str:
    cells = line.split(",")
    cells[position] = text
    return ",".join(cells)


def peak_memory_mib(url: str, folder: Path) -> int:
    """Load a folder in a process of its own; return its peak resident memory."""
    command = [sys.executable, "-m", "benchmarks.dpa", url, str(folder)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def _own_peak_mib() -> int:
    """Read this program's peak from Linux; getrusage would count the parent's memory at the fork."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) >> 10 for line in status if line.startswith("VmHWM"))


if __name__ == "__main__":
    load_into_empty(sys.argv[1], catalog_of(Path(sys.argv[2])))
    print(_own_peak_mib())
