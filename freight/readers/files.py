"""Files as deliveries: a file is unchanged if its size and time of change, or its hash, match the last load."""

from dataclasses import dataclass
from pathlib import Path

from freight.errors import SourceError
from freight.readers.deliveries import Connections, NewContent, Place, opened
from freight.readers.locations import SourceFile, find_files
from freight.readers.no_data import is_incomplete
from freight.readers.options import FileOptions
from freight.readers.stated import spoken_by
from freight.readers.zip_members import unpacked
from freight.types import Fingerprint, Position, instant_of


@dataclass(frozen=True)
class FileDelivery:
    """A file; see `Delivery`."""

    stored: SourceFile
    place: Place

    @property
    def path(self) -> str:
        """See `Delivery`."""
        return self.stored.path

    def changed_since(self, known: Position | None) -> NewContent | None:
        """See `Delivery`."""
        if known and looks_loaded(self.stored, known):
            return None
        self._refuse_incomplete()
        self._refuse_unsettled()
        file = self.stored
        fingerprint = Fingerprint(file.sha256(), file.size_bytes, file.modified_us)
        if known and known.fingerprint.content_id == fingerprint.content_id:
            return None
        spoken = spoken_by(file, self.place.file_names, self.place.now)
        return NewContent(
            file, fingerprint, spoken.instant, file.remark, tells_day=spoken.tells_day, evidence=spoken.evidence
        )

    def _refuse_incomplete(self) -> None:
        if is_incomplete(self.stored.name, self.place.location):
            raise SourceError(
                "changed_while_reading",
                "its name says that it is not complete yet",
                location=self.path,
                remedy="none if it is being delivered: the next run loads it under its final name; else remove it",
            )

    def _refuse_unsettled(self) -> None:
        # A file dated in the future by a wrong clock settles as well.
        age_s = abs((self.place.now - instant_of(self.stored.modified_us)).total_seconds())
        if age_s < self.place.settle_s:
            raise SourceError(
                "changed_while_reading",
                f"changed {age_s:.0f} s ago; it must be unchanged for {self.place.settle_s:.0f} s",
                location=self.path,
                remedy="none: the next run loads it",
            )


def deliver_files(place: Place, options: FileOptions) -> list[FileDelivery]:
    """Return the files of a place, ordered by path.

    Raises:
        SourceError: No file matches, or the place cannot be accessed.
        ConfigurationError: No filesystem is installed for the URL.
    """
    found = find_stored(
        place.location,
        place.folder,
        place.connections,
        place.drop,
        may_be_none=place.may_be_none,
        members=options.members,
    )
    return [FileDelivery(file, place) for file in found]


def find_stored(
    location: str,
    folder: Path,
    connections: Connections,
    drop: str | None,
    *,
    may_be_none: bool,
    members: str | None = None,
) -> list[SourceFile]:
    """Return the files that a location names, with each member of a `.zip` as a separate file; see `Place`."""
    filesystem = opened("drop", connections.drop, drop, location) if drop else None
    found = find_files(location, folder, filesystem, may_be_none=may_be_none)
    return [file for stored in found for file in unpacked(stored, members)]


def looks_loaded(file: SourceFile, known: Position) -> bool:
    """Whether a file has the same size and time of change as when it was loaded."""
    loaded = known.fingerprint
    return (loaded.size_bytes, loaded.modified_us) == (file.size_bytes, file.modified_us)
