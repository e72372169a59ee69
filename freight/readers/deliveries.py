"""What a source has for us, whatever it is: files, rows of a table, what an API answers."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

import httpx

from freight.contracts import Contract
from freight.databases import Database
from freight.errors import ConfigurationError
from freight.types import Position


class Connections(Protocol):
    """Opens what catalog entries name as their `connection`.

    Raises:
        ConfigurationError: there is nothing of that kind by the name.
    """

    def database(self, name: str) -> Database:
        """Return a database."""
        ...

    def api(self, name: str) -> httpx.Client:
        """Return a client of an HTTP API that reaches no other host; the caller closes it."""
        ...


class NoConnections:
    """Where there are only files."""

    def database(self, name: str) -> Database:
        """Refuse; see `Connections`."""
        raise ConfigurationError(f"connection {name!r}: connections are kept by Prefect, and this runs without it")

    def api(self, name: str) -> httpx.Client:
        """Refuse; see `Connections`."""
        raise ConfigurationError(f"connection {name!r}: connections are kept by Prefect, and this runs without it")


@dataclass(frozen=True)
class Place:
    """Where a source is, as its catalog entry says.

    Attributes:
        location: path, glob or URL; of an API the path on its host.
        folder: of the catalog; relative paths of files count from it.
        contract: of the rows.
        time_zone: of times without an offset.
        connection: name of what a table or an API is reached by.
        connections: opens it.
        scratch: folder for what has to be kept until it is loaded; it may not exist yet.
    """

    location: str
    folder: Path
    contract: Contract
    time_zone: str
    connection: str
    connections: Connections = field(repr=False)
    scratch: Path


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
        item: what the reader reads.
        file_hash: tells it from other content.
        speaks_for: the instant it speaks for.
        size_bytes, modified_us: of a file.
        watermark: up to where the source has been read when this is loaded; see `Position`.
        remark: what a person should know of it.
    """

    item: Readable
    file_hash: str
    speaks_for: datetime
    size_bytes: int = 0
    modified_us: int = 0
    watermark: str | None = None
    remark: str = ""


class Delivery(Protocol):
    """One thing that a source has: a file, a table, a path of an API."""

    @property
    def path(self) -> str:
        """How the ledger names it."""
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
