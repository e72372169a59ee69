"""Files as deliveries: one whose size and time of change, or whose hash, is that of the last load has nothing new."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from freight.readers.deliveries import NewContent, Place
from freight.readers.locations import SourceFile, find_files
from freight.readers.options import ReaderOptions
from freight.types import Position, instant_of

DATE_IN_NAME = re.compile(r"(?<!\d)(20\d{2})[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?!\d)")


@dataclass(frozen=True)
class FileDelivery:
    """A file; see `Delivery`."""

    file: SourceFile

    @property
    def path(self) -> str:
        """See `Delivery`."""
        return self.file.path

    def changed_since(self, known: Position | None) -> NewContent | None:
        """See `Delivery`."""
        if known and looks_loaded(self.file, known):
            return None
        file_hash = self.file.sha256()
        if known and known.file_hash == file_hash:
            return None
        instant = _date_in_name(self.path) or instant_of(self.file.modified_us)
        return NewContent(self.file, file_hash, instant, self.file.size_bytes, self.file.modified_us)


def deliver_files(place: Place, options: ReaderOptions) -> list[FileDelivery]:
    """Return the files of a place, ordered by path.

    Raises:
        SourceError: no file matches, or the place cannot be looked at.
        ConfigurationError: no filesystem is installed for the URL.
    """
    return [FileDelivery(file) for file in find_files(place.location, place.folder)]


def looks_loaded(file: SourceFile, known: Position) -> bool:
    """Whether a file is as it was when it was loaded, by its size and time of change."""
    return (known.size_bytes, known.modified_us) == (file.size_bytes, file.modified_us)


def _date_in_name(path: str) -> datetime | None:
    """Return the last date in a file's name as 00:00 UTC."""
    for year, month, day in reversed(DATE_IN_NAME.findall(Path(path).name)):
        try:
            return datetime(int(year), int(month), int(day), tzinfo=UTC)
        except ValueError:
            continue  # digits that look like a date but are none, such as 20260230
    return None
