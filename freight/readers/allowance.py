"""How many records of a file may be looked at one by one, which takes many times as long as what a fast parser does.

It is counted, and no clock is asked: a file ends in the same way on every machine. A record takes a byte at least, so a
file that is not packed always has enough for all of its own.
"""

from freight.errors import SourceError
from freight.readers.locations import SourceFile

RECORDS, RECORDS_PER_BYTE = 100_000, 5  # of the bytes as they are stored: text of 10 bytes a row, packed to a fiftieth


class Allowance:
    """Counts the records of a file."""

    def __init__(self, file: SourceFile) -> None:
        self._limit = self._left = RECORDS // file.packed_with + RECORDS_PER_BYTE * file.stored_bytes
        self._file = file

    def has(self, records: int) -> bool:
        """Take some records; return whether they were allowed."""
        self._left -= records
        return self._left >= 0

    def take(self, records: int) -> None:
        """Take some records.

        Raises:
            SourceError: these are too many.
        """
        if not self.has(records):
            self.refuse_if_spent()

    def refuse_if_spent(self) -> None:
        """Check whether all that were taken were allowed.

        Raises:
            SourceError: they were too many.
        """
        if self._left < 0:
            raise SourceError(
                "too_large",
                f"more than {self._limit:,} of its records have to be looked at one by one, which is more than a file "
                f"of {self._file.stored_bytes:,} bytes should have",
                location=self._file.path,
                remedy="look what it holds; deliver the table alone, in parts, or unpacked",
            )
