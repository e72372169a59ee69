"""Deliveries of a source: files, rows of a table, or answers of an API."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

import httpx
from fsspec import AbstractFileSystem

from freight.contracts import Contract
from freight.databases import Database
from freight.errors import DpaError, SourceError
from freight.readers.locations import SourceFile
from freight.readers.stated import FileNames
from freight.types import Fingerprint, Position


class Connections(Protocol):
    """Opens the `connection` or `drop` that a catalog entry names.

    Raises:
        ConfigurationError: Nothing of that kind has the name, or it cannot be used.
        TransientError: Its secret is not available at the moment.
    """

    def database(self, name: str) -> Database:
        """Return a database."""
        ...

    def api(self, name: str) -> httpx.Client:
        """Return a client of an HTTP API; it reaches no other host, and the caller closes it."""
        ...

    def drop(self, name: str) -> AbstractFileSystem:
        """Return the filesystem of a drop."""
        ...


class NoConnections:
    """Refuses all connections: without Prefect only files can be read."""

    def database(self, name: str) -> Database:
        """Refuse; see `Connections`."""
        raise _unknown("SQL Source", name)

    def api(self, name: str) -> httpx.Client:
        """Refuse; see `Connections`."""
        raise _unknown("HTTP API", name)

    def drop(self, name: str) -> AbstractFileSystem:
        """Refuse; see `Connections`."""
        raise _unknown("Blob Drop", name)


FILES_ONLY = NoConnections()


def _unknown(kind: str, name: str) -> SourceError:
    return SourceError(
        "unreadable",
        f"only Prefect knows the {kind} block {name!r}",
        remedy="the flow load-nightly loads it, and check-sources looks at it",
    )


def opened[T](kind: str, connect: Callable[[str], T], name: str, location: str) -> T:
    """Open a connection or drop by its name; a failure becomes a fault of the source.

    Args:
        kind: The kind of connection, in words.
        connect: The function that opens it by its name.
        name: The name of its block.
        location: The location of the source.

    Raises:
        SourceError: It cannot be opened.
    """
    try:
        return connect(name)
    except SourceError as error:
        raise error.at(location) from None
    except DpaError as error:
        raise SourceError(
            "unreadable",
            f"the {kind} cannot be opened: {error}",
            location=location,
            remedy=f"check the block {name!r}; the next run tries again",
        ) from None


@dataclass(frozen=True)
class Place:
    """Where a source is, according to its catalog entry.

    Attributes:
        location: A path, glob or URL; for an API the path on its host.
        folder: The folder of the catalog; relative paths of files start there.
        contract: The contract of the rows.
        time_zone: The time zone of times without an offset.
        connections: Opens the connection or drop by its name.
        now: The instant of the run.
        scratch: The folder for content that is kept until it is loaded; it may not exist yet.
        connection: The name of the connection to a table or an API.
        drop: The name of the drop that holds the files, unless the location itself says where they are.
        settle_s: The number of seconds for which a file must not have changed.
        may_be_none: Whether a source without files is allowed.
        file_names: What the names of its files tell.
    """

    location: str
    folder: Path
    contract: Contract
    time_zone: str
    connections: Connections = field(repr=False)
    now: datetime
    scratch: Path
    connection: str = ""
    drop: str | None = None
    settle_s: float = 0.0
    may_be_none: bool = False
    file_names: FileNames = field(default_factory=FileNames)


class Readable(Protocol):
    """The input of a reader: a file, or another kind of object that the reader understands."""

    def refuse_if_changed(self) -> None:
        """Check after reading that it has not changed since it was found.

        Raises:
            SourceError: It has changed.
        """
        ...


@dataclass(frozen=True)
class NewContent:
    """Content of a source that is not loaded yet.

    Attributes:
        item: The file, rows or answers that the reader reads.
        fingerprint: The identity of the content.
        speaks_for: The instant that it stands for.
        remark: A note for people.
        tells_day: Whether its name states the day that it stands for.
        evidence: What the instant that it stands for follows from; empty if it is no file.
    """

    item: Readable
    fingerprint: Fingerprint
    speaks_for: datetime
    remark: str = ""
    tells_day: bool = False
    evidence: str = ""


def new_since(known: Position | None, content: NewContent | None) -> NewContent | None:
    """Return the content if it differs from the loaded one; None if it is the same or missing."""
    is_loaded = known and content and known.fingerprint.content_id == content.fingerprint.content_id
    return None if is_loaded else content


class Delivery(Protocol):
    """One item of a source: a file, a table, a path of an API."""

    @property
    def path(self) -> str:
        """Name in the ledger."""
        ...

    @property
    def stored(self) -> SourceFile | None:
        """The stored file, which may be moved after the load; None if the delivery is not a file."""
        ...

    def changed_since(self, known: Position | None) -> NewContent | None:
        """Return its new content; None if there is nothing new.

        Args:
            known: The position of its last load under the same contract version, if any.

        Raises:
            SourceError: It cannot be used.
            SourceAway: It does not answer.
        """
        ...
