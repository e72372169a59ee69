"""Tables of MS Access files: .mdb from Access 97 on, and .accdb."""

import sys

from pydantic import Field

from freight.contracts import Contract
from freight.contracts.headers import known_headers
from freight.errors import SourceError
from freight.readers.access_jars import find_program
from freight.readers.isolated import read_isolated
from freight.readers.locations import SourceFile
from freight.readers.options import FileOptions
from freight.readers.raw import RawTable
from freight.settings import load_settings


class AccessOptions(FileOptions):
    """Which table to read, to override detection."""

    table: str | None = Field(default=None, description="Name of the table.")


def read_access(file: SourceFile, contract: Contract, options: AccessOptions) -> RawTable:
    """Read the table whose columns fit the contract best; row numbers count its rows from 1.

    Args:
        file: An .mdb or .accdb file.
        contract: The contract, which lists the columns to look for.
        options: The table to read, to override detection.

    Raises:
        SourceError: The file is not an Access file, has a password or is damaged; the table is a link or missing; or
            the program that reads it is not installed.
    """
    wishes = {"headers": sorted(known_headers(contract)), **options.model_dump()}
    if sys.platform == "win32":
        return read_isolated(file, "freight.parsers.access_odbc.parse", wishes)
    try:
        program = find_program(load_settings().access)
    except SourceError as error:
        raise error.at(file.path) from None
    wishes |= {"java": str(program.java / "bin" / "java"), "class_path": program.class_path}
    return read_isolated(file, "freight.parsers.access.parse", wishes, starts=program)
