"""JSON: a list of objects, and JSON Lines."""

from dataclasses import replace

from freight.contracts import Contract
from freight.contracts.headers import known_headers, match_header
from freight.readers.isolated import read_isolated
from freight.readers.locations import SourceFile
from freight.readers.options import JsonOptions, ReaderOptions
from freight.readers.raw import RawTable


def read_json(file: SourceFile, contract: Contract, options: JsonOptions) -> RawTable:
    """Read a JSON list of objects, bare or under a key such as `data`; row numbers count the objects from 1.

    Raises:
        SourceError: The file is not JSON, not a list of objects or empty, has several lists, or says that there is
            more; or an object has a key that the first ones lack.
    """
    wishes = options.model_dump(include={"ignore", "records", "total_key", "absent_keys", "pages"})
    return read_isolated(file, "freight.parsers.json_records.parse_list", wishes)


def read_jsonl(file: SourceFile, contract: Contract, options: ReaderOptions) -> RawTable:
    """Read JSON Lines; row numbers count lines from 1. A line that is not a JSON object becomes a fault.

    Raises:
        SourceError: The file is empty, or a later line has a key that the first ones lack.
    """
    return read_isolated(file, "freight.parsers.json_records.parse_lines", {"ignore": options.ignore})


def read_known_keys(file: SourceFile, contract: Contract, options: ReaderOptions) -> RawTable:
    """Read JSON Lines as `read_jsonl` does, but drop keys that the contract does not know."""
    table = read_isolated(file, "freight.parsers.json_records.parse_known", {"known": [*known_headers(contract)]})
    if not match_header(table.header, contract).missing:
        return table
    passed_over = [key for key in read_jsonl(file, contract, options).header if key not in table.header]
    return replace(table, passed_over=tuple(passed_over))
