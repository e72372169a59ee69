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

    sheet: str | list[str] | None = Field(
        default=None, description="Names of the sheets to read, with * and ? in the place of any text."
    )
    skip_sheets: str | list[str] = Field(default=[], description="Names of the sheets to leave out, with * and ?.")
    header_row: int | None = Field(default=None, ge=1, description="First row of the header, as Excel shows it.")
    header_rows: int = Field(default=1, ge=1, le=5, description="Rows of the header; their texts are joined.")
    encoding: str | None = Field(default=None, description="Of a page of HTML that does not name it, such as cp1252.")
    shown_units: list[str] = Field(
        default=[], description="Units that number formats show, such as % or kg, beside numbers that count as held."
    )


def read_excel(file: SourceFile, contract: Contract, options: ExcelOptions) -> RawTable:
    """Read the sheets whose header fits the contract best; row numbers are the ones that Excel shows.

    Args:
        file: An .xlsx, .xlsm, .xlsb, .xls or .ods workbook, an XML spreadsheet of 2003 or a page of HTML, regardless of
            its suffix.
        contract: The contract, which lists the headers to look for.
        options: Where the table is, to override detection.

    Raises:
        SourceError: The file is not a workbook, has a password, is too large or damaged, or has no rows; or it is
            unclear which of its sheets to read.
    """
    needed = [column.name for column in contract.columns if not column.optional]
    units = {column.name: column.unit for column in contract.columns if column.unit}
    texts = [column.name for column in contract.columns if column.dtype == "text"]
    known = {"columns": known_headers(contract), "needed": needed, "units": units, "texts": texts}
    wishes = {**known, **options.model_dump()}
    return read_isolated(file, "freight.parsers.excel.parse", wishes)
