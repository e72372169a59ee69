"""Readers: one source in, text in batches out. A reader is a function of a file, a contract and its options."""

from collections.abc import Callable, Mapping
from typing import Any

from freight.contracts import Contract
from freight.errors import ConfigurationError
from freight.readers.delimited import read_delimited
from freight.readers.excel import read_excel
from freight.readers.json_records import read_json, read_jsonl
from freight.readers.locations import SourceFile, find_files
from freight.readers.raw import RawBatch, RawTable

__all__ = ["READERS", "RawBatch", "RawTable", "Reader", "SourceFile", "find_files", "reader_for"]

Reader = Callable[[SourceFile, Contract, Mapping[str, Any]], RawTable]

READERS: dict[str, Reader] = {
    "csv": read_delimited,
    "excel": read_excel,
    "json": read_json,
    "jsonl": read_jsonl,
}


def reader_for(name: str) -> Reader:
    """Return the reader of that name.

    Raises:
        ConfigurationError: there is no such reader.
    """
    try:
        return READERS[name]
    except KeyError:
        raise ConfigurationError(f"unknown reader {name!r}: the readers are {', '.join(READERS)}") from None
