"""Workbooks of Excel since 2007 (.xlsx, .xlsm). openpyxl lists the parts and recognises dates.

The cells are read here and not by openpyxl, which drops rows that are out of order, returns an empty cell for a
formula that was never calculated, fails on charts and styles that are not needed, keeps an element of each row in
memory, and takes twice as long. Faster engines are no choice: they turn error cells into empty ones.
"""

import codecs
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import IO, BinaryIO, Self
from xml.etree.ElementTree import Element, fromstring, iterparse

from openpyxl.reader.excel import ExcelReader
from openpyxl.utils import column_index_from_string
from openpyxl.xml.constants import SHARED_STRINGS, SHEET_MAIN_NS, STYLES_TYPE

from freight.parsers.workbooks.cells import (
    BOOLEANS,
    Block,
    Day,
    Row,
    UnusableCell,
    WriteNumber,
    after,
    cells_within,
    error_cell,
    format_codes,
    formula_without_result,
    marked_text,
    number_text,
    written_as,
)
from freight.parsers.workbooks.package import Package

DIGITS = "0123456789"
BLOCK_BYTES = 1 << 20
LONGEST_TAG_BYTES = 1 << 12
# Merged cells come after all rows, so they are looked up in the bytes: to parse these twice would take too long.
MERGED = re.compile(rb"""<(?:\w+:)?mergeCell\s[^<>]*?\bref\s*=\s*["']([A-Za-z]+[0-9]+:[A-Za-z]+[0-9]+)["']""")
ESCAPED = re.compile(r"_x((?![Dd][89A-Fa-f])[0-9A-Fa-f]{4})_")  # any character but half of a surrogate pair


def _tag(name: str) -> str:
    return f"{{{SHEET_MAIN_NS}}}{name}"


SHEET_DATA, ROW, CELL, VALUE, FORMULA, INLINE = map(_tag, ("sheetData", "row", "c", "v", "f", "is"))
COLUMN = _tag("col")
STRING_TABLE, STRING, TEXT, RUN = map(_tag, ("sst", "si", "t", "r"))


class XlsxWorkbook:
    """A workbook; its sheets are read row by row, without chart sheets and macro sheets.

    Attributes:
        sheets: The names of the sheets, in order.
        hidden: The names of those that are hidden.
        remark: Empty.

    Raises:
        Exception: The file is damaged.
    """

    remark = ""

    def __init__(self, content: BinaryIO) -> None:
        reader = ExcelReader(content, read_only=True, keep_links=False)
        reader.archive = Package(content)
        reader.read_manifest()
        reader.read_workbook()
        self._archive = reader.archive
        found = [(s, relation.target) for s, relation in reader.parser.find_sheets() if _is_worksheet(relation)]
        self._parts = {sheet.name: part for sheet, part in found}
        self.sheets = list(self._parts)
        self.hidden = frozenset(sheet.name for sheet, _ in found if sheet.state != "visible")
        self._strings = _shared_strings(reader)
        styles = _styles(reader)
        self._styled = _styled_numbers(styles, reader.wb.epoch)
        self._struck = _struck_styles(styles)
        self._is_uncalculated = _is_uncalculated(reader)

    def rows(self, sheet: str) -> Iterator[Row]:
        """Yield the rows that are in a sheet, whatever size it declares.

        Raises:
            SourceError: Rows or cells are out of order, so it is unclear which one counts.
        """
        number = 0
        with self._archive.open(self._parts[sheet]) as part:
            for element in _children(part, SHEET_DATA, ROW):
                number = _row_number(element, number)
                yield self._row(element, number)

    def blocks(self, sheet: str) -> Sequence[Block]:
        """Return the merged cells of a sheet."""
        with self._archive.open(self._parts[sheet]) as part:
            return [cells_within(reference.upper()) for reference in _merged(part)]

    def hidden_columns(self, sheet: str) -> Sequence[range]:
        """Return the hidden columns of a sheet, which are declared before its rows."""
        hidden = []
        with self._archive.open(self._parts[sheet]) as part:
            for _, element in iterparse(part, events=("start",)):
                if element.tag == SHEET_DATA:
                    break
                if element.tag == COLUMN and _is_hidden(element):
                    hidden.append(range(int(element.get("min", 0)), int(element.get("max", 0)) + 1))
        return hidden

    def _row(self, element: Element, number: int) -> Row:
        row, column = Row(number, {}, {}, _is_hidden(element)), 0
        for cell in element:
            if cell.tag != CELL:
                continue
            column = _column(cell, column)
            row.put(column, self._shown_text if cell.get("s") in self._struck else self._text, cell)
        return row

    def _shown_text(self, cell: Element) -> str:
        """Refuse the text of a cell that is struck out: people cancel a row so."""
        text = self._text(cell)
        if text.strip():
            raise marked_text(text, text)
        return text

    def _text(self, cell: Element) -> str:
        value, kind = cell.findtext(VALUE), cell.get("t", "n")
        if not value:
            return _text_without_value(cell, kind)
        match kind:
            case "n" if value == "0" and self._is_uncalculated and cell.find(FORMULA) is not None:
                raise formula_without_result(f"={cell.findtext(FORMULA)}")  # written by programs that cannot calculate
            case "n":
                return number_text(value, self._styled.get(cell.get("s")))
            case "s" if value.isdigit():
                return _plain(self._strings[int(value)])
            case "str":
                return _unescaped(value)
            case "b" if value in BOOLEANS:
                return BOOLEANS[value]
            case "d":
                return Day(value)  # ISO 8601, which contracts accept
            case "e":
                raise error_cell(value)
        raise UnusableCell(value, f"the cell holds {value!r}, which is not a value of the type {kind!r}")


def _is_worksheet(relation: object) -> bool:
    return str(relation.Type).endswith("/worksheet")  # type: ignore[attr-defined]


def _is_hidden(element: Element) -> bool:
    return BOOLEANS.get(element.get("hidden", "")) == "true"


def _merged(part: IO[bytes]) -> dict[str, None]:
    """Return the references of the merged cells."""
    found: dict[str, None] = {}
    rest = b""
    for block in _blocks_of_bytes(part):
        held = rest + block
        if b"mergeCell" in held:
            found |= dict.fromkeys(reference.decode() for reference in MERGED.findall(held))
        rest = held[max(held.rfind(b"<"), len(held) - LONGEST_TAG_BYTES) :]
    return found


def _blocks_of_bytes(part: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a part; those of a UTF-16 one as UTF-8."""
    first = part.read(BLOCK_BYTES)
    is_wide = first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    decode = codecs.getincrementaldecoder("utf-16" if is_wide else "latin-1")().decode
    while first:
        yield decode(first).encode() if is_wide else first
        first = part.read(BLOCK_BYTES)


def _children(part: IO[bytes], parent_tag: str, tag: str) -> Iterator[Element]:
    """Yield the children of an element, and drop each before the next: otherwise their parent would grow."""
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
    """Return a text without its formatting and without phonetic readings; a `_Marked` if its formatting counts."""
    runs = [child for child in element if child.tag in (TEXT, RUN)]
    pieces = [(child.text if child.tag == TEXT else child.findtext(TEXT)) or "" for child in runs]
    text = _unescaped("".join(pieces))
    marked = next((piece for run, piece in zip(runs, pieces, strict=True) if run.tag == RUN and _is_marked(run)), "")
    return _Marked(text, marked) if marked.strip() else text


class _Marked(str):
    """A text of which some characters are struck out, raised or lowered: the first of them are `marked`."""

    marked: str

    def __new__(cls, text: str, marked: str) -> Self:
        """Return the text."""
        kept = super().__new__(cls, text)
        kept.marked = marked
        return kept


def _plain(text: str) -> str:
    if isinstance(text, _Marked):
        raise marked_text(str(text), text.marked)
    return text


def _is_marked(run: Element) -> bool:
    """Whether a run of characters is struck out, raised or lowered."""
    struck, moved = (run.find(f"{_tag('rPr')}/{_tag(name)}") for name in ("strike", "vertAlign"))
    return _is_on(struck) or (moved is not None and moved.get("val") in ("superscript", "subscript"))


def _unescaped(text: str) -> str:
    """Decode `_x000D_`, a workbook's notation for characters that XML cannot hold."""
    return ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text


def _styles(reader: ExcelReader) -> Element:
    """Return the styles of a workbook; an empty element if it has none."""
    entry = reader.package.find(STYLES_TYPE)
    return Element("none") if entry is None else fromstring(reader.archive.read(entry.PartName[1:]))


def _of_cells(styles: Element) -> dict[str, Element]:
    """Return the styles that cells name."""
    return {str(style): element for style, element in enumerate(styles.iterfind(f"{_tag('cellXfs')}/{_tag('xf')}"))}


def _styled_numbers(styles: Element, epoch: datetime) -> dict[str | None, WriteNumber]:
    """Return the number writers of the cell styles that show dates, leading zeros or units."""
    codes = format_codes(_own_formats(styles))
    written = {
        style: written_as(codes.get(int(element.get("numFmtId", 0)), ""), epoch)
        for style, element in _of_cells(styles).items()
    }
    return {style: write for style, write in written.items() if write}


def _struck_styles(styles: Element) -> frozenset[str | None]:
    """Return the cell styles whose font is struck out."""
    fonts = [font.find(_tag("strike")) for font in styles.iterfind(f"{_tag('fonts')}/{_tag('font')}")]
    struck = {str(number) for number, strike in enumerate(fonts) if _is_on(strike)}
    return frozenset(style for style, element in _of_cells(styles).items() if element.get("fontId", "0") in struck)


def _is_on(flag: Element | None) -> bool:
    """Whether a property of a font, such as `<strike/>`, is set."""
    return flag is not None and BOOLEANS.get(flag.get("val", "1")) == "true"


def _is_uncalculated(reader: ExcelReader) -> bool:
    """Return whether a workbook requests a calculation when it is opened."""
    workbook = fromstring(reader.archive.read(reader.parser.workbook_part_name))
    asked = workbook.find(_tag("calcPr"))
    return asked is not None and BOOLEANS.get(asked.get("fullCalcOnLoad", "")) == "true"


def _own_formats(styles: Element) -> dict[int, str]:
    formats = styles.iterfind(f"{_tag('numFmts')}/{_tag('numFmt')}")
    return {int(element.get("numFmtId", 0)): element.get("formatCode", "") for element in formats}


def _row_number(element: Element, previous: int) -> int:
    written = element.get("r")  # some exporters omit it, some write 2.0
    return after(previous, int(float(written)) if written else previous + 1, "row", written)


def _column(cell: Element, previous: int) -> int:
    written = cell.get("r")
    column = column_index_from_string(written.rstrip(DIGITS)) if written else previous + 1
    return after(previous, column, "cell", written)


def _text_without_value(cell: Element, kind: str) -> str:
    inline = cell.find(INLINE)
    if inline is not None:
        return _plain(_rich_text(inline))
    formula = cell.find(FORMULA)
    if kind == "e" or (formula is not None and kind != "str"):  # the result of a formula may be a text without letters
        raise formula_without_result(f"={(formula.text if formula is not None else None) or ''}")
    return ""
