"""The report workbook, read again by others: openpyxl, and LibreOffice where it is installed."""

import csv
import re
import warnings
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from openpyxl import Workbook, load_workbook
from openpyxl.utils.escape import unescape

from freight.errors import ConfigurationError
from freight.reports import workbook as reports
from freight.reports.cells import CELL_LIMIT, set_cell
from freight.reports.workbook import SIMULATED_NOTICE, WORKBOOK_NAME, write_workbook
from freight.warehouse import report_queries
from freight.warehouse.connect import transaction
from freight.warehouse.schema import quarantine
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import NOW, Corridor
from tests.lib.office import convert

SHEETS = [
    *("Summary", "Daily sites", "Stations", "Top machines", "Without site", "Quarantine", "Data quality"),
    "Daily volume",
]
HEADING, FIRST = 2, 3  # rows of a table sheet

INJECTIONS = (
    "=1+1",
    '=HYPERLINK("http://evil.example","click")',
    "=cmd|' /C calc'!A0",
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1,2)",
    "\t=1+1",
    "\r=1+1",
    "#N/A",
    "TRUE",
    "0012",
    "_x003D_1+1",
    " leading and trailing ",
    "Ngaoundéré, 東京, 🚂",
    "two\nlines",
)


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    return small_corridor(tmp_path, warehouse)


def small_corridor(folder: Path, warehouse: WarehouseUnderTest) -> Corridor:
    """Load two sites and UNKNOWN, three days with a gap, one alert, one bad row."""
    corridor = Corridor(folder, warehouse.engine)
    corridor.add_source("stations", "stations", "csv", "stations*.csv")
    corridor.add_source("machines", "machines", "json", "machines*.json")
    corridor.add_source("erp", "transactions", "csv", "erp*.csv")
    header = "station_code,station_name,region,latitude_deg,longitude_deg,corridor_km"
    corridor.write(
        "stations_20260201.csv",
        f"{header}\nDLA,Douala,Littoral,4.0,9.7,0\nBEL,Bélabo,Est,4.9,13.3,560\nMAK,Makak,Centre,3.5,11.0,211\n",
    )
    corridor.write_machines("machines_20260201.json")
    rows = [
        "TRX-1,MCH-001,2026-02-01 10:00:00,30,OK",
        "TRX-2,MCH-001,2026-02-01 11:00:00,10,WARN",
        "TRX-3,MCH-002,2026-02-01 10:00:00,50,OK",
        "TRX-4,MCH-001,2026-02-03 10:00:00,5.5,OK",
        "TRX-5,MCH-099,2026-02-03 10:00:00,4.5,OK",
        "TRX-6,MCH-001,2026-02-03 10:00:00,7500,OK",
    ]
    corridor.write_transactions("erp_20260204.csv", rows)
    corridor.load()
    return corridor


def written(corridor: Corridor, *, simulated: bool = False) -> Path:
    return write_workbook(corridor.engine, corridor.folder / "reports" / WORKBOOK_NAME, simulated=simulated, now=NOW)


def opened(path: Path) -> Workbook:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_workbook(path)


def table(sheet: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a table sheet below the heading."""
    return list(sheet.iter_rows(min_row=FIRST, values_only=True))


def headlines(sheet: Any) -> dict[Any, Any]:
    return {row[0]: row[1] for row in sheet.iter_rows(min_row=4, max_col=2, values_only=True) if row[0]}


def test_the_sheets_have_frozen_headings_filters_formats_and_widths(corridor: Corridor) -> None:
    book = opened(written(corridor))
    assert book.sheetnames == SHEETS
    for sheet in book.worksheets[1:]:
        assert sheet.freeze_panes in ("A3", "B3")
        assert sheet.auto_filter.ref.startswith("A2:")
        assert all(sheet.column_dimensions[cell.column_letter].width >= 9 for cell in sheet[HEADING])
    stations = book["Stations"]
    heading = [cell.value for cell in stations[HEADING]]
    assert stations.cell(FIRST, heading.index("Reliability") + 1).number_format == "0.0%"
    assert stations.cell(FIRST, heading.index("Volume (t)") + 1).number_format == "#,##0.0"
    assert book["Daily sites"]["A3"].number_format == "yyyy-mm-dd"


def test_the_figures_are_those_of_the_input(corridor: Corridor) -> None:
    book = opened(written(corridor))
    told = headlines(book["Summary"])
    assert told["Content as of (UTC)"].replace(second=0, microsecond=0) == datetime(2026, 2, 3, 23)  # local midnight
    assert told["Window, first local day"] == datetime(2026, 2, 1)
    assert told["Window, last local day"] == datetime(2026, 2, 3)
    assert told["Transactions in the window"] == 5
    assert told["Volume in the window (t)"] == 100
    assert told["Alerts in the window"] == 1
    assert told["Reliability of the corridor"] == pytest.approx(0.8)
    assert told["Stations with traffic"] == "2 of 3"
    assert told["Strategic hubs"] == "Bélabo"
    assert told["Hubs at risk"] == "Douala"
    assert told["Volume at no known station (t)"] == 4.5
    assert told["Rows in quarantine"] == 1
    assert told["Complete days in the window"] == 3
    assert told["Station days with traffic"] == "3 of 6"
    assert told["Incomplete day, left out"] == "none"
    assert told["Machines without a site"] == "MCH-099"
    ledger = [row for row in book["Summary"].iter_rows(values_only=True, max_col=8) if row[0] == "erp"]
    assert ledger == [("erp", 6, 5, 0, 0, 0, 1, 0)]
    assert [row[:7] for row in table(book["Stations"])] == [
        ("Bélabo", "BEL", "Est", "STRATEGIC HUB", 1, 0.5, 50),
        ("Douala", "DLA", "Littoral", "HUB AT RISK", pytest.approx(2 / 3), 0.455, 45.5),
        ("UNKNOWN", None, None, "NOT A STATION", 1, 0.045, 4.5),
        ("Makak", "MAK", "Centre", "NO TRAFFIC", None, 0, 0),
    ]
    assert [row[0] for row in table(book["Top machines"])] == ["MCH-002", "MCH-001", "MCH-099"]
    assert [(row[0], row[1], row[5]) for row in table(book["Daily sites"])] == [
        (datetime(2026, 2, 3), "Douala", 5.5),
        (datetime(2026, 2, 3), "UNKNOWN", 4.5),
        (datetime(2026, 2, 1), "Bélabo", 50),
        (datetime(2026, 2, 1), "Douala", 40),
    ]


def test_a_day_that_has_only_begun_is_marked_and_left_out(corridor: Corridor) -> None:
    corridor.write_transactions("erp_20260204b.csv", ["TRX-7,MCH-001,2026-02-04 00:10:00,3,WARN"])
    corridor.load()
    book = opened(written(corridor))
    told = headlines(book["Summary"])
    assert told["Window, last local day"] == datetime(2026, 2, 3)
    assert told["Alerts in the window"] == 1
    assert told["Incomplete day, left out"] == "2026-02-04: 1 of 2 stations"
    days = [(row[0].day, *row[9:11]) for row in table(book["Daily sites"])]
    assert days[:2] == [(4, "INCOMPLETE", "1 of 2"), (3, "complete", "1 of 2")]
    assert book["Daily sites"]["A3"].font.italic
    assert not book["Daily sites"]["A4"].font.italic
    assert [row[0].day for row in table(book["Daily volume"])] == [1, 2, 3]


def test_the_machines_behind_unknown_are_named(corridor: Corridor) -> None:
    sheet = opened(written(corridor))["Without site"]
    assert [row[:3] + row[4:6] for row in table(sheet)] == [("MCH-099", "no machines file lists it", None, 1, 4.5)]


def test_the_charts_draw_every_day_and_every_station_with_traffic(corridor: Corridor) -> None:
    book = opened(written(corridor))
    assert table(book["Daily volume"]) == [
        (datetime(2026, 2, 1), 50, 40, None),
        (datetime(2026, 2, 2), None, None, None),
        (datetime(2026, 2, 3), None, 5.5, 4.5),
    ]
    (line,) = book["Summary"]._charts
    assert [series.val.numRef.f for series in line.series] == [f"'Daily volume'!${c}$3:${c}$5" for c in "BCD"]
    (bar,) = book["Stations"]._charts
    assert bar.series[0].val.numRef.f == "'Stations'!$E$3:$E$5"


def test_many_sites_share_one_column(corridor: Corridor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "CHART_SITES", 2)
    sheet = opened(written(corridor))["Daily volume"]
    assert [cell.value for cell in sheet[HEADING]] == ["Day (local)", "Bélabo", "Other sites"]
    assert [row[2] for row in table(sheet)] == [40, None, 10]


@pytest.mark.parametrize("simulated", [True, False])
def test_simulated_data_is_named_in_bold(corridor: Corridor, simulated: bool) -> None:
    cell = opened(written(corridor, simulated=simulated))["Summary"]["A2"]
    assert (cell.value == SIMULATED_NOTICE) is simulated
    assert bool(cell.font.bold) is simulated


def test_data_quality_tells_what_is_stale_and_what_failed(corridor: Corridor) -> None:
    corridor.write("erp_20260205.csv", "nothing,known\n1,2\n")
    corridor.add_source("late", "transactions", "csv", "late*.csv")
    corridor.write("late_20260205.csv", "nothing,known\n1,2\n")
    corridor.load()
    path = write_workbook(corridor.engine, corridor.folder / WORKBOOK_NAME, simulated=False, now=NOW)
    states = {row[0]: row[2] for row in table(opened(path)["Data quality"])}
    # The last good file of erp and the bad one carry the same instant, so the failure is no newer than the load.
    assert states == {"erp": "STALE", "machines": "STALE", "stations": "fresh", "late": "NEVER LOADED"}


def test_a_failure_after_the_last_load_is_told(corridor: Corridor) -> None:
    corridor.now = datetime(2026, 3, 1, 13, tzinfo=UTC)
    corridor.write("erp_20260205.csv", "nothing,known\n1,2\n")
    corridor.load()
    rows = {row[0]: row for row in table(opened(written(corridor))["Data quality"])}
    assert rows["erp"][2] == "FAILED"
    assert rows["erp"][-2] == "missing_column"


def add_to_quarantine(corridor: Corridor, raws: list[bytes]) -> None:
    row = {"batch_id": 1, "source": "erp", "dataset": "transactions", "location": "=1+1.csv", "reason": "pattern"}
    with transaction(corridor.engine) as connection:
        for number, raw in enumerate(raws, start=1):
            connection.execute(quarantine.insert().values(row_number=number, detail="+1", raw=raw, **row))


def raw_cells(path: Path, number: int) -> list[Any]:
    """Return the cells of the newest raw values, oldest first."""
    sheet = opened(path)["Quarantine"]
    column = [cell.value for cell in sheet[HEADING]].index("Raw value") + 1
    return [sheet.cell(row, column) for row in range(FIRST + number - 1, FIRST - 1, -1)]


def test_quarantined_text_stays_text_and_never_becomes_a_formula(corridor: Corridor) -> None:
    add_to_quarantine(corridor, [text.encode() for text in INJECTIONS])
    path = written(corridor)
    cells = raw_cells(path, len(INJECTIONS))
    assert [unescape(cell.value) for cell in cells] == list(INJECTIONS)
    assert {cell.data_type for cell in cells} == {"s"}
    assert [cell.quotePrefix for cell in cells[:8]] == [True] * 8
    with ZipFile(path) as archive:
        sheets = [name for name in archive.namelist() if name.startswith("xl/worksheets/sheet")]
        assert all(b"<f>" not in archive.read(name) and b"<f " not in archive.read(name) for name in sheets)
        assert b'quotePrefix="1"' in archive.read("xl/styles.xml")


def test_the_quarantine_says_in_words_what_is_wrong(corridor: Corridor) -> None:
    corridor.write_transactions(
        "erp_20260205.csv",
        ["TRX-8,Kran 7,2026-02-04 10:00:00,3,OK", *(f"TRX-{n},MCH-001,2026-02-04 10:00:00,3,OK" for n in (21, 22, 23))],
    )
    corridor.load()
    assert [row[3:6] for row in table(opened(written(corridor))["Quarantine"])] == [
        ("machine_id is not a code such as MCH-007", "machine_id", "pattern"),
        ("volume_transferred_t is not between 0 and 5000 tonnes", "volume_transferred_t", "out_of_range"),
    ]


def test_characters_that_no_workbook_can_hold_are_replaced_visibly(corridor: Corridor) -> None:
    add_to_quarantine(corridor, [b"a\x00b\x1bc\x07", "\uffff|\ufffe".encode(), b"caf\xe9"])
    assert [cell.value for cell in raw_cells(written(corridor), 3)] == ["a␀b␛c␇", "\ufffd|\ufffd", "caf\\xe9"]


@pytest.mark.parametrize("text", ["x" * 40_000, "🚂" * 20_000, "\r" * 20_000, "_x0041_" * 5_000])
def test_text_that_is_too_long_for_a_cell_is_cut_with_a_mark(text: str) -> None:
    cell = Workbook().active["A1"]
    set_cell(cell, text)
    assert len(cell.value.encode("utf-16-le")) // 2 <= CELL_LIMIT
    shown = unescape(cell.value)
    kept, mark = shown.split(" … [cut here: ")
    assert text.startswith(kept)
    assert len(kept) > 4_000
    assert mark == f"{len(text):,} characters in all]"


def test_text_that_just_fits_a_cell_is_not_cut() -> None:
    cell = Workbook().active["A1"]
    set_cell(cell, "x" * CELL_LIMIT)
    assert cell.value == "x" * CELL_LIMIT


def test_only_the_newest_quarantined_rows_are_shown_and_the_rest_is_counted(
    corridor: Corridor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_queries, "QUARANTINE_ROWS", 3)
    add_to_quarantine(corridor, [str(number).encode() for number in range(5)])
    sheet = opened(written(corridor))["Quarantine"]
    assert sheet["A1"].value == "The newest 3 of 6 quarantined rows; 3 more are in the table quarantine"
    assert [row[6] for row in table(sheet)] == ["4", "3", "2"]


def test_a_table_longer_than_a_sheet_goes_on_in_the_next(corridor: Corridor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "SHEET_ROWS", 5)  # a note, a heading and three rows
    book = opened(written(corridor))
    assert [name for name in book.sheetnames if name.startswith("Daily sites")] == ["Daily sites", "Daily sites (2)"]
    assert len(table(book["Daily sites"])) == 3
    assert len(table(book["Daily sites (2)"])) == 1
    assert [cell.value for cell in book["Daily sites (2)"][HEADING]] == [cell.value for cell in book["Daily sites"][2]]


def test_a_failure_while_writing_leaves_the_old_file_whole(corridor: Corridor, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(corridor)
    before = path.read_bytes()

    def fail_half_way(_: Workbook, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Workbook, "save", fail_half_way)
    with pytest.raises(ConfigurationError, match=re.escape(f"{WORKBOOK_NAME} cannot be written: No space left")):
        written(corridor)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [WORKBOOK_NAME]


def test_a_new_report_takes_the_place_of_the_old_one(corridor: Corridor) -> None:
    path = written(corridor, simulated=True)
    assert written(corridor) == path
    assert opened(path)["Summary"]["A2"].value is None
    assert [file.name for file in path.parent.iterdir()] == [WORKBOOK_NAME]


def test_an_empty_warehouse_gives_a_report_without_rows(tmp_path: Path, warehouse: WarehouseUnderTest) -> None:
    path = write_workbook(warehouse.engine, tmp_path / "new" / WORKBOOK_NAME, simulated=False, now=NOW)
    book = opened(path)
    assert book.sheetnames == SHEETS
    assert headlines(book["Summary"])["Reliability of the corridor"] == "no data"
    assert headlines(book["Summary"])["Transactions in the window"] == 0
    assert all(table(sheet) == [] for sheet in book.worksheets[1:])


def test_libreoffice_opens_it_and_reads_the_same_text(tmp_path: Path, sqlite_warehouse: WarehouseUnderTest) -> None:
    corridor = small_corridor(tmp_path, sqlite_warehouse)
    add_to_quarantine(corridor, [text.encode() for text in INJECTIONS])
    path = written(corridor)
    every_sheet_as_csv = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,-1"
    convert(path, every_sheet_as_csv, path.parent)
    with (path.parent / f"{path.stem}-Quarantine.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[2:]
    assert [row[6] for row in reversed(rows[: len(INJECTIONS)])] == list(INJECTIONS)
    with (path.parent / f"{path.stem}-Stations.csv").open(encoding="utf-8") as file:
        assert date(2026, 2, 1).isoformat() in file.readline()
