"""Matches the headers of sources to the columns of a contract."""

import difflib
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from freight.contracts.contract import Column, Contract
from freight.errors import SourceError
from freight.words import counted

SHOWN_CELLS, SHOWN_CHARS = 20, 40  # of a header, in a message
FEW_CELLS = 5  # of a header without a known cell: it may be private data instead of a header

# A text that reads like the name of a column: `Poids net (t)`, `n° de série`, `date_d'arrivée`. A line of a password
# file or a key does not: the words of a name are short, and have few digits.
# An index that pandas has written reads `Unnamed: 0` when pandas writes it once more.
NAME_LIKE = re.compile(r"[\w\s/()\[\],.%°'’#&+€$?-]+|Unnamed: [0-9]+")
WORD_CHARS, NAME_DIGITS = 24, 8


def fold(text: str) -> str:
    """Return text without accents, case and repeated spaces: `" Ngaoundéré "` and `"NGAOUNDERE"` become equal."""
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " ".join(bare.casefold().split())


def normalise(header: str) -> str:
    """Return a header as `lower_snake_case` without accents, BOM and surrounding space."""
    return re.sub(r"[\s_]+", "_", fold(header.strip("\ufeff \t"))).strip("_")


def known_headers(contract: Contract) -> dict[str, str]:
    """Return every normalised header that the contract knows, with its column."""
    return {
        normalise(spelling): column.name
        for column in contract.columns
        for spelling in (*column.aliases, column.name)  # the name comes last, to win over another column's alias
    }


@dataclass(frozen=True)
class HeaderMatch:
    """A header, matched to a contract.

    Attributes:
        header: The cells as the source wrote them.
        columns: The contract's column for each cell; empty for an unknown cell.
        contract: The contract.
    """

    header: tuple[str, ...]
    columns: tuple[str, ...]
    contract: Contract = field(repr=False)

    @property
    def unknown(self) -> list[int]:
        """The positions of the cells that the contract does not know."""
        return [position for position, column in enumerate(self.columns) if not column]

    @property
    def unknown_cells(self) -> list[str]:
        """The texts of the cells that the contract does not know."""
        return [self.header[position] for position in self.unknown]

    @property
    def lacking(self) -> list[Column]:
        """The columns that the header lacks, optional ones included."""
        return [column for column in self.contract.columns if column.name not in self.columns]

    @property
    def missing(self) -> list[str]:
        """The names of the columns that the header lacks and must have."""
        return [column.name for column in self.lacking if not column.optional]

    @property
    def has_drifted(self) -> bool:
        """Whether a column is missing or unknown."""
        return bool(self.unknown or self.missing)

    @property
    def is_taken(self) -> bool:
        """Whether the rows may load: nothing has drifted, or the contract leaves out added columns."""
        return not self.missing and (not self.unknown or self.contract.drift == "allow_added")


def match_header(header: Sequence[str], contract: Contract) -> HeaderMatch:
    """Find the contract's column for each cell of a header.

    Raises:
        SourceError: Two cells mean the same column.
    """
    known = known_headers(contract)
    match = HeaderMatch(tuple(header), tuple(known.get(normalise(cell), "") for cell in header), contract)
    _refuse_doubled(match)
    return match


def _refuse_doubled(match: HeaderMatch) -> None:
    for column in dict.fromkeys(filter(None, match.columns)):
        cells = [cell for cell, name in zip(match.header, match.columns, strict=True) if name == column]
        if len(cells) > 1:
            raise _doubled(column, cells)


def _doubled(column: str, cells: Sequence[str]) -> SourceError:
    leave_out = f"leave out the wrong one in the catalog, such as {option_to_ignore(cells[1:2])}, then `dpa retry`"
    return SourceError(
        "doubled_column",
        f"the headers {listed(cells)} mean the same column {column!r}",
        column=name_in(cells[1]),
        remedy=leave_out if len({*map(normalise, cells)}) > 1 else "have one of them removed or renamed in the source",
    )


def likeness(cell: str, column: Column) -> float:
    """Return how similar a header is to a column, by the closest of the column's spellings: 1 for equal."""
    texts = [normalise(spelling) for spelling in (column.name, *column.aliases)]
    return max(difflib.SequenceMatcher(None, normalise(cell[:SHOWN_CHARS]), text).ratio() for text in texts)


def listed(names: Sequence[str], most: int = SHOWN_CELLS) -> str:
    """Return the first names of a header for a message, each formatted by `shown`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shown, names[:most])) + more


def shown(cell: str) -> str:
    """Return a cell for a message: its text if it reads like a name, else only its length, since it may be private."""
    if is_unnamed(cell):
        return "a cell without a name"
    return repr(cell) if is_like_a_name(cell) else f"a cell of {counted(len(cell), 'character')}"


def sheet_names(names: Sequence[str]) -> str:
    """Return names of sheets for a message, in quotes: they are no data, and the catalog may have to repeat them."""
    more = f" and {len(names) - SHOWN_CELLS} more" if len(names) > SHOWN_CELLS else ""
    return ", ".join(repr(name[:SHOWN_CHARS]) for name in names[:SHOWN_CELLS]) + more


def name_in(cell: str) -> str | None:
    """Return a cell as the place of a fault if it reads like a name, else None."""
    return cell if is_like_a_name(cell) else None


def is_unnamed(cell: str) -> bool:
    """Return whether a header cell names no column."""
    return not cell.strip("\ufeff \t")


def option_to_ignore(cells: Sequence[str]) -> str:
    """Return the line of a catalog that leaves out the columns of some headers, as far as these may be shown."""
    names = [json.dumps("" if is_unnamed(cell) else cell, ensure_ascii=False) for cell in cells]
    may_be_shown = all(is_unnamed(cell) or is_like_a_name(cell) for cell in cells[:SHOWN_CELLS])
    return f"`options: {{ignore: [{', '.join(names[:SHOWN_CELLS]) if may_be_shown else 'its header'}]}}`"


def without_header(place: str, held: str, row: int, remedy: str = "") -> SourceError:
    """Return the refusal of a column that has cells and no header.

    Args:
        place: The place of the column.
        held: One of its cells.
        row: The row of that cell.
        remedy: A remedy that the reader offers.
    """
    return SourceError(
        "unknown_column",
        f"{place} has no header but holds {shown(held)}",
        row=row,
        remedy=f"give the column a header; {remedy}or, if it is no data, such as the row numbers that pandas writes, "
        f"leave it out: {option_to_ignore([''])}, then `dpa retry`",
    )


def place_of(position: int) -> str:
    """Return the place of a header cell for a message: `column 3 (C)`, as people count and as spreadsheets name it."""
    number, letters = position + 1, ""
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return f"column {position + 1} ({letters})"


def is_like_a_name(cell: str) -> bool:
    """Return whether a cell reads like the name of a column, sheet or key, rather than like private data."""
    text = cell.strip("\ufeff \t")
    words = re.split(r"[\W_]+", text[: SHOWN_CHARS + 1])
    return (
        len(text) <= SHOWN_CHARS
        and bool(NAME_LIKE.fullmatch(text))
        and any(char.isalpha() for char in text)
        and sum(char.isdigit() for char in text) <= NAME_DIGITS
        and all(len(word) <= WORD_CHARS for word in words)
    )
