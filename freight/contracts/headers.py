"""Headers as sources write them, matched to the columns of a contract."""

import difflib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from freight.contracts.contract import Column, Contract
from freight.errors import SourceError

SHOWN_CELLS, SHOWN_CHARS = 20, 40  # of a header, in a message
FEW_CELLS = 5  # of one of which nothing is known: it may be no header, but what somebody would rather not have told

# What reads like the name of a column: `Poids net (t)`, `n° de série`, `date_d'arrivée`. No line of a file of passwords
# does, and no key: a word of a name is short, and has few digits.
NAME_LIKE = re.compile(r"[\w\s/()\[\],.%°'’#&+€$?-]+")
WORD_CHARS, NAME_DIGITS = 24, 8


def fold(text: str) -> str:
    """Return text without accents and case, inner spaces collapsed: `" Ngaoundéré "` and `"NGAOUNDERE"` fold alike."""
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " ".join(bare.casefold().split())


def normalise(header: str) -> str:
    """Return a header as `lower_snake_case` without accents, BOM and surrounding space."""
    return re.sub(r"[\s_]+", "_", fold(header.strip("\ufeff \t"))).strip("_")


def known_headers(contract: Contract) -> dict[str, str]:
    """Return every normalised header that the contract understands, with the column it stands for."""
    return {
        normalise(spelling): column.name
        for column in contract.columns
        for spelling in (*column.aliases, column.name)  # the name last: it wins over another column's alias
    }


@dataclass(frozen=True)
class HeaderMatch:
    """A header beside a contract.

    Attributes:
        header: its cells as the source wrote them.
        columns: the contract's column for each cell; empty where there is none.
        contract: that it was compared with.
    """

    header: tuple[str, ...]
    columns: tuple[str, ...]
    contract: Contract = field(repr=False)

    @property
    def unknown(self) -> list[int]:
        """Positions of the cells that the contract does not know."""
        return [position for position, column in enumerate(self.columns) if not column]

    @property
    def unknown_cells(self) -> list[str]:
        """What the cells say that the contract does not know."""
        return [self.header[position] for position in self.unknown]

    @property
    def lacking(self) -> list[Column]:
        """Columns that the header does not have, those that it may lack included."""
        return [column for column in self.contract.columns if column.name not in self.columns]

    @property
    def missing(self) -> list[str]:
        """Names of the columns that the header would have to have."""
        return [column.name for column in self.lacking if not column.optional]

    @property
    def has_drifted(self) -> bool:
        """Whether a column is missing or unknown."""
        return bool(self.unknown or self.missing)

    @property
    def is_taken(self) -> bool:
        """Whether its rows may load: nothing has drifted, or the contract leaves out what was added."""
        return not self.missing and (not self.unknown or self.contract.drift == "allow_added")


def match_header(header: Sequence[str], contract: Contract) -> HeaderMatch:
    """Find the contract's column for each cell of a header.

    Raises:
        SourceError: two cells mean the same column.
    """
    known = known_headers(contract)
    match = HeaderMatch(tuple(header), tuple(known.get(normalise(cell), "") for cell in header), contract)
    _refuse_doubled(match)
    return match


def _refuse_doubled(match: HeaderMatch) -> None:
    for column in dict.fromkeys(filter(None, match.columns)):
        cells = [cell for cell, name in zip(match.header, match.columns, strict=True) if name == column]
        if len(cells) > 1:
            raise SourceError(
                "doubled_column",
                f"the headers {listed(cells)} all mean {column!r}",
                column=name_in(cells[1]),
                remedy="remove or rename one of them in the source",
            )


def likeness(cell: str, column: Column) -> float:
    """Return how much a header reads like a column, by any of its spellings: 1 for the same."""
    texts = [normalise(spelling) for spelling in (column.name, *column.aliases)]
    return max(difflib.SequenceMatcher(None, normalise(cell[:SHOWN_CHARS]), text).ratio() for text in texts)


def listed(names: Sequence[str], most: int = SHOWN_CELLS) -> str:
    """Return the first names of a header for a message, each as `shown`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shown, names[:most])) + more


def shown(cell: str) -> str:
    """Return a cell for a message: itself if it reads like a name, else how long it is, for nobody knows what it is."""
    return repr(cell) if is_like_a_name(cell) else f"a cell of {len(cell):,} characters"


def name_in(cell: str) -> str | None:
    """Return a cell that reads like a name, for the place of a fault; None if it does not."""
    return cell if is_like_a_name(cell) else None


def is_like_a_name(cell: str) -> bool:
    """Whether a cell reads like the name of a column, sheet or key, and no one else's words."""
    text = cell.strip("\ufeff \t")
    words = re.split(r"[\W_]+", text[: SHOWN_CHARS + 1])
    return (
        len(text) <= SHOWN_CHARS
        and bool(NAME_LIKE.fullmatch(text))
        and any(char.isalpha() for char in text)
        and sum(char.isdigit() for char in text) <= NAME_DIGITS
        and all(len(word) <= WORD_CHARS for word in words)
    )
