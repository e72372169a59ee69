"""The sheets of a workbook as rows of text. openpyxl tells which parts there are and what a date is.

The cells are read here and not by openpyxl, which drops rows that stand out of order, gives an empty cell for a
formula that was never calculated, fails over charts and styles that nobody asked for, keeps an element of each row in
memory, and takes twice as long.
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cached_property, partial
from typing import IO, BinaryIO, NamedTuple
from xml.etree.ElementTree import Element, fromstring, iterparse
from zipfile import ZipFile, ZipInfo

from openpyxl.reader.excel import ExcelReader
from openpyxl.styles.numbers import BUILTIN_FORMATS, is_date_format, is_timedelta_format
from openpyxl.utils import column_index_from_string
from openpyxl.utils.datetime import from_excel
from openpyxl.xml.constants import SHARED_STRINGS, SHEET_MAIN_NS, STYLES_TYPE

from freight.errors import SourceError

STRICT_NAMESPACE = "http://purl.oclc.org/ooxml"
DIGITS = "0123456789"
EXACT_FLOAT_INTEGERS = 1e15  # below it a float holds every whole number, so its text needs no exponent
BOOLEANS = {"0": "false", "1": "true", "false": "false", "true": "true"}
LEADING_ZEROS = re.compile(r"0{2,}")  # of a number format: 42 shows as 00042
ESCAPED = re.compile(r"_x((?![Dd][89A-Fa-f])[0-9A-Fa-f]{4})_")  # any character but half of a surrogate pair

WriteNumber = Callable[[str], str]  # a number as the file stores it, to the text that stands for it


def _tag(name: str) -> str:
    return f"{{{SHEET_MAIN_NS}}}{name}"


SHEET_DATA, ROW, CELL, VALUE, FORMULA, INLINE = map(_tag, ("sheetData", "row", "c", "v", "f", "is"))
STRING_TABLE, STRING, TEXT, RUN = map(_tag, ("sst", "si", "t", "r"))


class UnusableCell(Exception):
    """A cell holds no value; carries what it holds instead, and why that is none."""

    def __init__(self, text: str, detail: str) -> None:
        super().__init__(detail)
        self.text = text
        self.detail = detail


class Row(NamedTuple):
    """A row of a sheet; columns count from 1.

    Attributes:
        number: as Excel shows it.
        texts: text of the cells that hold something, by column.
        errors: why a cell holds no value, by column.
    """

    number: int
    texts: dict[int, str]
    errors: dict[int, str]


class Package(ZipFile):
    """A ZIP whose parts are found by their names in any case, and if a program wrote backslashes into them."""

    def getinfo(self, name: str) -> ZipInfo:
        """Return the part of a name.

        Raises:
            KeyError: there is none.
        """
        exact = self.NameToInfo.get(name)
        return exact or super().getinfo(self._names.get(folded(name), name))

    @cached_property
    def _names(self) -> dict[str, str]:
        return {folded(name): name for name in self.namelist()}


def folded(name: str) -> str:
    """Return what two names of one part have in common."""
    return name.replace("\\", "/").casefold()


class Workbook:
    """A workbook whose sheets are read row by row; chart sheets and macro sheets are not among them.

    Attributes:
        sheets: names of the sheets, in their order.

    Raises:
        SourceError: strict OOXML. Anything else when it is damaged.
    """

    def __init__(self, content: BinaryIO) -> None:
        reader = ExcelReader(content, read_only=True, keep_links=False)
        reader.archive = Package(content)
        reader.read_manifest()
        reader.read_workbook()
        _refuse_strict(reader)
        self._archive = reader.archive
        self._parts = {
            sheet.name: relation.target
            for sheet, relation in reader.parser.find_sheets()
            if relation.Type.endswith("/worksheet")
        }
        self.sheets = list(self._parts)
        self._strings = _shared_strings(reader)
        self._styled = _styled_numbers(reader)

    def rows(self, sheet: str) -> Iterator[Row]:
        """Give the rows of a sheet that are in the file, whatever it says of its size.

        Raises:
            SourceError: rows or cells are out of order, so that nobody can tell which one counts.
        """
        number = 0
        with self._archive.open(self._parts[sheet]) as part:
            for element in _children(part, SHEET_DATA, ROW):
                number = _row_number(element, number)
                yield self._row(element, number)

    def _row(self, element: Element, number: int) -> Row:
        row, column = Row(number, {}, {}), 0
        for cell in element:
            if cell.tag != CELL:
                continue
            column = _column(cell, column)
            try:
                text = self._text(cell)
            except UnusableCell as unusable:
                text, row.errors[column] = unusable.text, unusable.detail
            if text:
                row.texts[column] = text
        return row

    def _text(self, cell: Element) -> str:
        value, kind = cell.findtext(VALUE), cell.get("t", "n")
        if not value:
            return _text_without_value(cell, kind)
        match kind:
            case "n":
                return self._number(value, cell.get("s"))
            case "s" if value.isdigit():
                return self._strings[int(value)]
            case "str":
                return _unescaped(value)
            case "b" if value in BOOLEANS:
                return BOOLEANS[value]
            case "d":
                return value  # ISO 8601, which contracts understand
            case "e":
                raise UnusableCell(value, f"the cell holds the error {value}")
        raise UnusableCell(value, f"the cell holds {value!r}, which is no value of the type {kind!r}")

    def _number(self, value: str, style: str | None) -> str:
        try:
            return self._styled.get(style, _plain_number)(value)
        except (ValueError, OverflowError):
            raise UnusableCell(value, f"the cell holds {value}, which its format cannot show") from None


def _refuse_strict(reader: ExcelReader) -> None:
    if any(relation.Type.startswith(STRICT_NAMESPACE) for relation in reader.parser.rels.values()):
        raise SourceError(
            "unsupported",
            "the workbook is saved as Strict Open XML",
            remedy="save it as `Excel Workbook (*.xlsx)`, not as `Strict Open XML Spreadsheet`",
        )


def _children(part: IO[bytes], parent_tag: str, tag: str) -> Iterator[Element]:
    """Give the children of an element one by one, each only until the next: a parent that keeps them would grow."""
    events = iterparse(part, events=("start", "end"))
    parent = next((element for _, element in events if element.tag == parent_tag), None)
    for event, element in events:
        if event == "end" and element.tag == tag and parent is not None:
            yield element
            parent.clear()


def _shared_strings(reader: ExcelReader) -> list[str]:
    entry = reader.package.find(SHARED_STRINGS)
    if entry is None:
        return []
    with reader.archive.open(entry.PartName[1:]) as part:
        return [_rich_text(element) for element in _children(part, STRING_TABLE, STRING)]


def _rich_text(element: Element) -> str:
    """Return a text without its formats, and without the phonetic readings that are no part of it."""
    runs = (child for child in element if child.tag in (TEXT, RUN))
    pieces = (child.text if child.tag == TEXT else child.findtext(TEXT) for child in runs)
    return _unescaped("".join(piece or "" for piece in pieces))


def _unescaped(text: str) -> str:
    """Read `_x000D_`, by which a workbook writes characters that XML cannot hold."""
    return ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text


def _styled_numbers(reader: ExcelReader) -> dict[str | None, WriteNumber]:
    """Return how numbers are written in those cell styles that show them as dates or with leading zeros."""
    entry = reader.package.find(STYLES_TYPE)
    if entry is None:
        return {}
    styles = fromstring(reader.archive.read(entry.PartName[1:]))
    codes = {**BUILTIN_FORMATS, **_own_formats(styles)}
    written = {
        str(style): _written_as(codes.get(int(element.get("numFmtId", 0)), ""), reader.wb.epoch)
        for style, element in enumerate(styles.iterfind(f"{_tag('cellXfs')}/{_tag('xf')}"))
    }
    return {style: write for style, write in written.items() if write}


def _own_formats(styles: Element) -> dict[int, str]:
    formats = styles.iterfind(f"{_tag('numFmts')}/{_tag('numFmt')}")
    return {int(element.get("numFmtId", 0)): element.get("formatCode", "") for element in formats}


def _written_as(code: str, epoch: datetime) -> WriteNumber | None:
    if is_date_format(code):
        return partial(_date, epoch=epoch, duration=is_timedelta_format(code))
    return partial(_padded_number, width=len(code)) if LEADING_ZEROS.fullmatch(code) else None


def _row_number(element: Element, previous: int) -> int:
    written = element.get("r")  # some exporters leave it out, some write 2.0
    return _after(previous, int(float(written)) if written else previous + 1, "row", written)


def _column(cell: Element, previous: int) -> int:
    written = cell.get("r")
    column = column_index_from_string(written.rstrip(DIGITS)) if written else previous + 1
    return _after(previous, column, "cell", written)


def _after(previous: int, position: int, kind: str, written: str | None) -> int:
    if position <= previous:
        raise SourceError(
            "corrupt",
            f"the workbook is damaged: the {kind} {written} is out of order or there twice",
            remedy="open it in Excel, let it be repaired, check it and save it",
        )
    return position


def _text_without_value(cell: Element, kind: str) -> str:
    inline = cell.find(INLINE)
    if inline is not None:
        return _rich_text(inline)
    formula = cell.find(FORMULA)
    if kind == "e" or (formula is not None and kind != "str"):  # the result of a formula may be a text without letters
        text = f"={(formula.text if formula is not None else None) or ''}"
        raise UnusableCell(text, "the cell holds a formula without a result; open the workbook in Excel and save it")
    return ""


def _plain_number(value: str) -> str:
    if value.isdigit():
        return str(int(value))
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < EXACT_FLOAT_INTEGERS else str(number)


def _padded_number(value: str, width: int) -> str:
    text = _plain_number(value)
    return text.zfill(width) if text.isdigit() else text


def _date(value: str, epoch: datetime, *, duration: bool) -> str:
    """Return days since an epoch as an instant; Excel keeps them as a float, hence rounded to milliseconds."""
    when = from_excel(float(value), epoch, timedelta=duration)
    if not isinstance(when, datetime):
        return str(when)
    return when.isoformat(" ", "milliseconds" if when.microsecond else "seconds")
