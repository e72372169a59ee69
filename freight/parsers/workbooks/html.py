"""Tables of an HTML page, which many programs call .xls: each table is a sheet, and each cell the text that it shows.

Written with lxml and not with pandas, which converts cells and repeats the text of merged ones.
"""

import codecs
import re
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from lxml import etree

from freight.errors import SourceError
from freight.parsers.workbooks.cells import LAST_COLUMN, LAST_ROW, Block, Row, marked_text, within

LOOK_BYTES = 4_096
CHARSET = re.compile(rb"""<meta[^>]*?charset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
OF_THE_WEB = {"iso8859-1": "cp1252", "ascii": "cp1252"}  # as browsers read them
TABLE_STARTS, TABLE_ENDS = re.compile(r"<table\b", re.IGNORECASE), re.compile(r"</table\s*>", re.IGNORECASE)
DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
SPACE = re.compile(r"[ \t\r\n]+")
HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)
OUTER_SPACE = " \n\xa0"
ROW_PARTS = ("thead", "tbody", "tfoot")
MARKED = ("s", "strike", "del", "sup", "sub")
NO_TEXT = ("table", "script", "style")

type Element = Any  # of lxml, which declares no types


class HtmlWorkbook:
    """The tables of a page; see `Workbook`.

    Raises:
        SourceError: The page has no table, ends within one, or its encoding is not known.
    """

    hidden: frozenset[str] = frozenset()
    remark = ""

    def __init__(self, content: bytes, encoding: str | None) -> None:
        text = _text_of(content, encoding)
        if len(TABLE_STARTS.findall(text)) > len(TABLE_ENDS.findall(text)):
            raise SourceError("corrupt", "the page ends within a table", remedy="deliver the whole file again")
        page = _parsed(text)
        tables = [] if page is None else page.iter("table")
        self._tables = {f"table {number}": table for number, table in enumerate(tables, start=1)}
        self.sheets = [*self._tables]
        if not self.sheets:
            raise SourceError(
                "unsupported", "the file is a page of HTML without a table", remedy="deliver the table itself"
            )

    def rows(self, sheet: str) -> Iterator[Row]:
        """Yield the rows of a table."""
        for number, element, cells in self._placed(sheet):
            row = Row(number, {}, {}, _is_hidden(element))
            for column, cell in cells:
                row.put(column, _shown, cell)
            yield row

    def blocks(self, sheet: str) -> Sequence[Block]:
        """Return the merged cells of a table."""
        rows = self._placed(sheet)
        blocks = (_block(number, column, cell) for number, _, cells in rows for column, cell in cells)
        return [block for block in blocks if not block.is_one_cell]

    def hidden_columns(self, _sheet: str) -> Sequence[range]:
        """Return no column: a page does not hide one as a whole."""
        return []

    def _placed(self, sheet: str) -> Iterator[tuple[int, Element, list[tuple[int, Element]]]]:
        """Yield the number of each row, its element, and its cells by column, to the right of cells from above."""
        taken: list[Block] = []
        for number, row in enumerate(_rows(self._tables[sheet]), start=1):
            taken = [block for block in taken if block.last_row >= within(number, LAST_ROW)]
            cells, blocks, column = [], list[Block](), 0
            for cell in row.iterchildren("td", "th"):
                column = next(c for c in count(column + 1) if not any(b[2] <= c <= b[3] for b in taken))
                cells.append((column, cell))
                blocks.append(_block(number, within(column, LAST_COLUMN), cell))
                column = blocks[-1].last_column
            taken += [block for block in blocks if block.last_row > number]
            yield number, row, cells


def _text_of(content: bytes, encoding: str | None) -> str:
    """Return the text of a page in the encoding of its byte order mark, the one that it names, the option's, or UTF-8.

    Raises:
        SourceError: The bytes are not text in that encoding.
    """
    found = _marked(content) or _named(content) or encoding or "utf-8"
    try:
        return content.decode(found)
    except (UnicodeError, LookupError):
        raise SourceError(
            "unknown_encoding",
            f"the page is not text in {found}, which is its encoding as far as it can be told",
            remedy="name its encoding in the options of the source, such as `encoding: cp1252`",
        ) from None


def _marked(content: bytes) -> str | None:
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    return next((encoding for mark, encoding in marks.items() if content.startswith(mark)), None)


def _named(content: bytes) -> str | None:
    found = CHARSET.search(content[:LOOK_BYTES])
    if not found:
        return None
    named = found[1].decode("ascii", "replace")
    try:
        name = codecs.lookup(named).name
    except LookupError:
        return named
    return OF_THE_WEB.get(name, name)


def _parsed(text: str) -> Element | None:
    # A declaration of an encoding no longer holds for text.
    content = DECLARATION.sub("", text).encode("utf-8", "replace")
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True)
    return etree.fromstring(content, parser) if content.strip() else None


def _rows(table: Element) -> Iterator[Element]:
    for child in table.iterchildren("tr", *ROW_PARTS):
        yield from [child] if child.tag == "tr" else child.iterchildren("tr")


def _is_hidden(element: Element) -> bool:
    return element.get("hidden") is not None or bool(HIDDEN.search(element.get("style") or ""))


def _block(number: int, column: int, cell: Element) -> Block:
    down, right = (_span(cell.get(name)) for name in ("rowspan", "colspan"))
    return Block(number, number + down - 1, column, column + right - 1)


def _span(written: str | None) -> int:
    text = (written or "").strip()
    return min(int(text), LAST_ROW) if text.isdecimal() and text.isascii() and int(text) > 0 else 1


def _shown(cell: Element) -> str:
    text = _text_in(cell)
    marked = next(filter(None, map(_text_in, cell.iter(*MARKED))), "") if len(cell) else ""
    if marked:
        raise marked_text(text, marked)
    return text


def _text_in(element: Element) -> str:
    lines = "".join(_pieces(element)).split("\n")
    return "\n".join(line.strip(" ") for line in lines).strip(OUTER_SPACE)


def _pieces(element: Element) -> Iterator[str]:
    """Yield the text of a cell; any run of white space is one space, and `<br>` is a line."""
    yield SPACE.sub(" ", element.text or "")
    for child in element:
        if child.tag == "br":
            yield "\n"
        elif child.tag not in NO_TEXT:
            yield from _pieces(child)
        yield SPACE.sub(" ", child.tail or "")
