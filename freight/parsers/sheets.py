"""The choice of the sheets of a workbook, by their headers: those with one header are one table."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import takewhile
from typing import Any, NamedTuple

from freight.contracts.headers import fold, listed, normalise, sheet_names
from freight.errors import SourceError
from freight.parsers.workbooks import Block, Row, Workbook

HEADER_SEARCH_ROWS = 30
LONGEST_HEADER_CHARS = 1_000  # no contract has a longer one
Key = tuple[str, int]  # a column of the contract, or another header; and which one of that name it is

# A sheet of such a name sums up the others.
SUMMARY = re.compile(
    r"\b((sub|sous)?\W?tota(l|ux|ls)|synth(ese|esis)|recap\w*|resum(e|en)|summary|bilan|cumul\w*|overview|pivot|tcd"
    r"|gesamt\w*|summe\w*|ubersicht|zusammenfassung)\b"
)


class SheetTable(NamedTuple):
    """The place of a sheet's rows: the sheet, the last row of the header, and its cells by column, from 1.

    Attributes:
        keys: The columns of the header's cells by their meaning.
    """

    sheet: str
    header_row: int
    header: dict[int, str]
    keys: dict[Key, int]


class Tables(NamedTuple):
    """The sheets to read.

    Attributes:
        sheets: The sheets, in order.
        header: The header of all of them; a sheet may lack some of its cells.
        remarks: Remarks on the sheets that are not read, for people.
    """

    sheets: Sequence[SheetTable]
    header: Mapping[Key, str]
    remarks: Sequence[str]


def find_tables(workbook: Workbook, wishes: Mapping[str, Any]) -> Tables:
    """Return the sheets with the header of the best-matching one: they are one table.

    Args:
        workbook: The workbook.
        wishes: The `columns` of the contract by their known headers, the `needed` ones, and the options `sheet`,
            `skip_sheets`, `header_row` and `header_rows`.

    Raises:
        SourceError: No sheet has a cell where its header may be, or the option `sheet` names one that does not exist;
            or it is not clear whether a sheet is part of the table.
    """
    finder = _Finder(workbook, wishes)
    wanted = _wanted(workbook, wishes)
    lead = finder.lead(wanted)
    others = {sheet: finder.like(lead, sheet) for sheet in workbook.sheets if sheet != lead.sheet}
    alike = [lead.sheet, *(sheet for sheet, table in others.items() if table and finder.fits(lead, table))]
    read = [others.get(sheet) or lead for sheet in wanted if sheet in alike]
    left = [sheet for sheet in wanted if sheet not in alike and others[sheet]]
    named = wishes["sheet"] is not None
    _refuse_unclear(read, finder, lead, {sheet: others[sheet] for sheet in left}, named=named)
    hidden = [sheet for sheet in alike if sheet in workbook.hidden and sheet not in wanted]
    header = {key: table.header[column] for table in (lead, *read) for key, column in table.keys.items()}
    return Tables(read, header, [*_remarks(read, left, hidden)])


class _Finder:
    """Finds the header of a sheet."""

    def __init__(self, workbook: Workbook, wishes: Mapping[str, Any]) -> None:
        self._workbook = workbook
        self._columns: Mapping[str, str] = wishes["columns"]
        self._needed = set(wishes["needed"])
        self._header_row: int | None = wishes["header_row"]
        self._height: int = wishes["header_rows"]
        self._is_named = wishes["sheet"] is not None
        self._found: dict[str, list[SheetTable]] = {}

    def lead(self, sheets: Sequence[str]) -> SheetTable:
        """Return the table whose header has the most known cells; of equals the first; if none is known, the widest.

        Raises:
            SourceError: No sheet has a cell where its header may be, or only a hidden one has known cells.
        """
        found = [table for sheet in sheets for table in self._tables(sheet)]
        lead = max(found, key=self._fit, default=None)
        if lead is None or not self._hits(lead):
            self._refuse_hidden()
        if lead is None:
            raise _nothing_there(self._header_row)
        return lead

    def like(self, lead: SheetTable, sheet: str) -> SheetTable | None:
        """Return the table of a sheet that is most like the leading one; None if the sheet is empty."""
        core = self._core(lead)
        return max(self._tables(sheet), key=lambda table: len(core & table.keys.keys()), default=None)

    def fits(self, lead: SheetTable, table: SheetTable) -> bool:
        """Whether a table has the header of the leading one, in any order, apart from columns that it may lack."""
        return self._core(lead) <= table.keys.keys()

    def may_fit(self, lead: SheetTable, table: SheetTable) -> bool:
        """Whether a table has more than half of the leading header."""
        return 2 * len(self._core(lead) & table.keys.keys()) > len(self._core(lead))

    def lacks(self, lead: SheetTable, table: SheetTable) -> list[str]:
        """Return the cells of the leading header that a table lacks."""
        return [lead.header[lead.keys[key]] for key in lead.keys if key in self._core(lead) - table.keys.keys()]

    def _core(self, lead: SheetTable) -> set[Key]:
        """Return the cells of the leading header without which a sheet has another one."""
        needed = {(column, 0) for column in self._needed}
        optional = {(column, 0) for column in self._columns.values()} - needed
        return needed if needed <= lead.keys.keys() else lead.keys.keys() - optional

    def _tables(self, sheet: str) -> list[SheetTable]:
        if sheet not in self._found:
            self._found[sheet] = [*self._candidates(sheet)]
        return self._found[sheet]

    def _candidates(self, sheet: str) -> Iterator[SheetTable]:
        """Yield the headers that a sheet may have: the named one, or those in its first rows with content."""
        last = self._header_row or HEADER_SEARCH_ROWS
        rows = self._workbook.rows(sheet)
        first = [row for row in takewhile(lambda row: row.number < last + self._height, rows) if row.texts]
        blocks = self._workbook.blocks(sheet) if self._height > 1 else ()
        for row in first:
            if row.number <= last and self._header_row in (None, row.number):
                lines = [line for line in first if 0 <= line.number - row.number < self._height]
                header = joined(lines, blocks)
                yield SheetTable(sheet, row.number + self._height - 1, header, self._keys(header))

    def _keys(self, header: Mapping[int, str]) -> dict[Key, int]:
        seen: Counter[str] = Counter()
        keys = {}
        for column, text in header.items():
            name = self._meaning(text)
            keys[name, seen[name]] = column
            seen[name] += 1
        return keys

    def _meaning(self, text: str) -> str:
        if len(text) > LONGEST_HEADER_CHARS:
            return text
        name = normalise(text)
        return self._columns.get(name, name)

    def _fit(self, table: SheetTable) -> tuple[int, int]:
        """Return the number of known cells in a header, and as a tie-breaker its width if none is known."""
        hits = self._hits(table)
        return hits, 0 if hits else len(table.header)

    def _hits(self, table: SheetTable) -> int:
        known = set(self._columns.values())
        return sum(name in known for name, _ in table.keys)

    def _refuse_hidden(self) -> None:
        hidden = [sheet for sheet in self._workbook.sheets if sheet in self._workbook.hidden]
        fitting = [sheet for sheet in hidden if any(self._hits(table) > 1 for table in self._tables(sheet))]
        if fitting and not self._is_named:
            raise SourceError(
                "ambiguous_sheets",
                f"only hidden sheets have known headers: {sheet_names(fitting)}",
                remedy=f"name them in the catalog: `options: {{sheet: [{sheet_names(fitting)}]}}`, or have them "
                "unhidden, then `dpa retry`",
            )


def joined(lines: Sequence[Row], blocks: Sequence[Block]) -> dict[int, str]:
    """Return the header of one line or several: the texts of a column from top to bottom, with those of merged cells.

    Args:
        lines: The rows of the header.
        blocks: The merged cells of the sheet.
    """
    if len(lines) == 1:
        return lines[0].texts
    texts = {(line.number, column): text for line in lines for column, text in line.texts.items()}
    columns = sorted({column for _, column in texts})
    for block in blocks:
        if text := texts.get((block.first_row, block.first_column)):
            covered = [column for column in columns if block.first_column <= column <= block.last_column]
            rows = [line.number for line in lines if block.first_row <= line.number <= block.last_row]
            texts |= {(row, column): text for row in rows for column in covered}
    pieces = {column: [texts.get((line.number, column), "").strip() for line in lines] for column in columns}
    return {column: " ".join(dict.fromkeys(filter(None, of_column))) for column, of_column in pieces.items()}


def _wanted(workbook: Workbook, wishes: Mapping[str, Any]) -> list[str]:
    """Return the sheets that may be read: those that the options name, or all that are not hidden."""
    patterns, skipped = (_listed_in(wishes[option]) for option in ("sheet", "skip_sheets"))
    for pattern in patterns:
        if not any(_is_named(sheet, pattern, workbook) for sheet in workbook.sheets):
            raise SourceError(
                "missing_column",
                f"there is no sheet {pattern!r}",
                remedy=f"name one of these in the option sheet: {sheet_names(workbook.sheets)}",
            )
    return [
        sheet
        for sheet in workbook.sheets
        if any(_is_named(sheet, pattern, workbook) for pattern in patterns or ["*"])
        and not any(sheet == pattern or fnmatchcase(sheet, pattern) for pattern in skipped)
    ]


def _listed_in(option: str | list[str] | None) -> list[str]:
    return [option] if isinstance(option, str) else option or []


def _is_named(sheet: str, pattern: str, workbook: Workbook) -> bool:
    """Whether a pattern names a sheet; a hidden one only by its whole name."""
    return sheet == pattern or (sheet not in workbook.hidden and fnmatchcase(sheet, pattern))


def _refuse_unclear(
    read: Sequence[SheetTable],
    finder: _Finder,
    lead: SheetTable,
    left: Mapping[str, SheetTable | None],
    *,
    named: bool,
) -> None:
    """Refuse a workbook if it is unclear whether a sheet is part of the table.

    Raises:
        SourceError: It is, and the options do not say it.
    """
    sheets = [table.sheet for table in read]
    sums = [sheet for sheet in sheets if SUMMARY.search(fold(sheet))]
    if sums and len(sheets) > len(sums) and not named:
        raise _unclear(
            f"the sheets {sheet_names(sheets)} have one header, but {sheet_names(sums[:1])} sums up others by its name",
            [sheet for sheet in sheets if sheet not in sums],
            sums,
        )
    for sheet, table in left.items():
        if table and (named or (finder.may_fit(lead, table) and not SUMMARY.search(fold(sheet)))):
            lacking = listed(finder.lacks(lead, table))
            told = (
                f"the header of the sheet {sheet_names([sheet])} lacks {lacking}, which {sheet_names([lead.sheet])} has"
            )
            raise _unclear(told, sheets, [sheet], ", or have its header corrected")


def _unclear(told: str, sheets: Sequence[str], others: Sequence[str], or_else: str = "") -> SourceError:
    return SourceError(
        "ambiguous_sheets",
        told,
        remedy=f"name in the catalog the sheets to leave out, `options: {{skip_sheets: [{sheet_names(others)}]}}`, or "
        f"those to read, `options: {{sheet: [{sheet_names(sheets)}]}}`{or_else}, then `dpa retry`",
    )


def _nothing_there(header_row: int | None) -> SourceError:
    if header_row is None:
        return SourceError(
            "empty",
            f"no sheet has any cell in its first {HEADER_SEARCH_ROWS} rows",
            remedy="deliver the rows; where they start further down, name their header in the option header_row",
        )
    return SourceError(
        "missing_column",
        "the row that the option header_row names is empty",
        row=header_row,
        remedy="correct header_row in the catalog: it is the row's number as Excel shows it",
    )


def _remarks(read: Sequence[SheetTable], left: Sequence[str], hidden: Sequence[str]) -> Iterator[str]:
    if len(read) > 1:
        yield f"read the sheets {sheet_names([table.sheet for table in read])}"
    if left:
        yield f"not read, with another header: {sheet_names(left)}"
    if hidden:
        yield f"not read, hidden: {sheet_names(hidden)}"
