"""What a reader says about a file: remarks for people, and its sheets."""

from collections.abc import Sequence

from freight.contracts.headers import listed
from freight.notation.evidence import REMARKS, SHEETS
from freight.readers import RawBatch, RawTable

MOST_REMARKS = 20  # a hostile parser may send any number


class Remarks:
    """Collects the remarks on a table.

    Attributes:
        words: The remarks, each once.
    """

    def __init__(self, table: RawTable) -> None:
        ignored = f"left out, as the catalog says: {listed(table.ignored)}" if table.ignored else ""
        self.words: tuple[str, ...] = (ignored,) if ignored else ()

    def facts(self, sheets: Sequence[str]) -> dict[str, str]:
        """Return the remarks, and the sheets if there are several, as facts for the ledger."""
        names = [" ".join(sheet.split()) for sheet in sheets] if len(sheets) > 1 else []
        return {name: text for name, text in ((REMARKS, "; ".join(self.words)), (SHEETS, "\n".join(names))) if text}

    def note(self, batch: RawBatch) -> None:
        """Take in the remark of a batch."""
        if batch.remark and batch.remark not in self.words and len(self.words) < MOST_REMARKS:
            self.words += (batch.remark,)
