"""The way to MS Access on Windows, with a stand-in for the driver: the real one cannot be had elsewhere."""

import io
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.ipc as ipc
import pytest

from freight.errors import SourceError
from freight.parsers import access_odbc
from freight.parsers.output import Output
from freight.parsers.wire import read_frame

WISHES = {"headers": ["code", "site"], "table": None}
COLUMNS = {"Notes": ["what"], "Machines": ["code", "site", "when", "tonnes"]}


class AccessDriverStandIn:
    """What pyodbc and Microsoft's driver answer for a file with two tables and a link."""

    Error = type("Error", (Exception,), {})

    def __init__(self, rows: Sequence[Sequence[object]], refuses: str = "") -> None:
        self._rows, self._refuses = rows, refuses
        self.asked: list[str] = []

    def drivers(self) -> list[str]:
        return [access_odbc.DRIVER]

    def connect(self, _: str, autocommit: bool) -> Any:
        assert autocommit
        if self._refuses:
            raise self.Error("42000", self._refuses)
        return self

    def cursor(self) -> Any:
        return self

    def tables(self) -> Any:
        kinds = [("MSysObjects", "SYSTEM TABLE"), ("Elsewhere", "LINK"), *((name, "TABLE") for name in COLUMNS)]
        return self._fetched(SimpleNamespace(table_name=name, table_type=kind) for name, kind in kinds)

    def columns(self, table: str) -> Any:
        return self._fetched(SimpleNamespace(column_name=name) for name in COLUMNS[table])

    def _fetched(self, rows: Iterator[Any]) -> Any:
        found = list(rows)
        return SimpleNamespace(fetchall=lambda: found)

    def execute(self, query: str) -> None:
        self.asked.append(query)

    def fetchmany(self, count: int) -> Sequence[Any]:
        taken, self._rows = self._rows[:count], self._rows[count:]
        return taken


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.accdb"
    path.write_bytes(b"\0\1\0\0Standard ACE DB\0")
    return path


def parsed(path: Path, driver: object, monkeypatch: pytest.MonkeyPatch, **wishes: object) -> list[Any]:
    """Return the rows and the faults that are sent, after the header."""
    monkeypatch.setitem(sys.modules, "pyodbc", driver)
    stream = io.BytesIO()
    output = Output(stream)
    access_odbc.parse(path, {**WISHES, **wishes}, output)
    output.end()
    stream.seek(0)
    found: list[Any] = []
    while (frame := read_frame(stream)) and frame.kind != "done":
        is_header = frame.kind == "header"
        found.append(json.loads(frame.payload) if is_header else ipc.open_stream(frame.payload).read_all().to_pylist())
    return found


def test_values_read_as_the_other_way_reads_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        ("MCH-001", None, datetime(1899, 12, 29, 6, 0, 1), Decimal("12.5000")),
        ("MCH-002", True, datetime(2026, 2, 1), 1e20),
        ("MCH-003", b"picture", None, float("nan")),
    ]
    driver = AccessDriverStandIn(rows)
    header, found, faults = parsed(path, driver, monkeypatch)
    assert header["cells"] == COLUMNS["Machines"]
    assert [[*row.values()] for row in found] == [
        ["MCH-001", "", "1899-12-29 06:00:01", "12.5", "0001", 1],
        ["MCH-002", "true", "2026-02-01 00:00:00", "100000000000000000000", "0001", 2],
    ]
    assert [(fault["row_number"], fault["column_name"], fault["reason"]) for fault in faults] == [
        (3, "site", "no_text")
    ]
    assert driver.asked == ["SELECT * FROM [Machines]"]


def test_a_picture_in_an_ignored_column_makes_no_row_a_fault(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = AccessDriverStandIn([("MCH-003", b"picture", None, 1.5)])
    _, found = parsed(path, driver, monkeypatch, ignore=["Site"])
    assert [row["1"] for row in found] == [""]


@pytest.mark.parametrize(
    ("driver", "table", "fault", "says"),
    [
        (AccessDriverStandIn([], "Not a valid password."), None, "encrypted", "remove the password"),
        (AccessDriverStandIn([], "Unrecognized database format"), None, "corrupt", "Compact & Repair"),
        (AccessDriverStandIn([]), "Elsewhere", "unsupported", "links to"),
        (AccessDriverStandIn([]), "Nowhere", "missing_column", "'Elsewhere', 'Notes', 'Machines'"),
        (SimpleNamespace(drivers=list, Error=ValueError), None, "unreadable", "Access Database Engine"),
        (None, None, "unreadable", "pip install pyodbc"),
    ],
    ids=["password", "damaged", "link", "no such table", "no driver", "no pyodbc"],
)
def test_what_cannot_be_read_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch, driver: object, table: str | None, fault: str, says: str
) -> None:
    with pytest.raises(SourceError) as caught:
        parsed(path, driver, monkeypatch, table=table)
    assert (caught.value.fault, says in caught.value.remedy) == (fault, True)
