"""Reads a file through a function of its source, up to where a load compares the header with the contract."""

from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import polars as pl
import yaml

from freight.catalog import read_catalog
from freight.pipeline.plan import first_unit
from freight.pipeline.reshape import read_unit
from freight.readers import FILES_ONLY
from freight.types import Reshaped


class Read(NamedTuple):
    """A file that was read: the header, all rows, all faults, and what the function did."""

    header: tuple[str, ...]
    rows: pl.DataFrame
    faults: pl.DataFrame
    reshaped: Reshaped | None


def read_through(code: str, path: Path, reader: str, **more: object) -> Read:
    """Read a file of stations through the function `reshape` of some code, which is written beside it."""
    (path.parent / "transforms").mkdir(exist_ok=True)
    (path.parent / "transforms" / "shapes.py").write_text(dedent(code), encoding="utf-8")
    entry = {"name": "here", "dataset": "stations", "reader": reader, "location": path.name}
    catalog = path.parent / "catalog.yaml"
    catalog.write_text(yaml.safe_dump({"sources": [{**entry, "transform": "shapes.reshape", **more}]}))
    planned = first_unit(read_catalog(catalog).sources[0], datetime(2026, 3, 1, tzinfo=UTC), FILES_ONLY, path.parent)
    table, reshaped = read_unit(planned, path.parent / "spool")
    batches = list(table.batches)
    rows, faults = (pl.concat([getattr(batch, kind) for batch in batches]) for kind in ("rows", "faults"))
    return Read(table.header, rows, faults, reshaped)
