"""Registers block kinds in Prefect, and saves the blocks of a file: `python -m deployments.apply_blocks blocks.yaml`.

The file holds no secrets, only the names of secrets in a Key Vault. Repeating the command changes nothing.
"""

import re
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import httpx
import yaml
from prefect import get_client
from prefect.blocks.core import Block
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from blocks.alert_channel import AlertChannel
from blocks.blob_drop import BlobDrop
from blocks.http_api import HttpApi
from blocks.kafka_cluster import KafkaCluster
from blocks.key_vault import KeyVault, KeyVaultSecret
from blocks.mail_server import MailServer
from blocks.places import load_block
from blocks.sql_source import SqlSource
from blocks.warehouse import Warehouse
from freight.errors import ConfigurationError
from freight.exits import exits_in_words
from tasks.temporary_server import guard_temporary_server, login_hint

BLOCKS: tuple[type[Block], ...] = (
    AlertChannel,
    BlobDrop,
    HttpApi,
    KafkaCluster,
    KeyVault,
    KeyVaultSecret,
    MailServer,
    SqlSource,
    Warehouse,
)
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")  # of a block, for Prefect


def apply_blocks(path: Path | None = None) -> list[str]:
    """Register all kinds of blocks and save the blocks of a file; return the names of the blocks.

    Blocks that the file does not name stay unchanged. Nothing is written unless the whole file is valid.

    Args:
        path: The file; without one, only the kinds are registered.

    Raises:
        ConfigurationError: The file cannot be read or is wrong; the message names the line.
    """
    blocks = _File(path).blocks() if path else {}
    for kind in BLOCKS:
        kind.register_type_and_schema()
    for entry, block in blocks.items():
        block.save(entry.name, overwrite=True)
    return [str(entry) for entry in blocks]


class _Entry(NamedTuple):
    """The kind and name of a block in the file."""

    kind: type[Block]
    name: str

    def __str__(self) -> str:
        return f"{self.kind.get_block_type_slug()}/{self.name}"


@dataclass(frozen=True)
class _Item:
    """The value of a key in the file, and the line of the key."""

    line: int
    node: yaml.Node


class _File:
    """A file of blocks: kinds, their blocks, and the blocks' fields."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries = dict(self._read())
        self._blocks: dict[_Entry, Block] = {}

    def blocks(self) -> dict[_Entry, Block]:
        """Return the blocks; those that others refer to come first, and are the same objects.

        Prefect stores a reference only to a block that was saved before.
        """
        for entry, item in self._entries.items():
            self._block(entry, item)
        for entry in self._blocks:
            self._need_no_secret_typed_in(entry)
        return self._blocks

    def _block(self, entry: _Entry, asked: _Item) -> Block:
        """Return a block of the file, or of Prefect if the file does not name it."""
        if entry in self._entries:
            return self._blocks.get(entry) or self._make(entry)
        try:
            return load_block(entry.kind, entry.name)
        except ConfigurationError as error:
            raise self._fault(asked, str(error)) from None

    def _make(self, entry: _Entry) -> Block:
        item = self._entries[entry]
        fields = self._mapping(item, f"{entry} needs its fields")
        values = {name: self._value(entry, name, field) for name, field in fields.items()}
        try:
            self._blocks[entry] = entry.kind(**values)
        except ConfigurationError as error:
            raise self._fault(item, f"{entry}: {error}") from None
        except ValidationError as error:
            fault = error.errors(include_input=False)[0]
            name = str(fault["loc"][0])
            raise self._fault(fields.get(name, item), f"{entry}: {name}: {fault['msg']}") from None
        return self._blocks[entry]

    def _value(self, entry: _Entry, name: str, item: _Item) -> Any:
        kind = entry.kind
        if name not in kind.model_fields:
            raise self._fault(item, f"{entry} has no field {name!r}: use one of {', '.join(kind.model_fields)}")
        if name in _secrets(kind):
            raise self._fault(item, f"{entry}: {name} is a secret, which must not be in a file: {_instead(kind)}")
        value = yaml.SafeLoader("").construct_object(item.node, deep=True)
        held = _kind_held(kind, name)
        if held is None or value is None:
            return value
        if not isinstance(value, str):
            raise self._fault(item, f"{entry}: {name} needs the name of a block of the kind {_slug(held)}")
        return self._block(_Entry(held, value), item)

    def _need_no_secret_typed_in(self, entry: _Entry) -> None:
        """Refuse to overwrite a secret typed into Prefect's form, unless the file names its replacement."""
        with get_client(sync_client=True) as prefect:
            try:
                stored = prefect.read_block_document_by_name(entry.name, _slug(entry.kind)).data
            except ObjectNotFound:
                return
        for name in _secrets(entry.kind):
            if stored.get(name) and not getattr(self._blocks[entry], f"{name}_secret", None):
                raise self._fault(
                    self._entries[entry],
                    f"{entry}: Prefect holds a {name} for it, which would be lost: {_instead(entry.kind)}, empty it "
                    "in the form of Prefect, or leave the block out of the file",
                )

    def _read(self) -> Iterator[tuple[_Entry, _Item]]:
        kinds = {_slug(kind): kind for kind in BLOCKS}
        for slug, item in self._mapping(_Item(1, self._root()), "it needs kinds of blocks").items():
            if slug not in kinds:
                raise self._fault(item, f"there is no kind of block {slug!r}: use one of {', '.join(sorted(kinds))}")
            for name, block in self._mapping(item, f"{slug} needs names of blocks").items():
                if not NAME.fullmatch(name):
                    raise self._fault(block, f"the block name {name!r} may only hold a-z, digits and dashes")
                yield _Entry(kinds[slug], name), block

    def _root(self) -> yaml.Node:
        try:
            root = yaml.compose(self._path.read_text(encoding="utf-8"), yaml.SafeLoader)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{self._path} cannot be read: {error}") from None
        except yaml.YAMLError as error:
            raise ConfigurationError(f"{self._path.name} is not YAML: {error}") from None
        return root or yaml.MappingNode("tag:yaml.org,2002:map", [])

    def _mapping(self, item: _Item, wanted: str) -> dict[str, _Item]:
        """Return the values of a mapping by their keys."""
        if not isinstance(item.node, yaml.MappingNode):
            raise self._fault(item, f"{wanted}, each with a colon")
        found: dict[str, _Item] = {}
        for key, node in item.node.value:
            below = _Item(key.start_mark.line + 1, node)
            if (name := str(key.value)) in found:
                raise self._fault(below, f"{name!r} appears twice")
            found[name] = below
        return found

    def _fault(self, item: _Item, message: str) -> ConfigurationError:
        return ConfigurationError(f"{self._path.name}, line {item.line}: {message}")


def _slug(kind: type[Block]) -> str:
    return kind.get_block_type_slug()


def _secrets(kind: type[Block]) -> list[str]:
    """Return the fields of a kind of block that Prefect encrypts."""
    return [name.removesuffix(".*") for name in kind.model_json_schema()["secret_fields"]]


def _instead(kind: type[Block]) -> str:
    keepers = [name for name in kind.model_fields if _kind_held(kind, name) is KeyVaultSecret]
    return f"name a block of the kind {_slug(KeyVaultSecret)} in {' or '.join(keepers)}"


def _kind_held(kind: type[Block], name: str) -> type[Block] | None:
    """Return the kind of block that a field holds; None if it holds no block."""
    annotation = kind.model_fields[name].annotation
    return next((held for held in (annotation, *get_args(annotation)) if Block.is_block_class(held)), None)


@exits_in_words
def main() -> int:
    """Run the command; return 0, or 1 if Prefect does not answer."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", help="YAML of blocks; without one, only kinds are registered.")
    file = parser.parse_args().file
    guard_temporary_server()
    try:
        with login_hint():
            names = apply_blocks(file)
    except httpx.HTTPError as error:
        print(f"error: Prefect does not answer: {error}", file=sys.stderr)
        return 1
    print("\n".join([f"Prefect knows {len(BLOCKS)} kinds of blocks", *names]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
