"""OpenDocument spreadsheets (.ods), read row by row.

Written here because the libraries for it hold the whole document in memory, or return an empty text for an error.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import cache
from itertools import chain
from typing import BinaryIO
from xml.etree.ElementTree import Element, XMLPullParser
from xml.parsers import expat
from zipfile import ZipFile

from freight.errors import SourceError
from freight.parsers.workbooks.cells import (
    BOOLEANS,
    ERRORS,
    LAST_COLUMN,
    LAST_ROW,
    Block,
    Row,
    WriteNumber,
    duration_text,
    error_cell,
    formula_without_result,
    instant,
    number_text,
    shown_with,
    within,
)
from freight.parsers.workbooks.formats import unit_in_text
from freight.parsers.workbooks.package import behind_a_password

CONTENT, MANIFEST = "content.xml", "META-INF/manifest.xml"
BLOCK_BYTES = 1 << 16
LONGEST_SPAN_BYTES = 1 << 8
SHEET_DEPTH = 4  # the document, its body, the spreadsheet, the sheet
ERROR_OF_LIBREOFFICE = re.compile(r"Err:\d+")
DURATION = re.compile(r"(-?)PT(\d+)H(\d+)M(\d+(?:[.,]\d+)?)S")
SPACE = re.compile(r"[ \t\r\n]+")
MILLISECOND = timedelta(milliseconds=1)


def _tag(namespace: str, name: str) -> str:
    return f"{{urn:oasis:names:tc:opendocument:xmlns:{namespace}:1.0}}{name}"


SHEET, ROW = _tag("table", "table"), _tag("table", "table-row")
CELLS = {_tag("table", "table-cell"), _tag("table", "covered-table-cell")}
SHEET_NAME, FORMULA = _tag("table", "name"), _tag("table", "formula")
ROWS_REPEATED, COLUMNS_REPEATED = _tag("table", "number-rows-repeated"), _tag("table", "number-columns-repeated")
TYPE, VALUE, STRING_VALUE = _tag("office", "value-type"), _tag("office", "value"), _tag("office", "string-value")
TYPE_OF_LIBREOFFICE = "{urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0}value-type"
COLUMN, VISIBILITY = _tag("table", "table-column"), _tag("table", "visibility")
ROWS_SPANNED, COLUMNS_SPANNED = _tag("table", "number-rows-spanned"), _tag("table", "number-columns-spanned")
SPANNED = re.compile(rb"number-(?:row|column)s-spanned\s*=\s*[\"'](?!1[\"'])")
STYLE, STYLE_NAME, STYLE_OF = _tag("style", "style"), _tag("style", "name"), _tag("table", "style-name")
SHEET_STYLE, DISPLAY = _tag("style", "table-properties"), _tag("table", "display")
PARAGRAPH, SPACES, SPACES_COUNT = _tag("text", "p"), _tag("text", "s"), _tag("text", "c")
CHARACTERS = {SPACES: " ", _tag("text", "tab"): "\t", _tag("text", "line-break"): "\n"}
NO_TEXT = {_tag("office", "annotation"), _tag("text", "note"), _tag("text", "ruby-text")}


class OdsWorkbook:
    """A spreadsheet; its sheets are read row by row.

    Attributes:
        sheets: The names of the sheets, in order.
        hidden: The names of those that are hidden.
        remark: Empty.

    Raises:
        SourceError: The file is protected by a password, or not a spreadsheet. A damaged file can raise any other
        error.
    """

    remark = ""

    def __init__(self, content: BinaryIO) -> None:
        self._archive = ZipFile(content)
        if MANIFEST in self._archive.namelist() and b"encryption-data" in self._archive.read(MANIFEST):
            raise behind_a_password()
        self._starts, self._styles = _starts_of_sheets(self._archive)
        self.sheets = list(self._starts)
        if not self.sheets:
            raise SourceError(
                "unsupported",
                "the file is an OpenDocument file, but not a spreadsheet",
                remedy="deliver its table as .xlsx, .ods or CSV",
            )
        self.hidden = frozenset(self._hidden_sheets())

    def rows(self, sheet: str) -> Iterator[Row]:
        """Yield the rows of a sheet that have content.

        Raises:
            SourceError: There are more rows or columns than a sheet can have.
        """
        last = 0
        for element in self._row_elements(sheet):
            first, last = last + 1, last + _repeated(element, ROWS_REPEATED)
            row = _row(element)
            if row.texts or row.errors:
                yield from (row._replace(number=place) for place in range(first, within(last, LAST_ROW) + 1))

    def blocks(self, sheet: str) -> Sequence[Block]:
        """Return the merged cells of a sheet."""
        if not self._has_spans():
            return []
        found, last = list[Block](), 0
        for element in self._row_elements(sheet):
            found += _spans(element, last + 1)
            last += _repeated(element, ROWS_REPEATED)
        return found

    def hidden_columns(self, sheet: str) -> Sequence[range]:
        """Return the hidden columns of a sheet, which are declared before its rows."""
        hidden, last = list[range](), 0
        for event, element in self._events(sheet):
            if element.tag == ROW:
                break
            if event == "start" and element.tag == COLUMN:
                first, last = last + 1, last + _repeated(element, COLUMNS_REPEATED)
                if element.get(VISIBILITY, "visible") != "visible":
                    hidden.append(range(first, last + 1))
        return hidden

    def _hidden_sheets(self) -> Iterator[str]:
        """Yield the names of the sheets with a style that is not displayed."""
        styles = set[str]()
        style = ""
        for event, element in self._events(self.sheets[0]):
            if event == "start" and element.tag == SHEET:
                break
            if event == "start" and element.tag == STYLE:
                style = element.get(STYLE_NAME, "")
            elif event == "start" and element.tag == SHEET_STYLE and element.get(DISPLAY) == "false":
                styles.add(style)
        yield from (sheet for sheet, of in self._styles.items() if of in styles)

    @cache  # noqa: B019 - a workbook lives as long as its process
    def _has_spans(self) -> bool:
        rest = b""
        with self._archive.open(CONTENT) as part:
            while block := part.read(BLOCK_BYTES):
                if SPANNED.search(rest + block):
                    return True
                rest = block[-LONGEST_SPAN_BYTES:]
        return False

    def _row_elements(self, sheet: str) -> Iterator[Element]:
        """Yield the elements of rows, and drop each before the next: otherwise their parent would grow."""
        within: list[Element] = []
        for event, element in self._events(sheet):
            if event == "start":
                within.append(element)
                continue
            within.pop()
            if element.tag == SHEET and len(within) == SHEET_DEPTH - 1:
                return
            if element.tag == ROW and sum(parent.tag == SHEET for parent in within) == 1:  # not of a table in a cell
                yield element
                within[-1].clear()

    def _events(self, sheet: str) -> Iterator[tuple[str, Element]]:
        """Parse the part before the first sheet, then this sheet, and skip the sheets between."""
        parser: XMLPullParser[Element] = XMLPullParser(("start", "end"))
        with self._archive.open(CONTENT) as part:
            before = part.read(min(self._starts.values()))
            part.seek(self._starts[sheet])
            for block in chain([before], iter(lambda: part.read(BLOCK_BYTES), b"")):
                parser.feed(block)
                yield from parser.read_events()  # type: ignore[misc]


def _starts_of_sheets(archive: ZipFile) -> tuple[dict[str, int], dict[str, str]]:
    """Return the byte offset in the content of each sheet's start, and the name of its style.

    Raises:
        ExpatError: The content is not XML, or ends too early.
    """
    starts, styles = dict[str, int](), dict[str, str]()
    depth = 0
    parser = expat.ParserCreate(namespace_separator="}")

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth == SHEET_DEPTH and f"{{{name}" == SHEET:
            sheet = attributes.get(SHEET_NAME[1:], "")
            starts.setdefault(sheet, parser.CurrentByteIndex)
            styles.setdefault(sheet, attributes.get(STYLE_OF[1:], ""))

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartElementHandler, parser.EndElementHandler = start, end
    with archive.open(CONTENT) as part:
        parser.ParseFile(part)
    return starts, styles


def _spans(row: Element, number: int) -> Iterator[Block]:
    """Yield the merged cells that start in a row."""
    last = 0
    for cell in row:
        if cell.tag in CELLS:
            first, last = last + 1, last + _repeated(cell, COLUMNS_REPEATED)
            down, right = _repeated(cell, ROWS_SPANNED), _repeated(cell, COLUMNS_SPANNED)
            block = Block(number, number + down - 1, first, first + right - 1)
            if not block.is_one_cell:
                yield block


def _row(element: Element) -> Row:
    row, last = Row(0, {}, {}, element.get(VISIBILITY, "visible") != "visible"), 0
    for cell in element:
        if cell.tag not in CELLS:
            continue
        first, last = last + 1, last + _repeated(cell, COLUMNS_REPEATED)
        held = Row(0, {}, {})
        held.put(0, _text, cell)
        for kept, of_cell in ((row.texts, held.texts), (row.errors, held.errors)):
            if of_cell:
                kept.update(dict.fromkeys(range(first, within(last, LAST_COLUMN) + 1), of_cell[0]))
    return row


def _repeated(element: Element, attribute: str) -> int:
    times = int(element.get(attribute, 1))
    if times < 1:
        raise ValueError(f"a cell is repeated {times} times")
    return times


def _text(cell: Element) -> str:
    shown, formula = _shown(cell), cell.get(FORMULA)
    if cell.get(TYPE_OF_LIBREOFFICE) == "error" or (formula and _is_error(shown)):
        raise error_cell(shown)
    match cell.get(TYPE):
        case None if formula and cell.find(PARAGRAPH) is None:  # an empty text has an empty paragraph
            raise formula_without_result(formula)
        case None:
            return shown
        case "string":
            return cell.get(STRING_VALUE, shown)
        case "float" | "percentage" | "currency":
            return _as_shown(number_text(cell.get(VALUE, ""), None), shown)
        case kind:
            return number_text(cell.get(_tag("office", f"{kind}-value"), shown), WRITTEN.get(kind))


def _shown(cell: Element) -> str:
    return "\n".join(_paragraph(child) for child in cell if child.tag == PARAGRAPH)


def _paragraph(element: Element) -> str:
    return "".join(_pieces(element)) if len(element) else SPACE.sub(" ", element.text or "")


def _pieces(element: Element) -> Iterator[str]:
    """Yield the text of a paragraph; any run of white space is one space unless an element sets more."""
    yield SPACE.sub(" ", element.text or "")
    for child in element:
        if child.tag in CHARACTERS:
            yield CHARACTERS[child.tag] * int(child.get(SPACES_COUNT, 1))
        elif child.tag not in NO_TEXT:
            yield from _pieces(child)
        yield SPACE.sub(" ", child.tail or "")


def _is_error(shown: str) -> bool:
    return shown in ERRORS.values() or bool(ERROR_OF_LIBREOFFICE.fullmatch(shown))


def _as_shown(text: str, shown: str) -> str:
    """Return a number with the leading zeros of its format.

    Raises:
        UnusableCell: It is shown with a unit.
    """
    if unit := unit_in_text(shown):
        raise shown_with(text, unit, "it")
    padded = shown.startswith("0") and shown.isdecimal() and shown.lstrip("0") == text.lstrip("0")
    return shown if padded else text


def _instant(value: str) -> str:
    when = datetime.fromisoformat(value) + MILLISECOND / 2  # rounds: the source is a float
    return instant(when - timedelta(microseconds=when.microsecond % 1_000))


def _duration(value: str) -> str:
    found = DURATION.fullmatch(value)
    if not found:
        raise ValueError("no duration")
    sign, hours, minutes, seconds = found.groups()
    length = timedelta(hours=int(hours), minutes=int(minutes), seconds=round(float(seconds.replace(",", ".")), 3))
    if sign or length >= timedelta(days=1):
        return duration_text(-length if sign else length)
    return str((datetime.min + length).time())


def _boolean(value: str) -> str:
    if value not in BOOLEANS:
        raise ValueError("neither true nor false")
    return BOOLEANS[value]


WRITTEN: dict[str, WriteNumber] = {"date": _instant, "time": _duration, "boolean": _boolean}
