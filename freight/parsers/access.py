"""MS Access through Jackcess, which reads all formats and types correctly; `java/AccessTables.java` prints the rows."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from freight.contracts.headers import listed, normalise, shown
from freight.errors import SourceError, SourceFault
from freight.parsers.output import OUT_OF_TIME, Output, out_of_memory, out_of_time
from freight.types import Number, row_as_json
from freight.words import counted

KINDS_OF_FILE = (b"Standard Jet DB\0", b"Standard ACE DB\0")
JAVA_OPTIONS = (
    "-Xmx256m",
    "-Xss512k",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
)
OUT_OF_MEMORY = 3  # exit code of a Java without free memory
REMEDIES: dict[SourceFault, str] = {
    "encrypted": "remove the password (in Access: open it exclusively, File, Info, Decrypt Database), deliver it again",
    "corrupt": "in Access: File, Info, Compact & Repair Database; then deliver the whole file again",
}


class AccessTable(NamedTuple):
    """A table of an Access file; `columns` is None if it cannot be opened."""

    name: str
    is_link: bool
    columns: Sequence[str] | None


def parse(path: Path, wishes: Mapping[str, Any], output: Output) -> None:
    """Send the rows of the best-matching table, numbered from 1 in the order of the file.

    Args:
        path: The .mdb or .accdb file, whatever its name.
        wishes: The known `headers`, the option `table` or None, the program's `class_path` and its `java`.
        output: The output for rows, and for faults: rows with a value that is not text, such as a picture.

    Raises:
        SourceError: The file is not an Access file, is protected by a password or damaged, or has no such table; or
        the table is a link.
    """
    refuse_other_kinds(path)
    with _program(path, wishes["java"], wishes["class_path"]) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        tables = [AccessTable(*found) for found in _line(program)]
        table = best_table(tables, wishes)
        program.stdin.write(f"{table.name}\n".encode())
        program.stdin.flush()
        header = table.columns or ()
        output.begin(header)
        _send(program, header, ignored_among(header, wishes), output)


def ignored_among(header: Sequence[str], wishes: Mapping[str, Any]) -> frozenset[int]:
    """Return the positions of the columns that are ignored."""
    names = {normalise(name) for name in wishes.get("ignore", ())}
    return frozenset(place for place, cell in enumerate(header) if normalise(cell) in names)


def refuse_other_kinds(path: Path) -> None:
    """Refuse a file that is not an Access file.

    Raises:
        SourceError: The file is empty, or of another kind.
    """
    with path.open("rb") as stream:
        start = stream.read(20)
    if not start:
        raise SourceError("empty", "the file is empty", remedy="deliver the file again")
    if not start[4:].startswith(KINDS_OF_FILE):
        raise SourceError(
            "unsupported",
            "the file is not an MS Access database, whatever its name says",
            remedy="deliver an .mdb or .accdb file, or set the matching reader",
        )


def best_table(tables: Sequence[AccessTable], wishes: Mapping[str, Any]) -> AccessTable:
    """Return the named table, else the one with the most known columns; of equals the first.

    Raises:
        SourceError: There is no such table, or it is a link or broken.
    """
    wanted, known = wishes["table"], set(wishes["headers"])
    if wanted is None:
        candidates = [table for table in tables if table.columns is not None]
        if candidates:
            return max(candidates, key=lambda table: sum(normalise(name) in known for name in table.columns or ()))
        raise _no_table(tables)
    table = next((table for table in tables if table.name == wanted), None)
    if table is None:
        there_are = listed([table.name for table in tables]) or "none"
        raise SourceError(
            "missing_column",
            f"there is no table {wanted!r}",
            remedy=f"name one of these in the option table: {there_are}",
        )
    if table.is_link:
        raise _only_a_link(shown(table.name))
    if table.columns is None:
        raise SourceError("corrupt", f"the table {wanted!r} cannot be opened", remedy=REMEDIES["corrupt"])
    return table


def _no_table(tables: Sequence[AccessTable]) -> SourceError:
    if any(table.is_link for table in tables):
        return _only_a_link(listed([table.name for table in tables]))
    return SourceError("empty", "the database has no table that can be opened", remedy="deliver it with its tables")


def _only_a_link(names: str) -> SourceError:
    return SourceError(
        "unsupported",
        f"the table {names} is a link to another file, which is not followed",
        remedy="deliver the file that it links to, or in Access: right click, Convert to Local Table",
    )


@contextmanager
def _program(path: Path, java: str, class_path: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [java, *JAVA_OPTIONS, "-cp", class_path, "AccessTables", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C.UTF-8"},  # without it Java finds no file with an accent in its path
    ) as program:
        try:
            yield program
        finally:
            program.kill()


def _line(program: subprocess.Popen[bytes]) -> Any:
    """Return the program's next answer.

    Raises:
        SourceError: The file is faulty, or the program has died.
    """
    assert program.stdout is not None
    line = program.stdout.readline()
    if not line.endswith(b"\n"):
        raise _died(program.wait())
    answer = orjson.loads(line)
    if isinstance(answer, dict) and "fault" in answer:
        fault: SourceFault = answer["fault"]
        raise SourceError(fault, f"the database cannot be read: {answer['message'][:500]}", remedy=REMEDIES[fault])
    return answer


def _died(exit_code: int) -> SourceError:
    if exit_code in (OUT_OF_MEMORY, -9):
        return out_of_memory()
    if exit_code == OUT_OF_TIME:
        return out_of_time()
    return SourceError(
        "corrupt", f"the database is damaged: its parser died with code {exit_code}", remedy=REMEDIES["corrupt"]
    )


def _send(program: subprocess.Popen[bytes], header: Sequence[str], ignored: frozenset[int], output: Output) -> None:
    number = 0
    while isinstance(cells := _line(program), list):
        number += 1
        values = [Number(*cell) if isinstance(cell, list) else cell for cell in cells]
        send_row(number, values, header, ignored, output)
    if number < cells["counted"]:
        raise SourceError(
            "corrupt",
            f"the table has {counted(number, 'row')}, but says that it has {cells['counted']}",
            remedy=REMEDIES["corrupt"],
        )


def send_row(number: int, cells: Sequence[Any], header: Sequence[str], ignored: frozenset[int], output: Output) -> None:
    """Send a row; an object in place of a value says why it is not text, and makes the row a fault.

    Args:
        number: The number of the row.
        cells: Its values.
        header: The names of the columns.
        ignored: The positions of the columns in which any value counts as empty.
        output: The output.
    """
    cells = ["" if place in ignored else cell for place, cell in enumerate(cells)] if ignored else cells
    odd = next((place for place, cell in enumerate(cells) if isinstance(cell, dict)), None)
    if odd is None:
        output.row(number, cells)
        return
    raw = row_as_json(dict(zip(header, cells, strict=True)))
    output.fault(number, header[odd], "no_text", cells[odd]["reason"], raw)
