"""Our validation beside pandera's, on the same rows: the cost of naming the broken rule of each bad row."""

import warnings
from functools import partial

import pandera.polars as pa
import polars as pl

from benchmarks import dpa
from benchmarks.measure import medians, print_ratios
from freight.catalog import Catalog
from freight.contracts import Contract
from freight.frames import ROW_NUMBER
from freight.validation import Locale, split


def print_validation(catalog: Catalog, repeat: int) -> None:
    """Type and check the ERP file's rows with both; print the medians."""
    source = catalog.sources[-1]
    text = pl.read_csv(catalog.folder / dpa.ERP, infer_schema=False)
    rows = text.rename(dict(zip(text.columns, source.contract.column_names, strict=True))).with_row_index(ROW_NUMBER, 2)
    typed = split(rows, source.contract, Locale(), dpa.NOW).valid
    limit = "pandera, on typed rows"
    candidates = {
        limit: partial(_by_pandera, _schema(source.contract), typed),
        "DPA": partial(_by_split, rows, source.contract),
    }
    print_ratios("Validation", medians(candidates, repeat), limit)


def _by_split(rows: pl.DataFrame, contract: Contract) -> None:
    assert split(rows, contract, Locale(), dpa.NOW).quarantined.is_empty()


def _by_pandera(schema: pa.DataFrameSchema, typed: pl.DataFrame) -> None:
    with warnings.catch_warnings(action="ignore"):
        schema.validate(typed, lazy=True)


def _schema(contract: Contract) -> pa.DataFrameSchema:
    columns = {column.name: column for column in contract.columns}
    volume = columns["volume_transferred_t"]
    return pa.DataFrameSchema(
        {
            "transaction_id": pa.Column(str, pa.Check.str_matches(f"^(?:{columns['transaction_id'].pattern})$")),
            "machine_id": pa.Column(str, pa.Check.str_matches(f"^(?:{columns['machine_id'].pattern})$")),
            "transaction_at": pa.Column(pl.Datetime("us", "UTC"), pa.Check.le(dpa.NOW)),
            "volume_transferred_t": pa.Column(float, pa.Check.in_range(volume.minimum, volume.maximum), nullable=True),
            "status_code": pa.Column(str, pa.Check.isin(columns["status_code"].allowed)),
        }
    )
