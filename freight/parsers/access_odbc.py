"""MS Access through Microsoft's own driver, which only Windows has."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Any

from freight.errors import SourceError
from freight.parsers.access import REMEDIES, AccessTable, best_table, ignored_among, refuse_other_kinds, send_row
from freight.parsers.output import Output
from freight.types import Number

DRIVER = "Microsoft Access Driver (*.mdb, *.accdb)"
ROWS_AT_ONCE = 1_000
WRONG_PASSWORD = "password"  # appears in the driver's message in every language


def parse(path: Path, wishes: Mapping[str, Any], output: Output) -> None:
    """Send the rows of the best-matching table, numbered from 1 in the order of the driver.

    Args:
        path: The .mdb or .accdb file.
        wishes: The known `headers`, and the option `table` or None.
        output: The output for rows, and for faults: rows with a value that is not text, such as a picture.

    Raises:
        SourceError: The file is not an Access file, is protected by a password or damaged, or has no such table; the
        table is a link; or the driver is missing.
    """
    refuse_other_kinds(path)
    pyodbc = _driver()
    try:
        connection = pyodbc.connect(f"DRIVER={{{DRIVER}}};DBQ={path};ReadOnly=1", autocommit=True)
        cursor = connection.cursor()
        table = best_table([*_tables(cursor)], wishes)
        header = table.columns or ()
        ignored = ignored_among(header, wishes)
        output.begin(header)
        cursor.execute(f"SELECT * FROM [{table.name.replace(']', ']]')}]")
        number = 0
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            output.progress(len(rows) * len(header))
            for number, row in enumerate(rows, start=number + 1):  # noqa: B020 - goes on counting
                send_row(number, [_text(value) for value in row], header, ignored, output)
    except pyodbc.Error as error:
        raise _fault(error) from None


def _driver() -> Any:
    try:
        import pyodbc
    except ImportError:
        raise _not_here("the package pyodbc is missing") from None
    if DRIVER not in pyodbc.drivers():
        raise _not_here(f"the ODBC driver {DRIVER!r} is missing")
    return pyodbc


def _not_here(reason: str) -> SourceError:
    return SourceError(
        "unreadable",
        f"MS Access cannot be read on this machine: {reason}",
        remedy="install Microsoft's 64-bit Access Database Engine, and `pip install pyodbc`",
    )


def _tables(cursor: Any) -> Iterator[AccessTable]:
    found = [(row.table_name, row.table_type) for row in cursor.tables().fetchall()]
    for name, kind in found:
        if kind in ("LINK", "SYNONYM", "PASS-THROUGH"):
            yield AccessTable(name, is_link=True, columns=None)
        elif kind == "TABLE":
            yield AccessTable(name, is_link=False, columns=_columns(cursor, name))


def _columns(cursor: Any, table: str) -> Sequence[str]:
    return [row.column_name for row in cursor.columns(table=table).fetchall()]


def _text(value: object) -> object:
    """Return a value as the other parser writes it; an object if it is not text."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat(" ")
        case Decimal():
            return Number(f"{value.normalize():f}")
        case float() if isfinite(value):
            return Number(f"{Decimal(repr(value)).normalize():f}")
        case int():
            return Number(value)
        case bytes() | bytearray():
            return {"reason": "a picture or another object, which is not text"}
        case _:
            return str(value)


def _fault(error: Exception) -> SourceError:
    message = str(error.args[-1])[:500]
    if WRONG_PASSWORD in message.lower():
        return SourceError("encrypted", f"the database cannot be read: {message}", remedy=REMEDIES["encrypted"])
    return SourceError("corrupt", f"the database cannot be read: {message}", remedy=REMEDIES["corrupt"])
