"""The supply chain report: one Excel workbook, from one state of the warehouse."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import batched
from pathlib import Path
from typing import Any

from openpyxl import Workbook
from openpyxl.cell import Cell
from openpyxl.chart import BarChart, LineChart, Reference
from openpyxl.chart.label import DataLabelList
from openpyxl.chart.shapes import GraphicalProperties
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from freight.contracts import LOCAL_ZONE, contracts
from freight.errors import ConfigurationError
from freight.frames import BadRow
from freight.reports.cells import SHEET_ROWS, CellValue, set_cell, set_text
from freight.reports.faults import faults_of, texts_of
from freight.warehouse.connect import Engine
from freight.warehouse.report_queries import ReportData, ReportWindow, read_report
from freight.whole_files import in_place_of

WORKBOOK_NAME = "supply_chain_report.xlsx"
SIMULATED_NOTICE = "SIMULATED DATA"
DAILY_NOTE = (
    "One row per local day and site with traffic. UNKNOWN: the machine has no site. "
    "An incomplete day may have begun only: it is part of no other figure"
)
SITE_NOTE = "The machines behind the site UNKNOWN. Their transactions move to a site once a machines file names it"
COMPLETE, INCOMPLETE = "complete", "INCOMPLETE"
SHOWN_MACHINES = 10
OTHER_SITES = "Other sites"

Row = dict[str, Any]

COUNT, SHARE, TONNES, KILOMETRES = "#,##0", "0.0%", "#,##0.0", "#,##0"
DAY, INSTANT = "yyyy-mm-dd", "yyyy-mm-dd hh:mm"
NARROWEST, WIDEST = 9, 60  # characters
HEADING_ROW = 2  # of a table sheet; the note is above
CHART_ROWS = 18  # under the chart of the summary
CHART_SITES = 8  # more lines are hard to distinguish

INK, PAPER, ALARM, QUIET, BAR = "1F3A5F", "FFFFFF", "C00000", "666666", "9DB8D9"
LINE_COLOURS = ("1F3A5F", "D1731F", "3A8F5C", "A23B72", "5B8DB8", "C9A227", "6B5B95", "888888")
HUB_COLOURS = {
    "STRATEGIC HUB": "D5E8D4",
    "HUB AT RISK": "F8CECC",
    "RELIABLE FEEDER": "E2F0D9",
    "FRAGILE STOP": "FFE6CC",
    "NO TRAFFIC": "EEEEEE",
    "NOT A STATION": "E1D5E7",
}


@dataclass(frozen=True)
class Shown:
    """The look of a column: heading, number format, and width in characters unless it follows from the content."""

    name: str
    heading: str
    number_format: str = ""
    width: float = 0


DAILY_SITES = (
    Shown("transaction_date", "Day (local)", DAY),
    Shown("site_location", "Site"),
    Shown("station_code", "Station"),
    Shown("region", "Region"),
    Shown("total_transactions", "Transactions", COUNT),
    Shown("total_volume", "Volume (t)", TONNES),
    Shown("total_alerts", "Alerts", COUNT),
    Shown("alert_share", "Alert share", SHARE),
    Shown("active_machines", "Active machines", COUNT),
    Shown("day_is", "Day is"),
    Shown("stations", "Stations that reported"),
    Shown("iso_week", "ISO week", "0"),
    Shown("as_of", "As of (UTC)", INSTANT),
)
STATIONS = (
    Shown("site_location", "Site"),
    Shown("station_code", "Station"),
    Shown("region", "Region"),
    Shown("hub_class", "Hub class"),
    Shown("reliability", "Reliability", SHARE),
    Shown("volume_share", "Volume share", SHARE),
    Shown("volume_t", "Volume (t)", TONNES),
    Shown("transactions", "Transactions", COUNT),
    Shown("alerts", "Alerts", COUNT),
    Shown("corridor_km", "Corridor (km)", KILOMETRES),
    Shown("active_days", "Days with traffic", COUNT),
    Shown("days", "Days", COUNT),
)
TOP_MACHINES = (
    Shown("machine_id", "Machine"),
    Shown("machine_type", "Type"),
    Shown("site_location", "Site now"),
    Shown("volume_rank", "Rank", "0"),
    Shown("transactions", "Transactions", COUNT),
    Shown("volume_t", "Volume (t)", TONNES),
    Shown("alerts", "Alerts", COUNT),
    Shown("alert_share", "Alert share", SHARE),
    Shown("active_days", "Active days", COUNT),
    Shown("utilisation", "Utilisation", SHARE),
)
WITHOUT_SITE = (
    Shown("machine_id", "Machine"),
    Shown("reason", "Reason"),
    Shown("site_now", "Site now"),
    Shown("site_since", "Since (UTC)", INSTANT),
    Shown("transactions", "Transactions", COUNT),
    Shown("volume_t", "Volume (t)", TONNES),
    Shown("first_date", "First day (local)", DAY),
    Shown("last_date", "Last day (local)", DAY),
)
QUARANTINE = (
    Shown("source", "Source"),
    Shown("location", "File", width=46),
    Shown("row_in_file", "Row", COUNT, width=18),
    Shown("wrong", "What is wrong", width=60),
    Shown("column_name", "Column"),
    Shown("reason", "Reason"),
    Shown("raw", "Raw value", width=90),
    Shown("replayed", "Replayed"),
)
DATA_QUALITY = (
    Shown("source", "Source"),
    Shown("dataset", "Dataset"),
    Shown("state", "State"),
    Shown("age_h", "Age (h)", TONNES),
    Shown("files", "Files", COUNT),
    Shown("read_rows", "Rows read", COUNT),
    Shown("quarantined", "Quarantined", COUNT),
    Shown("quarantined_share", "Quarantined share", "0.00%"),
    Shown("waiting_rows", "Waiting", COUNT),
    Shown("superseded", "Superseded", COUNT),
    Shown("last_loaded_at", "Last load (UTC)", INSTANT),
    Shown("newest_as_of", "Content as of (UTC)", INSTANT),
    Shown("failed_attempts", "Failed attempts", COUNT),
    Shown("last_failed_at", "Last failure (UTC)", INSTANT),
    Shown("last_fault", "Last fault"),
    Shown("last_message", "Last message", width=60),
)
LEDGER = (
    Shown("source", "Source"),
    Shown("read_rows", "Read", COUNT),
    Shown("inserted", "Inserted", COUNT),
    Shown("updated", "Updated", COUNT),
    Shown("unchanged", "Unchanged", COUNT),
    Shown("superseded", "Superseded", COUNT),
    Shown("quarantined", "Quarantined", COUNT),
    Shown("balance", "Balance", COUNT),
)


def write_workbook(engine: Engine, path: Path, *, simulated: bool, now: datetime) -> Path:
    """Write the report and return its path. An old report stays whole until the new one is complete.

    Args:
        engine: The engine of a migrated warehouse, which may be empty.
        path: The file, usually named `WORKBOOK_NAME`; its folder is created.
        simulated: True if the data comes from the simulator, which every reader has to know.
        now: The instant of writing, with an offset.

    Raises:
        ConfigurationError: The file cannot be written, for example because it is open in Excel.
        TransientError: The warehouse is not ready.
    """
    workbook = _workbook(read_report(engine), simulated=simulated, now=now.astimezone(UTC))
    try:
        with in_place_of(path) as unfinished:
            workbook.save(unfinished)
    except OSError as error:
        raise ConfigurationError(
            f"{path.name} cannot be written: {error.strerror or error}; close it in Excel or choose another folder"
        ) from error
    return path


def _workbook(data: ReportData, *, simulated: bool, now: datetime) -> Workbook:
    workbook = Workbook()
    workbook.properties.creator = "DPA"
    workbook.properties.created = workbook.properties.modified = now.replace(tzinfo=None)
    summary = workbook.active
    summary.title = "Summary"
    _add_daily_sites(workbook, data)
    _add_stations(workbook, data)
    _add_top_machines(workbook, data)
    _add_table_sheets(workbook, "Without site", WITHOUT_SITE, data.without_site.records(), SITE_NOTE)
    _add_quarantine(workbook, data)
    _add_data_quality(workbook, data, now)
    volumes = _add_daily_volume(workbook, data)
    _fill_summary(summary, data, volumes, simulated=simulated, now=now)
    return workbook


# Sheets that are one table


def _add_table_sheets(
    workbook: Workbook, title: str, columns: Sequence[Shown], rows: Sequence[Row], note: str = ""
) -> list[Worksheet]:
    """Add a table under a note; a table longer than a sheet continues in `title (2)`, and so on."""
    parts = list(batched(rows, SHEET_ROWS - 2)) or [()]
    names = [title, *(f"{title} ({number})" for number in range(2, len(parts) + 1))]
    return [_add_table_sheet(workbook, name, columns, part, note) for name, part in zip(names, parts, strict=True)]


def _add_table_sheet(
    workbook: Workbook, title: str, columns: Sequence[Shown], rows: Sequence[Row], note: str
) -> Worksheet:
    sheet = workbook.create_sheet(title)
    set_text(sheet.cell(1, 1), note)
    sheet.cell(1, 1).font = _font(italic=True, color=QUIET)
    _write_rows(sheet, HEADING_ROW, columns, rows)
    sheet.freeze_panes = sheet.cell(HEADING_ROW + 1, 1)
    sheet.auto_filter.ref = f"A{HEADING_ROW}:{get_column_letter(len(columns))}{HEADING_ROW + len(rows)}"
    _set_widths(sheet, columns, rows)
    set_up_page(sheet)
    sheet.print_title_rows = f"{HEADING_ROW}:{HEADING_ROW}"
    return sheet


def _write_rows(sheet: Worksheet, top: int, columns: Sequence[Shown], rows: Sequence[Row]) -> None:
    """Write a heading row and the rows below it."""
    for position, column in enumerate(columns, start=1):
        _write_heading(sheet.cell(top, position), column)
    for row_number, row in enumerate(rows, start=top + 1):
        for position, column in enumerate(columns, start=1):
            set_cell(sheet.cell(row_number, position), row[column.name], column.number_format)
            sheet.cell(row_number, position).alignment = _alignment(column)


def _write_heading(cell: Cell, column: Shown) -> None:
    set_text(cell, column.heading)
    cell.font = _font(bold=True, color=PAPER)
    cell.fill = PatternFill("solid", start_color=INK)
    cell.alignment = _alignment(column)


def _alignment(column: Shown) -> Alignment:
    """Align numbers right; text and days left, away from the number before them."""
    if column.number_format not in ("", DAY):
        return Alignment(horizontal="right")
    return Alignment(horizontal="left", indent=1)


def _set_widths(sheet: Worksheet, columns: Sequence[Shown], rows: Sequence[Row]) -> None:
    for position, column in enumerate(columns, start=1):
        sheet.column_dimensions[get_column_letter(position)].width = column.width or _width(column, rows)


def _width(column: Shown, rows: Sequence[Row]) -> float:
    """Return the width, in characters, that the heading with its filter button and the content need."""
    if column.number_format:
        content = len(column.number_format)
    else:
        content = max((len(str(row[column.name])) for row in rows if row[column.name] is not None), default=0)
    return min(max(NARROWEST, len(column.heading) + 4, content + 3), WIDEST)


def set_up_page(sheet: Worksheet) -> None:
    """Set a sheet to print in landscape, fitted to the width of a page."""
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.paperSize = Worksheet.PAPERSIZE_A4
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True


# The sheets


def _add_daily_sites(workbook: Workbook, data: ReportData) -> None:
    rows = [
        {**row, "day_is": COMPLETE if row["is_complete"] else INCOMPLETE, "stations": _stations_of(row)}
        for row in data.daily_sites.records()
    ]
    for sheet in _add_table_sheets(workbook, "Daily sites", DAILY_SITES, rows, DAILY_NOTE):
        for cell in sheet.iter_rows(min_row=HEADING_ROW + 1, max_col=len(DAILY_SITES)):
            if cell[_position(DAILY_SITES, "day_is") - 1].value == INCOMPLETE:
                _grey_out(cell)


def _grey_out(cells: Sequence[Cell]) -> None:
    for cell in cells:
        cell.font = _font(italic=True, color=QUIET)


def _stations_of(day: Row) -> str:
    return f"{day['stations_reported']} of {day['stations_expected']}"


def _add_stations(workbook: Workbook, data: ReportData) -> None:
    rows = data.stations.records()
    sheet = _add_table_sheets(workbook, "Stations", STATIONS, rows, _station_note(data))[0]
    for row_number, row in enumerate(rows, start=HEADING_ROW + 1):
        fill = PatternFill("solid", start_color=HUB_COLOURS[row["hub_class"]])
        sheet.cell(row_number, _position(STATIONS, "hub_class")).fill = fill
    busy = sum(1 for row in rows if row["transactions"])  # they come first
    if busy:
        sheet.add_chart(_reliability_chart(sheet, busy), f"{get_column_letter(len(STATIONS) + 2)}{HEADING_ROW}")


def _station_note(data: ReportData) -> str:
    if not data.stations.rows:
        return "No stations are loaded"
    first = data.stations.records()[0]
    return (
        f"{_window(data)}. Reliability = 1 - alerts / transactions. A hub carries at least "
        f"{first['min_volume_share']:.0%} of the volume, a reliable station has at least {first['min_reliability']:.0%}"
    )


def _reliability_chart(sheet: Worksheet, stations: int) -> BarChart:
    chart = BarChart()
    chart.type = "bar"
    chart.title = "Reliability of the stations"
    chart.legend = None
    position, last = _position(STATIONS, "reliability"), HEADING_ROW + stations
    chart.add_data(Reference(sheet, min_col=position, min_row=HEADING_ROW, max_row=last), titles_from_data=True)
    chart.set_categories(Reference(sheet, min_col=1, min_row=HEADING_ROW + 1, max_row=last))
    chart.series[0].graphicalProperties = GraphicalProperties(solidFill=BAR)
    chart.series[0].dLbls = DataLabelList(
        dLblPos="inEnd", showVal=True, showSerName=False, showCatName=False, showLegendKey=False
    )
    chart.gapWidth = 50
    chart.x_axis.scaling.orientation = "maxMin"  # the first row on top, as in the table
    chart.y_axis.scaling.min, chart.y_axis.scaling.max = 0, 1
    chart.y_axis.number_format = "0%"
    _show_axes(chart)
    chart.width, chart.height = 18, max(7, 1.1 * stations + 2)
    return chart


def _add_top_machines(workbook: Workbook, data: ReportData) -> None:
    days = data.window.days if data.window else 0
    note = f"{_window(data)}. Utilisation = days with a transaction / {days} days. Equal volumes share a rank"
    _add_table_sheets(workbook, "Top machines", TOP_MACHINES, data.top_machines.records(), note)


def _add_quarantine(workbook: Workbook, data: ReportData) -> None:
    rows = [
        {**row, "wrong": _wrong(row), "replayed": "yes" if row["replayed_batch_id"] is not None else "no"}
        for row in data.quarantine.records()
    ]
    more = data.quarantined_rows - len(rows)
    note = f"The newest {len(rows):,} of {data.quarantined_rows:,} quarantined rows"
    note += f"; {more:,} more are in the table quarantine" if more else ""
    _add_table_sheets(workbook, "Quarantine", QUARANTINE, rows, note)


def _wrong(row: Row) -> str | None:
    """Return the faults of a quarantined row in words; as stored if a release no longer knows its dataset."""
    contract, raw = contracts().get(row["dataset"]), bytes(row["raw"])
    stored = (row["row_in_file"], row["column_name"], row["reason"], row["detail"], raw, row["broken_rules"])
    return faults_of(BadRow(*stored), contract, texts_of(raw)) if contract else row["detail"]


def _add_data_quality(workbook: Workbook, data: ReportData, now: datetime) -> None:
    rows = [
        {**row, "state": _state(row, now), "age_h": _age_h(row["newest_as_of"], now)}
        for row in data.data_quality.records()
    ]
    note = "STALE: the content is older than the contract allows. FAILED: the newest delivery did not load"
    _add_table_sheets(workbook, "Data quality", DATA_QUALITY, rows, note)


def _state(row: Row, now: datetime) -> str:
    loaded, failed = row["last_loaded_at"], row["last_failed_at"]
    if loaded is None:
        return "NEVER LOADED"
    if failed is not None and failed > loaded:
        return "FAILED"
    contract = contracts().get(row["dataset"])
    stale = contract is not None and now - row["newest_as_of"] > timedelta(seconds=contract.freshness_s)
    return "STALE" if stale else "fresh"


def _age_h(instant: datetime | None, now: datetime) -> float | None:
    return None if instant is None else (now - instant) / timedelta(hours=1)


def _add_daily_volume(workbook: Workbook, data: ReportData) -> Worksheet:
    """Add the volumes for the chart of the summary: a row per day of the window, a column per site."""
    sites, rows = _volume_by_day(data)
    columns = [Shown("day", "Day (local)", DAY), *(Shown(site, site, TONNES) for site in sites)]
    note = f"{_window(data)}. Volume in tonnes; an empty cell is a day without data"
    sheet = _add_table_sheets(workbook, "Daily volume", columns, rows, note)[0]
    sheet.freeze_panes = sheet.cell(HEADING_ROW + 1, 2)
    return sheet


def _volume_by_day(data: ReportData) -> tuple[list[str], list[Row]]:
    """Return the busiest sites (the others in one column), and a row per day of the window by site; None: no data."""
    busy = [row["site_location"] for row in data.stations.records() if row["transactions"]]
    shown = busy if len(busy) <= CHART_SITES else [*busy[: CHART_SITES - 1], OTHER_SITES]
    if data.window is None:
        return shown, []
    days = [data.window.first_date + timedelta(days=offset) for offset in range(data.window.days)]
    volumes: dict[date, Row] = {day: {"day": day, **dict.fromkeys(shown)} for day in days}
    for row in data.daily_sites.records():
        site = row["site_location"] if row["site_location"] in shown else OTHER_SITES
        if row["transaction_date"] in volumes:
            of_day = volumes[row["transaction_date"]]
            of_day[site] = (of_day[site] or 0.0) + row["total_volume"]
    return shown, list(volumes.values())


# The summary


def _fill_summary(sheet: Worksheet, data: ReportData, volumes: Worksheet, *, simulated: bool, now: datetime) -> None:
    set_text(sheet.cell(1, 1), "Supply chain report")
    sheet.cell(1, 1).font = _font(bold=True, size=18, color=INK)
    if simulated:
        set_text(sheet.cell(2, 1), SIMULATED_NOTICE)
        sheet.cell(2, 1).font = _font(bold=True, size=14, color=ALARM)
    below = _write_headlines(sheet, 4, _headlines(data, now))
    if volumes.max_row > HEADING_ROW:
        sheet.add_chart(_volume_chart(volumes), "D3")
    _write_ledger(sheet, max(below + 1, 4 + CHART_ROWS), data)
    sheet.freeze_panes = "A2"
    sheet.sheet_view.showGridLines = False
    sheet.column_dimensions["A"].width, sheet.column_dimensions["B"].width = 34, 24
    for position in range(3, len(LEDGER) + 1):
        sheet.column_dimensions[get_column_letter(position)].width = 13
    set_up_page(sheet)


def _headlines(data: ReportData, now: datetime) -> list[tuple[str, CellValue, str]]:
    """Return the label, value and number format of each headline figure."""
    stations = data.stations.records()
    transactions = sum(row["transactions"] for row in stations)
    alerts = sum(row["alerts"] for row in stations)
    busy = sum(1 for row in stations if row["station_code"] and row["transactions"])
    known = sum(1 for row in stations if row["station_code"])
    return [
        ("Written at (UTC)", now, INSTANT),
        ("Content as of (UTC)", data.as_of, INSTANT),
        *_window_headlines(data),
        ("Transactions in the window", transactions, COUNT),
        ("Volume in the window (t)", sum(row["volume_t"] for row in stations), TONNES),
        ("Alerts in the window", alerts, COUNT),
        ("Reliability of the corridor", 1 - alerts / transactions if transactions else None, SHARE),
        ("Stations with traffic", f"{busy} of {known}", ""),
        ("Strategic hubs", _sites_of(stations, "STRATEGIC HUB"), ""),
        ("Hubs at risk", _sites_of(stations, "HUB AT RISK"), ""),
        ("Volume at no known station (t)", sum(r["volume_t"] for r in stations if not r["station_code"]), TONNES),
        ("Machines without a site", _some(data.without_site.column("machine_id")), ""),
        (f"Busiest day in {LOCAL_ZONE}", _busiest_day(data), DAY),
        ("Transactions of all time", data.transactions, COUNT),
        ("Rows in quarantine", data.quarantined_rows, COUNT),
    ]


def _window_headlines(data: ReportData) -> list[tuple[str, CellValue, str]]:
    """Return the window, and how much of it is there."""
    window = data.window
    if window is None:
        return [("Window, local days", None, "")]
    return [
        ("Window, first local day", window.first_date, DAY),
        ("Window, last local day", window.last_date, DAY),
        ("Complete days in the window", window.days if window.is_complete else 0, COUNT),
        ("Station days with traffic", _station_days(window), ""),
        ("Incomplete day, left out", _left_out(data), ""),
    ]


def _station_days(window: ReportWindow) -> str:
    return f"{window.station_days_reported:,} of {window.station_days_expected:,}"


def _left_out(data: ReportData) -> str:
    """Return the days after the window with the stations that have reported."""
    days = data.left_out.records()
    return "; ".join(f"{day['transaction_date']}: {_stations_of(day)} stations" for day in days) or "none"


def _some(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - SHOWN_MACHINES
    return ", ".join(names[:SHOWN_MACHINES]) + (f" and {more:,} more" if more > 0 else "") or "none"


def _sites_of(stations: Sequence[Row], hub_class: str) -> str:
    return ", ".join(row["site_location"] for row in stations if row["hub_class"] == hub_class) or "none"


def _busiest_day(data: ReportData) -> date | None:
    """Return the day of the window with the largest volume; of equals the first."""
    _, rows = _volume_by_day(data)
    totals = {row["day"]: sum(volume or 0 for name, volume in row.items() if name != "day") for row in rows}
    return max(totals, key=lambda day: totals[day], default=None)


def _write_headlines(sheet: Worksheet, top: int, lines: Sequence[tuple[str, CellValue, str]]) -> int:
    """Write labels and values side by side; return the row after the last."""
    for row_number, (label, value, number_format) in enumerate(lines, start=top):
        set_text(sheet.cell(row_number, 1), label)
        cell = sheet.cell(row_number, 2)
        set_cell(cell, "no data" if value is None else value, number_format)
        cell.font = _font(bold=True)
        cell.alignment = Alignment(horizontal="right", wrap_text=True, vertical="top")
        sheet.cell(row_number, 1).border = cell.border = Border(bottom=Side("hair", color=QUIET))
    return top + len(lines)


def _write_ledger(sheet: Worksheet, top: int, data: ReportData) -> None:
    """Write the outcomes of every source's rows; highlight a balance other than 0."""
    set_text(sheet.cell(top, 1), "Ledger: every row read is accounted for when the balance is 0")
    sheet.cell(top, 1).font = _font(bold=True, color=INK)
    rows = data.data_quality.records()
    _write_rows(sheet, top + 1, LEDGER, rows)
    for row_number, row in enumerate(rows, start=top + 2):
        lost = row["balance"] != 0
        sheet.cell(row_number, len(LEDGER)).font = _font(bold=True, color=ALARM if lost else INK)


def _volume_chart(sheet: Worksheet) -> LineChart:
    chart = LineChart()
    chart.title = "Daily volume per site (tonnes)"
    values = Reference(sheet, min_col=2, max_col=sheet.max_column, min_row=HEADING_ROW, max_row=sheet.max_row)
    chart.add_data(values, titles_from_data=True)
    chart.set_categories(Reference(sheet, min_col=1, min_row=HEADING_ROW + 1, max_row=sheet.max_row))
    for series, colour in zip(chart.series, LINE_COLOURS, strict=False):
        series.graphicalProperties.line.solidFill = colour
        series.graphicalProperties.line.width = 22_000  # English Metric Units: 1.75 points
        series.marker.symbol = "circle"
        series.marker.size = 4
        series.marker.graphicalProperties = GraphicalProperties(solidFill=colour)
        series.smooth = False
    chart.display_blanks = "gap"
    chart.x_axis.number_format = "dd mmm"
    chart.y_axis.number_format = COUNT
    chart.y_axis.scaling.min = 0
    chart.legend.position = "b"
    _show_axes(chart)
    chart.width, chart.height = 24, 9
    return chart


# Small helpers


def _font(**look: Any) -> Font:
    """Return a font of the family that cells have by default."""
    return Font(**{"name": "Calibri", "size": 11, **look})


def _show_axes(chart: BarChart | LineChart) -> None:
    """Without this, Excel draws no axes at all."""
    chart.x_axis.delete = chart.y_axis.delete = False


def _position(columns: Sequence[Shown], name: str) -> int:
    return [column.name for column in columns].index(name) + 1


def _window(data: ReportData) -> str:
    if data.window is None:
        return "No transactions are loaded"
    incomplete = "" if data.window.is_complete else ", INCOMPLETE: it may have begun only"
    days = f"{data.window.first_date} to {data.window.last_date} (local days{incomplete})"
    return f"{days}, {_station_days(data.window)} station days with traffic"
