"""Samples: files of a source that is not described yet, read as text by the reader for their name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from freight.contracts import Contract
from freight.contracts.headers import match_header
from freight.errors import ConfigurationError, SourceError
from freight.frames import NATIVE, ROW_NUMBER
from freight.notation.evidence import Evidence, Notation, sure_notation
from freight.readers import FILES_ONLY, READERS, SourceFile, find_stored, reader_for
from freight.readers.dialect import DelimitedOptions, detect_dialect
from freight.readers.locations import SHOWN_FILES
from freight.readers.packed import is_packed
from freight.readers.raw import no_rows

READERS_OF_FILES = tuple(name for name, reader in READERS.items() if reader.suffixes)


@dataclass(frozen=True)
class Sample:
    """A file with all its rows.

    Attributes:
        file: The file.
        reader: The name of its reader.
        options: The reader's options as for the catalog: those that are given, and those that the sample proves.
        header: The cells of the header as written.
        rows: `row_number` and text columns named by their position.
        faults: The number of rows that could not be split into cells.
        notation: The notation of its numbers and days.
        skipped: The number of rows that the options leave out.
    """

    file: SourceFile
    reader: str
    options: Mapping[str, Any]
    header: tuple[str, ...]
    rows: pl.DataFrame
    faults: int
    notation: Notation
    skipped: int = 0

    @property
    def read(self) -> int:
        """The number of rows in the file."""
        return self.rows.height + self.faults

    def texts(self, position: int) -> pl.Series:
        """Return the texts of a column."""
        return self.rows[str(position)]

    def conformed(self, contract: Contract) -> pl.DataFrame:
        """Return the rows with the column names of a contract that knows the whole header."""
        names = {str(position): name for position, name in enumerate(match_header(self.header, contract).columns)}
        return self.rows.rename(names)


def find_sample(path: Path, members: str | None = None) -> SourceFile:
    """Return the file at a path, or the first one in a `.zip`.

    Args:
        path: The path.
        members: The glob for the names of the files to read in a `.zip`; None for all.

    Raises:
        SourceError: There is no such file.
        ConfigurationError: The files in the `.zip` are of several kinds.
    """
    location = _literal(str(path.resolve()))
    found = find_stored(location, Path.cwd(), FILES_ONLY, None, may_be_none=False, members=members)
    if len({_suffix(file) for file in found}) > 1:
        held = ", ".join(file.name for file in found[:SHOWN_FILES])
        raise ConfigurationError(f"it holds {held}: name those with data, such as --option 'members=*.csv'")
    return found[0]


def _literal(path: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in path)


def plain_name(file: SourceFile) -> str:
    """Return the name of a file without the suffix of its compression."""
    return PurePosixPath(file.name).stem if is_packed(file.name) else file.name


def _suffix(file: SourceFile) -> str:
    return PurePosixPath(plain_name(file)).suffix.lower().removeprefix(".")


def reader_of(file: SourceFile) -> str:
    """Return the reader for the name of a file.

    Raises:
        ConfigurationError: No reader has that suffix.
    """
    suffix = _suffix(file)
    for reader in READERS_OF_FILES:
        if suffix in reader_for(reader).suffixes:
            return reader
    raise ConfigurationError(f"{file.name}: no reader has this suffix: name one with --reader")


def read_sample(file: SourceFile, reader: str, options: Mapping[str, Any], known: Iterable[Contract]) -> Sample:
    """Read a whole file.

    Args:
        file: The file of the sample.
        reader: The name of the reader.
        options: The reader's options.
        known: The contracts whose headers help to find the header.

    Raises:
        ConfigurationError: An option is wrong.
        SourceError: The file cannot be read, or has no rows.
    """
    anything = _any_of(known)
    table = reader_for(reader)(file, anything, options)
    batches = list(table.batches)
    rows = pl.concat([no_rows(len(table.header)), *(batch.rows for batch in batches)], how="diagonal")
    if rows.is_empty():
        raise SourceError("header_only", "it has no rows", location=file.path, remedy="use a sample with rows")
    faults = sum(batch.faults.height for batch in batches)
    skipped = sum(batch.skipped for batch in batches)
    evidence = Evidence(
        reader_for(reader).options.of(options).forms, has_commas_between_cells=table.has_commas_between_cells
    )
    notation = sure_notation(rows, table.header, evidence)
    delimiter = _delimiter(file, anything, options) if reader == "csv" else {}
    stated = {**delimiter, **evidence.proven_options(), **options}
    return Sample(file, reader, stated, table.header, rows.drop(NATIVE, strict=False), faults, notation, skipped)


def _any_of(known: Iterable[Contract]) -> Contract:
    """Return a contract that knows the headers of several, which is all that a reader needs."""
    columns = tuple(column for contract in known for column in contract.columns)
    return Contract("sample", 1, "sample", (), columns, freshness_s=0, load_order=0)


def _delimiter(file: SourceFile, known: Contract, options: Mapping[str, Any]) -> dict[str, str]:
    """Return the option for an unusual delimiter, so that a later file with few rows is read the same way."""
    dialect = detect_dialect(file, known, DelimitedOptions.of(options))
    return {} if dialect.delimiter == "," else {"delimiter": dialect.delimiter}


def row_numbers(sample: Sample, count: int) -> list[int]:
    """Return the row numbers of a sample's first rows."""
    return sample.rows[ROW_NUMBER].head(count).to_list()
