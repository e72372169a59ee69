"""`make bench`: load one file of simulated transactions with DPA and with its usual alternatives.

Everything runs in one call, in turns; the figures are medians of repeated runs and ratios to a limit: COPY of
ready rows on PostgreSQL, one `executemany` of ready rows on SQLite. Targets are empty unless a line says
otherwise.

`make bench ARGS="streaming ..."` loads a Kafka topic instead, see `benchmarks.streaming`, and `make bench ARGS=growth`
a warehouse that grows, see `benchmarks.growth`.
"""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import dpa, growth, peers
from benchmarks.measure import Timed, medians, print_ratios
from benchmarks.streaming import __main__ as streaming
from benchmarks.validation import print_validation
from freight.catalog import Catalog
from tests.lib.postgres import PostgresServer


def main() -> None:
    """Measure, and print Markdown tables."""
    others = {"streaming": streaming.main, "growth": growth.main}
    if len(sys.argv) > 1 and sys.argv[1] in others:
        others[sys.argv[1]](sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--memory-rows", type=int, default=5_000_000, help="rows of the file for the memory test")
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    with _scratch() as name, _scratch() as data, PostgresServer(Path(data)) as server:
        folder = Path(name)
        catalog = dpa.write_sources(folder / "sources", asked.rows)
        _postgresql(catalog, server.new_database(), asked.repeat)
        _sqlite(catalog, folder, asked.repeat)
        print_validation(catalog, asked.repeat)
        _reloads(catalog, [server.new_database(), _sqlite_url(folder, "reloads")])
        dpa.write_sources(folder / "large", asked.memory_rows)
        _memory(folder / "large", asked.memory_rows, [server.new_database(), _sqlite_url(folder, "memory")])


def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="dpa-bench-")


def _sqlite_url(folder: Path, name: str) -> str:
    return f"sqlite:///{folder / name}.sqlite"


def _postgresql(catalog: Catalog, url: str, repeat: int) -> None:
    erp = catalog.folder / dpa.ERP
    dpa.load_into_empty(url, catalog)
    limit = "COPY of ready rows"
    candidates: dict[str, Timed] = {
        limit: partial(peers.copy_ready_rows, url, peers.ready_rows(url)),
        "DPA": partial(dpa.load_into_empty, url, catalog),
        "pandas to_sql": partial(peers.load_by_pandas, url, erp),
        "dlt merge from Arrow": partial(peers.load_by_dlt_from_arrow, url, erp),
        "dlt merge from rows": partial(peers.load_by_dlt_from_rows, url, erp),
    }
    print_ratios("PostgreSQL", medians(candidates, repeat, partial(peers.settle, url)), limit)


def _sqlite(catalog: Catalog, folder: Path, repeat: int) -> None:
    url = _sqlite_url(folder, "speed")
    dpa.load_into_empty(url, catalog)
    definition, rows = peers.stored_rows(folder / "speed.sqlite")
    limit = "executemany of ready rows"
    candidates = {
        limit: partial(peers.execute_many, folder / "bare.sqlite", definition, rows),
        "DPA": partial(dpa.load_into_empty, url, catalog),
    }
    print_ratios("SQLite", medians(candidates, repeat), limit)


def _reloads(catalog: Catalog, urls: list[str]) -> None:
    """Load a file, the same file again, and a later delivery; this changes the sources."""
    first = [dpa.load_into_empty(url, catalog) for url in urls]
    same = [dpa.load_again(url, catalog)[0] for url in urls]
    dpa.change_every_tenth(catalog.folder / dpa.ERP)
    changed = [dpa.load_again(url, catalog) for url in urls]
    print("\n| DPA again | PostgreSQL s | SQLite s |\n|---|---|---|")
    print(f"| first load | {first[0]:.2f} | {first[1]:.2f} |")
    print(f"| the same file | {same[0]:.2f} | {same[1]:.2f} |")
    print(f"| {changed[0][1].updated:,} rows changed | {changed[0][0]:.2f} | {changed[1][0]:.2f} |", flush=True)


def _memory(folder: Path, rows: int, urls: list[str]) -> None:
    peaks = [dpa.peak_memory_mib(url, folder) for url in urls]
    print(f"\n| DPA, a file of {rows:,} rows | PostgreSQL | SQLite |\n|---|---|---|")
    print(f"| peak resident memory | {peaks[0]} MiB | {peaks[1]} MiB |", flush=True)


if __name__ == "__main__":
    main()
