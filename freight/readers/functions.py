"""A source's own function of pandas, which reshapes its rows: where it is, its version, and a call of it.

The module is read here once, and its text goes to the process that runs it: the version in the ledger is that of the
code that ran, and the process needs no access to the folder.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import monotonic

from fsspec.implementations.local import LocalFileSystem

from freight.errors import SourceError
from freight.readers import isolated
from freight.readers.isolated import cpu_limit_s, read_isolated
from freight.readers.locations import SourceFile
from freight.readers.raw import RawTable

FOLDER = "transforms"  # beside the catalog
CODE_LIMIT_BYTES = 1 << 20
MEMORY_LIMIT_BYTES = 1 << 30  # pandas holds all rows of a file, more than once
LESS_S, LESS_CPU_S = 3, 4  # the process tells where the function is before its reader or the system ends it

Lookups = Mapping[str, Mapping[str, Sequence[object]]]  # columns by dataset


@dataclass(frozen=True)
class Function:
    """A function in a module beside the catalog.

    Attributes:
        name: The name, as `module.function`.
        lookups: The datasets whose rows it gets.
        code: The text of its module.
    """

    name: str
    lookups: tuple[str, ...]
    code: str

    @property
    def version(self) -> str:
        """The identity of what it does: files are read again under another one."""
        return sha256(json.dumps([self.name, sorted(self.lookups), self.code]).encode()).hexdigest()[:16]

    def __call__(
        self, rows: Path, header: Sequence[str], lookups: Lookups, decimal: str | None, location: str
    ) -> RawTable:
        """Return the rows that the function makes of the rows of a file, with their row numbers.

        Args:
            rows: The rows, as an Arrow file.
            header: The header of the file.
            lookups: The rows of its lookups.
            decimal: The decimal mark that the catalog states; None if it does not.
            location: The location of the file, for messages.

        Raises:
            SourceError: It fails, breaks its promises, or takes too much memory or time; also as the rows are read.
        """
        file = _as_source_file(rows, location)
        wishes = {
            "function": self.name,
            "code": self.code,
            "header": header,
            "lookups": lookups,
            "decimal": decimal,
            "until": monotonic() + isolated.PATIENCE_S + file.size_bytes / isolated.BYTES_PER_SECOND - LESS_S,
            "cpu_limit_s": cpu_limit_s(file.size_bytes) - LESS_CPU_S,
            "memory_mib": MEMORY_LIMIT_BYTES >> 20,
        }
        return read_isolated(file, "freight.parsers.reshape.parse", wishes, memory_limit_bytes=MEMORY_LIMIT_BYTES)

    def named_in(self, error: SourceError) -> SourceError:
        """Return an error that names the function: of a process that was ended, only its reader tells."""
        if self.name in error.message or error.fault not in ("corrupt", "too_large", "timed_out"):
            return error
        words = {
            "too_large": f"needs more than {MEMORY_LIMIT_BYTES >> 20:,} MiB of memory",
            "timed_out": "takes longer than a function may for a file of this size",
            "corrupt": "ends its process, or breaks it",
        }
        return SourceError(
            error.fault,
            f"the function {self.name} {words[error.fault]} ({FOLDER}/{self.name.partition('.')[0]}.py)",
            remedy="correct the function, or deliver the file in parts; the next run tries again",
            location=error.location,
        )


def read_function(name: str, lookups: Sequence[str], catalog_folder: Path) -> Function:
    """Return a function of the folder `transforms` beside the catalog.

    Args:
        name: The name, as `module.function`.
        lookups: The datasets whose rows it gets.
        catalog_folder: The folder of the catalog.

    Raises:
        SourceError: There is no such module, it is not text, or a link leads out of the folder.
    """
    folder = catalog_folder.resolve() / FOLDER
    path = folder / f"{name.partition('.')[0]}.py"
    if not path.is_file():
        raise _unusable(name, f"there is no file {path}", "write it, or correct `transform` in the catalog")
    if path.resolve() != path and not path.resolve().is_relative_to(folder):
        raise _unusable(name, f"a link leads out of the folder {folder}", f"copy the module into {folder}")
    try:
        with path.open("rb") as file:
            return Function(name, tuple(lookups), _text(file.read(CODE_LIMIT_BYTES + 1)))
    except (OSError, ValueError) as error:
        raise _unusable(name, f"{path} cannot be read: {error}", "save it as UTF-8 of at most a megabyte") from None


def _text(code: bytes) -> str:
    if len(code) > CODE_LIMIT_BYTES:
        raise ValueError("it is larger than a megabyte")
    return code.decode("utf-8-sig")


def _unusable(name: str, words: str, remedy: str) -> SourceError:
    return SourceError("transform_failed", f"the function {name} cannot be used: {words}", remedy=remedy)


def _as_source_file(path: Path, location: str) -> SourceFile:
    return SourceFile(location, LocalFileSystem(), str(path), path.stat().st_size, 0, "")
