"""Readers: one source in, text in batches out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from freight.contracts import Contract
from freight.errors import ConfigurationError
from freight.readers.access import AccessOptions, read_access
from freight.readers.delimited import DelimitedOptions, read_delimited
from freight.readers.excel import ExcelOptions, read_excel
from freight.readers.json_records import read_json, read_jsonl
from freight.readers.locations import Drops, SourceFile, below, find_files
from freight.readers.options import ReaderOptions
from freight.readers.raw import RawBatch, RawTable
from freight.readers.zip_members import unpacked

__all__ = [
    "READERS",
    "Drops",
    "RawBatch",
    "RawTable",
    "Reader",
    "SourceFile",
    "below",
    "find_files",
    "reader_for",
    "unpacked",
]


@dataclass(frozen=True)
class Reader:
    """How files of a kind are read.

    Attributes:
        read: a function of a file, a contract and the options below.
        options: what the catalog may say under `options`.
    """

    read: Callable[[SourceFile, Contract, Any], RawTable]
    options: type[ReaderOptions]

    def __call__(self, file: SourceFile, contract: Contract, options: Mapping[str, Any]) -> RawTable:
        """Read a file with the options of its catalog entry.

        Raises:
            ConfigurationError: an option is wrong.
            SourceError: the file cannot be used.
        """
        return self.read(file, contract, self.options.of(options))


READERS: dict[str, Reader] = {
    "csv": Reader(read_delimited, DelimitedOptions),
    "excel": Reader(read_excel, ExcelOptions),
    "json": Reader(read_json, ReaderOptions),
    "jsonl": Reader(read_jsonl, ReaderOptions),
    "access": Reader(read_access, AccessOptions),
}


def reader_for(name: str) -> Reader:
    """Return the reader of that name.

    Raises:
        ConfigurationError: there is no such reader.
    """
    try:
        return READERS[name]
    except KeyError:
        raise ConfigurationError(f"reader: there is no {name!r}, the readers are {', '.join(READERS)}") from None
