"""Excel workbooks."""

from pydantic import Field

from freight.contracts import Contract
from freight.contracts.headers import known_headers
from freight.readers.isolated import read_isolated
from freight.readers.locations import SourceFile
from freight.readers.options import FileOptions
from freight.readers.raw import RawTable


class ExcelOptions(FileOptions):
    """Where the table is, to override detection."""

    sheet: str | None = Field(default=None, description="Name of the sheet.")
    header_row: int | None = Field(default=None, ge=1, description="Row of the header, as Excel shows it.")


def read_excel(file: SourceFile, contract: Contract, options: ExcelOptions) -> RawTable:
    """Read the sheet whose header fits the contract best; row numbers are the ones that Excel shows.

    Args:
        file: An .xlsx, .xlsm, .xlsb, .xls or .ods workbook, regardless of its suffix.
        contract: The contract, which lists the headers to look for.
        options: Where the table is, to override detection.

    Raises:
        SourceError: The file is not a workbook, has a password, is too large or damaged, or has no rows.
    """
    wishes = {"headers": sorted(known_headers(contract)), **options.model_dump()}
    return read_isolated(file, "freight.parsers.excel.parse", wishes)
