"""A hash of rows that ignores their order: neither databases nor APIs guarantee one."""

import hashlib


class ContentHash:
    """Hashes rows one by one."""

    def __init__(self) -> None:
        self._sum = 0

    def note(self, row: bytes) -> None:
        """Add a row."""
        self._sum = (self._sum + int.from_bytes(hashlib.sha256(row).digest())) % (1 << 256)

    def hexdigest(self) -> str:
        """Return the hash of all rows."""
        return f"{self._sum:064x}"
