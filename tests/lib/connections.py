"""The catalog's connections for loads without Prefect."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from fsspec import AbstractFileSystem

from blocks.http_api import HttpApi
from freight.databases import Database
from freight.readers import FILES_ONLY, Connections


@dataclass(frozen=True)
class KnownConnections:
    """Databases by their URLs, APIs by their blocks, and drops."""

    databases: Mapping[str, str] = field(default_factory=dict)
    apis: Mapping[str, HttpApi] = field(default_factory=dict)
    drops: Mapping[str, AbstractFileSystem] = field(default_factory=dict)

    def database(self, name: str) -> Database:
        """See `Connections`."""
        return Database(self.databases[name])

    def api(self, name: str) -> httpx.Client:
        """See `Connections`."""
        return self.apis[name].client()

    def drop(self, name: str) -> AbstractFileSystem:
        """See `Connections`."""
        return self.drops[name]


def keep_databases(folder: Path, databases: Mapping[str, str]) -> None:
    """Pass databases to processes that load the catalog of a folder."""
    (folder / "databases.json").write_text(json.dumps(dict(databases)))


def kept_connections(folder: Path) -> Connections:
    """Return the connections kept in a folder."""
    kept = folder / "databases.json"
    return KnownConnections(json.loads(kept.read_text())) if kept.exists() else FILES_ONLY
