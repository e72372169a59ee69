"""Real MS Access files, written by Jackcess."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from freight.java import compile_java, fetch_once
from freight.readers.access_jars import compiler_of
from tests.lib.waiting import LIMIT_S

SOURCE = Path(__file__).parent / "MakeAccess.java"
FORMATS = ("V2000", "V2003", "V2007", "V2010", "V2016", "V2019")
UNIT, RECORD, TABLE, FILE, NOTHING = "\x1f", "\x1e", "\x1c", "\x1d", "\x00"


@dataclass(frozen=True)
class AccessTable:
    """A table: its columns as `name|type` or `name|type|formula`, and the texts of its cells; None for no value."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | None]] = ()

    def __str__(self) -> str:
        lines = [self.name, UNIT.join(self.columns)]
        return RECORD.join(lines + [UNIT.join(NOTHING if c is None else c for c in row) for row in self.rows])


@dataclass(frozen=True)
class AccessLink:
    """A link to a table in another file."""

    name: str
    other_file: str
    table: str

    def __str__(self) -> str:
        return UNIT.join((self.name, self.other_file, self.table))


AccessFile = tuple[str, Path, Sequence[AccessTable | AccessLink]]  # format, path, tables


class AccessWriter:
    """A writer of Access files; its program is compiled once beside the jars."""

    def __init__(self, jars: Path) -> None:
        self._jars = jars
        written = f"make-access-{SOURCE.stat().st_mtime_ns}"
        self._program = fetch_once(jars.parent / written, self._compiled)

    def _compiled(self, staging: Path) -> Path:
        compile_java(compiler_of(self._jars), self._jars, SOURCE, staging / "program")
        return staging / "program"

    def write(self, *files: AccessFile) -> None:
        """Write files, all in one Java process."""
        said = (
            TABLE.join([UNIT.join((name, str(path))), *(str(table) for table in tables)])
            for name, path, tables in files
        )
        class_path = os.pathsep.join((str(self._program), str(self._jars / "*")))
        subprocess.run(
            ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", class_path, "MakeAccess"],
            input=FILE.join(said).encode(),
            check=True,
            timeout=LIMIT_S,
        )


def table_of(name: str, rows: Sequence[Mapping[str, str]]) -> AccessTable:
    """Return a table of memo fields."""
    columns = [f"{column}|MEMO" for column in rows[0]]
    return AccessTable(name, columns, [[*row.values()] for row in rows])
