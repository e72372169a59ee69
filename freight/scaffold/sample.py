"""Samples: a file of a source that nobody has described yet, read as text by the reader that its name tells."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from freight.contracts import Contract
from freight.contracts.headers import match_header
from freight.errors import ConfigurationError, SourceError
from freight.frames import ROW_NUMBER, DecimalMark
from freight.numbers import Reading, sure_reading
from freight.readers import FILES_ONLY, SourceFile, find_stored, reader_for
from freight.readers.dialect import DelimitedOptions, detect_dialect
from freight.readers.packed import is_packed
from freight.readers.raw import RawTable, no_rows

READERS_BY_SUFFIX = {
    "csv": ("csv", "tsv", "txt"),
    "excel": ("xlsx", "xlsm", "xls", "xlsb", "ods"),
    "json": ("json",),
    "jsonl": ("jsonl", "ndjson"),
    "access": ("mdb", "accdb"),
}


@dataclass(frozen=True)
class Sample:
    """A file with all its rows.

    Attributes:
        file: where it is.
        reader: name of its reader.
        options: of the reader, as the catalog should have them.
        header: cells as written.
        rows: `row_number` and text columns named by their position.
        faults: rows that could not be cut into cells.
        numbers: How they are read.
    """

    file: SourceFile
    reader: str
    options: Mapping[str, Any]
    header: tuple[str, ...]
    rows: pl.DataFrame
    faults: int
    numbers: Reading

    @property
    def read(self) -> int:
        """Rows that it has."""
        return self.rows.height + self.faults

    def texts(self, position: int) -> pl.Series:
        """Return a column."""
        return self.rows[str(position)]

    def conformed(self, contract: Contract) -> pl.DataFrame:
        """Return the rows with columns named as in a contract that knows the whole header."""
        names = {str(position): name for position, name in enumerate(match_header(self.header, contract).columns)}
        return self.rows.rename(names)


def find_sample(path: Path) -> SourceFile:
    """Return the file at a path, or the first one within a `.zip`.

    Raises:
        SourceError: there is none.
    """
    found = find_stored(_literal(str(path.resolve())), Path.cwd(), FILES_ONLY, None, may_be_none=False)
    return found[0]


def _literal(path: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in path)


def plain_name(file: SourceFile) -> str:
    """Return the name of what is in a file, without the suffix of its compression."""
    return PurePosixPath(file.name).stem if is_packed(file.name) else file.name


def reader_of(file: SourceFile) -> str:
    """Return the reader that the name of a file tells.

    Raises:
        ConfigurationError: it tells none.
    """
    suffix = PurePosixPath(plain_name(file)).suffix.lower().removeprefix(".")
    for reader, suffixes in READERS_BY_SUFFIX.items():
        if suffix in suffixes:
            return reader
    raise ConfigurationError(f"{file.name}: its name tells no reader: name one with --reader")


def read_sample(file: SourceFile, reader: str, options: Mapping[str, Any], known: Iterable[Contract]) -> Sample:
    """Read all of a file.

    Args:
        file: of the sample.
        reader: its name.
        options: of the reader.
        known: contracts whose headers help to find the header.

    Raises:
        ConfigurationError: an option is wrong.
        SourceError: it cannot be read, or has no rows.
    """
    anything = _any_of(known)
    table = reader_for(reader)(file, anything, options)
    batches = list(table.batches)
    rows = pl.concat([no_rows(len(table.header)), *(batch.rows for batch in batches)])
    if rows.is_empty():
        raise SourceError("header_only", "it has no rows", location=file.path, remedy="take a sample with some")
    faults = sum(batch.faults.height for batch in batches)
    sample = Sample(file, reader, options, table.header, rows, faults, _reading(table, rows))
    return _with_dialect(sample, anything) if reader == "csv" else sample


def _reading(table: RawTable, rows: pl.DataFrame) -> Reading:
    return sure_reading(rows, table.header, table.evidence) if table.evidence else table.numbers


def _any_of(known: Iterable[Contract]) -> Contract:
    """Return a contract that knows the headers of several, which is all that a reader asks of it."""
    columns = tuple(column for contract in known for column in contract.columns)
    return Contract("sample", 1, "sample", (), columns, freshness_s=0, load_order=0)


def _with_dialect(sample: Sample, known: Contract) -> Sample:
    """Return a sample whose options say how it is written, so that a later file of a few rows is read alike."""
    dialect = detect_dialect(sample.file, known, DelimitedOptions.of(sample.options))
    detected = {} if dialect.delimiter == "," else {"delimiter": dialect.delimiter}
    if _has_fractions(sample.rows, sample.numbers.decimal):
        detected["decimal"] = sample.numbers.decimal
    return replace(sample, options={**detected, **sample.options})


def _has_fractions(rows: pl.DataFrame, mark: DecimalMark) -> bool:
    fraction = rf"^\s*-?[0-9 ]+[{mark}][0-9]+\s*$"
    return bool(rows.select(pl.any_horizontal(pl.col(pl.String).str.contains(fraction).any())).item())


def row_numbers(sample: Sample, count: int) -> list[int]:
    """Return the numbers of its first rows."""
    return sample.rows[ROW_NUMBER].head(count).to_list()
