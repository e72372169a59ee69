"""XML spreadsheets of Excel 2003, which many programs call .xls, read row by row."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import BinaryIO
from xml.etree.ElementTree import Element, iterparse

from openpyxl.styles.numbers import is_timedelta_format
from openpyxl.utils.datetime import CALENDAR_WINDOWS_1900

from freight.parsers.workbooks.cells import (
    BOOLEANS,
    LAST_COLUMN,
    LAST_ROW,
    Block,
    Row,
    UnusableCell,
    after,
    duration_text,
    error_cell,
    formula_without_result,
    instant,
    number_text,
    within,
    written_as,
)

SPREADSHEET, EXCEL = (f"{{urn:schemas-microsoft-com:office:{name}}}" for name in ("spreadsheet", "excel"))
SHEET, TABLE, ROW, CELL, COLUMN, DATA = (
    SPREADSHEET + name for name in ("Worksheet", "Table", "Row", "Cell", "Column", "Data")
)
STYLE, FORMAT, VISIBLE = f"{SPREADSHEET}Style", f"{SPREADSHEET}NumberFormat", f"{EXCEL}Visible"
NAME, INDEX, SPAN, HIDDEN, STYLE_ID, TYPE, FORMULA, CODE = (
    SPREADSHEET + name for name in ("Name", "Index", "Span", "Hidden", "StyleID", "Type", "Formula", "Format")
)
ACROSS, DOWN, ID = f"{SPREADSHEET}MergeAcross", f"{SPREADSHEET}MergeDown", f"{SPREADSHEET}ID"
NAMED_FORMATS = {
    "Percent": "0.00%",
    "Currency": "$#,##0.00",
    "Euro Currency": "€#,##0.00",
    **dict.fromkeys(("Fixed", "Standard", "Scientific", "General Number", "Yes/No", "True/False", "On/Off"), ""),
}
NO_DAY = datetime(1899, 12, 31)  # of a time without a day


class XmlWorkbook:
    """A workbook; its sheets are read row by row.

    Attributes:
        sheets: The names of the sheets, in order.
        hidden: The names of those that are hidden.
        remark: Empty.

    Raises:
        ParseError: The file is damaged.
    """

    remark = ""

    def __init__(self, content: BinaryIO) -> None:
        self._content = content
        self.sheets, hidden, self._formats = list[str](), list[str](), dict[str, str]()
        for event, element, _ in self._elements():
            if event == "start" and element.tag == SHEET:
                self.sheets.append(element.get(NAME, ""))
            elif event == "end" and element.tag == VISIBLE and element.text != "SheetVisible":
                hidden += self.sheets[-1:]
            elif event == "end" and element.tag == STYLE:
                self._formats[element.get(ID, "")] = _format(element)
        self.hidden = frozenset(hidden)

    def rows(self, sheet: str) -> Iterator[Row]:
        """Yield the rows of a sheet.

        Raises:
            SourceError: Rows or cells are out of order, or there are more than a sheet can have.
        """
        for number, element in self._numbered(sheet):
            row = Row(number, {}, {}, element.get(HIDDEN) == "1")
            for column, cell in _placed(element):
                row.put(column, self._text, cell)
            yield row

    def blocks(self, sheet: str) -> Sequence[Block]:
        """Return the merged cells of a sheet."""
        rows = self._numbered(sheet)
        blocks = (_block(number, column, cell) for number, row in rows for column, cell in _placed(row))
        return [block for block in blocks if not block.is_one_cell]

    def hidden_columns(self, sheet: str) -> Sequence[range]:
        """Return the hidden columns of a sheet, which are declared before its rows."""
        hidden, last = list[range](), 0
        for event, element, within_sheet in self._elements():
            if within_sheet != sheet or event == "end":
                continue
            if element.tag == ROW:
                break
            if element.tag == COLUMN:
                first = int(element.get(INDEX, last + 1))
                last = first + _count(element, SPAN)
                hidden += [range(first, last + 1)] if element.get(HIDDEN) == "1" else []
        return hidden

    def _elements(self) -> Iterator[tuple[str, Element, str]]:
        """Yield the events of the document with the sheet in which they are, and drop each row before the next."""
        self._content.seek(0)
        sheet, above = "", list[Element]()
        for event, element in iterparse(self._content, events=("start", "end")):
            if event == "start":
                above.append(element)
                sheet = element.get(NAME, "") if element.tag == SHEET else sheet
            yield event, element, sheet
            if event == "end":
                above.pop()
                if element.tag in (ROW, TABLE) and above:
                    above[-1].clear()

    def _numbered(self, sheet: str) -> Iterator[tuple[int, Element]]:
        last = 0
        for event, element, within_sheet in self._elements():
            if within_sheet == sheet and event == "end":
                if element.tag == SHEET:
                    return
                if element.tag == ROW:
                    number = _place(element, last, "row", LAST_ROW)
                    yield number, element
                    last = number + _count(element, SPAN)

    def _text(self, cell: Element) -> str:
        data, code = cell.find(DATA), self._formats.get(cell.get(STYLE_ID, "Default"), "")
        if data is None:
            if cell.get(FORMULA):
                raise formula_without_result(cell.get(FORMULA, ""))
            return ""
        text = "".join(data.itertext())
        match data.get(TYPE):
            case "Number":
                return number_text(text, written_as(code, CALENDAR_WINDOWS_1900))
            case "DateTime":
                return number_text(text, lambda written: _instant(written, is_duration=is_timedelta_format(code)))
            case "Boolean" if text in BOOLEANS:
                return BOOLEANS[text]
            case "String" | None:
                return text
            case "Error":
                raise error_cell(text)
        raise UnusableCell(text, f"the cell holds {text!r}, which is not a value of the type {data.get(TYPE)!r}")


def _format(style: Element) -> str:
    found = style.find(FORMAT)
    code = "" if found is None else found.get(CODE, "")
    return NAMED_FORMATS.get(code, code)


def _count(element: Element, attribute: str) -> int:
    return max(0, int(element.get(attribute, 0)))


def _place(element: Element, last: int, kind: str, limit: int) -> int:
    written = element.get(INDEX)
    return within(after(last, int(written) if written else last + 1, kind, written), limit)


def _placed(row: Element) -> Iterator[tuple[int, Element]]:
    last = 0
    for cell in row.iterfind(CELL):
        column = _place(cell, last, "cell", LAST_COLUMN)
        yield column, cell
        last = column + _count(cell, ACROSS)


def _block(number: int, column: int, cell: Element) -> Block:
    return Block(number, number + _count(cell, DOWN), column, column + _count(cell, ACROSS))


def _instant(written: str, *, is_duration: bool) -> str:
    when = datetime.fromisoformat(written)
    if is_duration:
        return duration_text(when - NO_DAY)
    return (datetime.min + (when - NO_DAY)).time().isoformat("seconds") if _is_time(when) else instant(when)


def _is_time(when: datetime) -> bool:
    return timedelta() <= when - NO_DAY < timedelta(days=1)
