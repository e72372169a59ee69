"""Headers as sources write them, matched to the columns of a contract."""

import difflib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from freight.contracts.contract import Column, Contract
from freight.errors import SourceError

SHOWN_CELLS, SHOWN_CHARS = 20, 40  # of a header, in a message


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
                column=cells[1],
                remedy="remove or rename one of them in the source",
            )


def likeness(cell: str, column: Column) -> float:
    """Return how much a header reads like a column, by any of its spellings: 1 for the same."""
    texts = [normalise(spelling) for spelling in (column.name, *column.aliases)]
    return max(difflib.SequenceMatcher(None, normalise(short(cell)), text).ratio() for text in texts)


def listed(names: Sequence[str]) -> str:
    """Return the first names of a header for a message."""
    more = f" and {len(names) - SHOWN_CELLS} more" if len(names) > SHOWN_CELLS else ""
    return ", ".join(repr(short(name)) for name in names[:SHOWN_CELLS]) + more


def short(name: str) -> str:
    """Return the start of a header; in a file that is no table it may be megabytes long."""
    return name if len(name) <= SHOWN_CHARS else f"{name[: SHOWN_CHARS - 1]}…"
