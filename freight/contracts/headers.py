"""Headers as sources write them, matched to the columns of a contract."""

import difflib
import re
import unicodedata
from collections.abc import Sequence

from freight.contracts.contract import Contract
from freight.errors import SourceError

SHOWN_CELLS, SHOWN_CHARS = 20, 80  # of a header, in a message


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


def match_header(header: Sequence[str], contract: Contract) -> list[str]:
    """Return the contract's column for each position of a header.

    Raises:
        SourceError: a column is unknown, doubled or missing; the message shows the header and a remedy.
    """
    known = known_headers(contract)
    matched = [known.get(normalise(cell), "") for cell in header]
    _refuse_missing(header, matched, contract)
    _refuse_unknown(header, matched, contract)
    _refuse_doubled(header, matched)
    return matched


def _refuse_unknown(header: Sequence[str], matched: Sequence[str], contract: Contract) -> None:
    unknown = [cell for cell, column in zip(header, matched, strict=True) if not column]
    if unknown:
        raise SourceError(
            "unknown_column",
            f"the header has {_listed(unknown[:SHOWN_CELLS])}, which the contract {contract.dataset!r} does not know",
            column=_short(unknown[0]),
            remedy=_alias_remedy(unknown[0], contract),
        )


def _refuse_doubled(header: Sequence[str], matched: Sequence[str]) -> None:
    for column in dict.fromkeys(matched):
        cells = [cell for cell, name in zip(header, matched, strict=True) if name == column]
        if len(cells) > 1:
            raise SourceError(
                "doubled_column",
                f"the headers {_listed(cells)} all mean {column!r}",
                column=cells[1],
                remedy="remove or rename one of them in the source",
            )


def _refuse_missing(header: Sequence[str], matched: Sequence[str], contract: Contract) -> None:
    missing = [c.name for c in contract.columns if not c.optional and c.name not in matched]
    if missing:
        raise SourceError(
            "missing_column",
            f"the header lacks {_listed(missing)}; it reads {_listed(list(header)[:SHOWN_CELLS])}",
            column=missing[0],
            remedy=f"add the column, or add its header to the aliases of {missing[0]!r} "
            f"in freight/contracts/{contract.dataset}.py",
        )


def _alias_remedy(cell: str, contract: Contract) -> str:
    near = difflib.get_close_matches(normalise(cell), known_headers(contract), n=1)
    hint = f" (did you mean {known_headers(contract)[near[0]]!r}?)" if near else ""
    return f"remove the column, or add it to freight/contracts/{contract.dataset}.py as an alias or a column{hint}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(_short(name)) for name in names)


def _short(name: str) -> str:
    """Return the start of a header; in a file that is no table it may be megabytes long."""
    return name if len(name) <= SHOWN_CHARS else f"{name[: SHOWN_CHARS - 1]}…"
