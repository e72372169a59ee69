"""Limit on the records of a file that are handled one by one, which takes many times as long as the fast parser.

The limit is a count, not a time, so that a file ends the same way on every machine. A record takes at least one byte,
so a file that is not packed is always allowed all of its records.
"""

from freight.errors import SourceError
from freight.readers.locations import SourceFile

RECORDS, RECORDS_PER_BYTE = 100_000, 5  # per stored byte: text of 10 bytes a row, packed to a fiftieth


class Allowance:
    """Counts the records of a file against its limit."""

    def __init__(self, file: SourceFile) -> None:
        self._limit = self._left = RECORDS // file.packed_with + RECORDS_PER_BYTE * file.stored_bytes
        self._file = file

    def has(self, records: int) -> bool:
        """Count some records; return whether they are allowed."""
        self._left -= records
        return self._left >= 0

    def take(self, records: int) -> None:
        """Count some records.

        Raises:
            SourceError: The count exceeds the limit.
        """
        if not self.has(records):
            self.refuse_if_spent()

    def refuse_if_spent(self) -> None:
        """Check that the records counted so far are allowed.

        Raises:
            SourceError: The count exceeds the limit.
        """
        if self._left < 0:
            raise SourceError(
                "too_large",
                f"more than {self._limit:,} of its records must be examined one by one, more than a file "
                f"of {self._file.stored_bytes:,} bytes should need",
                location=self._file.path,
                remedy="check its content; deliver the table alone, in parts, or unpacked",
            )
