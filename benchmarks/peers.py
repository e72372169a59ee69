"""The peer: dlt, merging by the upsert strategy, fed with rows or with Arrow."""

import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import pyarrow.csv as pacsv


def load_by_dlt_from_rows(url: str, erp: Path) -> None:
    """Merge the rows of a CSV file as dictionaries."""

    def rows() -> Iterator[dict[str, str]]:
        with erp.open(encoding="utf-8", newline="") as stream:
            yield from csv.DictReader(stream)

    _merge(url, rows)


def load_by_dlt_from_arrow(url: str, erp: Path) -> None:
    """Merge a CSV file that Arrow has parsed."""
    _merge(url, lambda: iter([pacsv.read_csv(erp)]))


def _merge(url: str, data: Any) -> None:
    resource = dlt.resource(
        data,
        name="by_dlt",
        primary_key="transaction_id",
        write_disposition={"disposition": "merge", "strategy": "upsert"},
    )
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            pipeline_name="bench",
            pipelines_dir=folder,
            # the server of the benchmark trusts everybody, but dlt insists on a password
            destination=dlt.destinations.postgres(url.replace("postgres@", "postgres:unused@")),
            dataset_name="peer",
            dev_mode=True,  # a schema of its own each time: the target is empty
        )
        pipeline.run(resource)
