"""What a source has for us, whatever it is: files, rows of a table, what an API answers."""

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
from freight.types import Fingerprint, Position


class Connections(Protocol):
    """Opens what catalog entries name as their `connection` or `drop`.

    Raises:
        ConfigurationError: there is nothing of that kind by the name, or it cannot be used.
        TransientError: its secret cannot be had right now.
    """

    def database(self, name: str) -> Database:
        """Return a database."""
        ...

    def api(self, name: str) -> httpx.Client:
        """Return a client of an HTTP API that reaches no other host; the caller closes it."""
        ...

    def drop(self, name: str) -> AbstractFileSystem:
        """Return the place in which files are dropped."""
        ...


class NoConnections:
    """What there is without Prefect: files."""

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
    """Return what a source names, or tell its own fault.

    Args:
        kind: of what is opened, in words.
        connect: opens it by its name.
        name: of its block.
        location: of the source.

    Raises:
        SourceError: it cannot be opened.
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
            remedy=f"look after the block {name!r}; the next run tries again",
        ) from None


@dataclass(frozen=True)
class Place:
    """Where a source is, as its catalog entry says.

    Attributes:
        location: path, glob or URL; of an API the path on its host.
        folder: of the catalog; relative paths of files count from it.
        contract: of the rows.
        time_zone: of times without an offset.
        connections: opens what is named.
        now: the instant of the run.
        scratch: folder for what has to be kept until it is loaded; it may not exist yet.
        connection: name of what a table or an API is reached by.
        drop: name of the place in which files are, unless the location says where that is.
        settle_s: how long a file must not have changed.
        may_be_none: whether it is no fault that there is no file.
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


class Readable(Protocol):
    """What a reader reads: a file, or whatever a reader of another kind understands."""

    def refuse_if_changed(self) -> None:
        """Check, after it was read, that it still is what it was when it was found.

        Raises:
            SourceError: it is not.
        """
        ...


@dataclass(frozen=True)
class NewContent:
    """What a source has that was not loaded yet.

    Attributes:
        item: The file, rows or answers that the reader reads.
        fingerprint: The mark by which the content is told from others.
        speaks_for: The instant it speaks for.
        remark: A note for people.
        tells_day: Whether its name says the day that it speaks for.
    """

    item: Readable
    fingerprint: Fingerprint
    speaks_for: datetime
    remark: str = ""
    tells_day: bool = False


def new_since(known: Position | None, content: NewContent | None) -> NewContent | None:
    """Return content that differs from what is loaded; None if it is the same, or there is none."""
    is_loaded = known and content and known.fingerprint.content_id == content.fingerprint.content_id
    return None if is_loaded else content


class Delivery(Protocol):
    """One thing that a source has: a file, a table, a path of an API."""

    @property
    def path(self) -> str:
        """How the ledger names it."""
        ...

    @property
    def stored(self) -> SourceFile | None:
        """The file that it is, which may be moved when it is loaded; None if it is none."""
        ...

    def changed_since(self, known: Position | None) -> NewContent | None:
        """Return what is new in it; None if nothing is.

        Args:
            known: what was loaded from it under the same version of the contract, if anything was.

        Raises:
            SourceError: it cannot be used.
            SourceAway: it does not answer.
        """
        ...
