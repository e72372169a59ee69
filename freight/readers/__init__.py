"""Readers: they turn a source into batches of text."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from freight.contracts import Contract
from freight.errors import ConfigurationError
from freight.readers.access import AccessOptions, read_access
from freight.readers.delimited import read_delimited
from freight.readers.deliveries import FILES_ONLY, Connections, Delivery, NewContent, Place
from freight.readers.dialect import DelimitedOptions
from freight.readers.excel import ExcelOptions, read_excel
from freight.readers.files import deliver_files, find_stored, looks_loaded
from freight.readers.fixed_width import FixedWidthOptions, read_fixed_width
from freight.readers.functions import Function, Lookups, read_function
from freight.readers.http_api import deliver_answers
from freight.readers.http_paging import ApiOptions
from freight.readers.ignored import without_ignored
from freight.readers.json_records import read_json, read_jsonl, read_known_keys
from freight.readers.locations import SourceFile, below, find_files, put_file
from freight.readers.options import FileOptions, JsonOptions, ReaderOptions
from freight.readers.raw import RawBatch, RawTable
from freight.readers.skipped_rows import without_skipped
from freight.readers.sql_table import SqlOptions, deliver_table, read_table
from freight.readers.zip_members import is_left_out, name_members, stored_at

__all__ = [
    "FILES_ONLY",
    "READERS",
    "Connections",
    "Delivery",
    "Function",
    "Lookups",
    "NewContent",
    "Place",
    "RawBatch",
    "RawTable",
    "Reader",
    "SourceFile",
    "below",
    "find_files",
    "find_stored",
    "is_left_out",
    "looks_loaded",
    "name_members",
    "put_file",
    "read_function",
    "reader_for",
    "stored_at",
]


@dataclass(frozen=True)
class Reader:
    """How to find and read sources of one kind.

    Attributes:
        read: Reads a delivered item, given a contract and the options below.
        options: The keys that the catalog allows under `options`.
        deliver: Lists the deliveries of a place, given the options.
        needs: The catalog keys that say where the source is.
        suffixes: The suffixes of the files that it is for, most usual first.
        read_all: Reads a delivered item with all its columns, if `read` leaves out those that the contract does not
            know.
    """

    read: Callable[[Any, Contract, Any], RawTable]
    options: type[ReaderOptions]
    deliver: Callable[[Place, Any], Sequence[Delivery]] = deliver_files
    needs: tuple[str, ...] = ("location",)
    suffixes: tuple[str, ...] = ()
    read_all: Callable[[Any, Contract, Any], RawTable] | None = None

    def __call__(self, item: Any, contract: Contract, options: Mapping[str, Any]) -> RawTable:
        """Read a delivered item, such as a file, with the options of its catalog entry.

        Raises:
            ConfigurationError: An option is wrong.
            SourceError: The item cannot be used.
            SourceAway: The connection to the source failed.
        """
        return self._read(self.read, item, contract, options)

    def whole(self, item: Any, contract: Contract, options: Mapping[str, Any]) -> RawTable:
        """Read a delivered item with all its columns, for a function that reshapes it; otherwise as a call does."""
        return self._read(self.read_all or self.read, item, contract, options)

    def _read(
        self,
        read: Callable[[Any, Contract, Any], RawTable],
        item: Any,
        contract: Contract,
        options: Mapping[str, Any],
    ) -> RawTable:
        chosen = self.options.of(options)
        table = without_skipped(read(item, contract, chosen), contract, chosen.skip_rows_where)
        return without_ignored(table, chosen.ignore)

    def find(self, place: Place, options: Mapping[str, Any]) -> Sequence[Delivery]:
        """Return all deliveries of a source, new or not.

        Raises:
            ConfigurationError: An option is wrong, or the place cannot be reached from here.
            SourceError: There are no deliveries, or the place cannot be accessed.
        """
        return self.deliver(place, self.options.of(options))


READERS: dict[str, Reader] = {
    "csv": Reader(read_delimited, DelimitedOptions, suffixes=("csv", "tsv", "txt")),
    "excel": Reader(read_excel, ExcelOptions, suffixes=("xlsx", "xlsm", "xls", "xlsb", "ods")),
    "json": Reader(read_json, JsonOptions, suffixes=("json",)),
    "jsonl": Reader(read_jsonl, FileOptions, suffixes=("jsonl", "ndjson")),
    "fixed_width": Reader(read_fixed_width, FixedWidthOptions),
    "access": Reader(read_access, AccessOptions, suffixes=("mdb", "accdb")),
    "http_api": Reader(
        read_known_keys, ApiOptions, deliver_answers, needs=("location", "connection"), read_all=read_jsonl
    ),
    "sql": Reader(read_table, SqlOptions, deliver_table, needs=("connection",)),
}


def reader_for(name: str) -> Reader:
    """Return the reader of that name.

    Raises:
        ConfigurationError: No reader has the name.
    """
    try:
        return READERS[name]
    except KeyError:
        raise ConfigurationError(f"reader: there is no reader {name!r}; the readers are {', '.join(READERS)}") from None
