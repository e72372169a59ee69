"""Views and tables as files, on both engines: what is text stays text, and what does not fit is told."""

import csv
import logging
from datetime import datetime
from pathlib import Path

import openpyxl
import pytest
import sqlalchemy as sa
from openpyxl.utils.escape import unescape

from freight.errors import ConfigurationError
from freight.parsers.workbooks import open_workbook
from freight.reports.cells import visible
from freight.reports.export import export
from freight.warehouse.connect import Engine, reading, transaction
from freight.warehouse.schema import metadata
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor, nightly
from tests.lib.dpa import Dpa
from tests.lib.formulas import HARMLESS, HOSTILE, NOT_LIVE, without_guard
from tests.lib.office import convert
from tests.lib.tables import content_of

LIVE = ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", '"=1"', "a;b,c\r\nd", " x ", "", "é😀", "_x000D_")

GOOD, BAD = "TRX-{},MCH-001,2026-02-01 10:00:00,30.5,WARN", "TRX-10,MCH-001,2026-02-01 10:00:00,30.5,HALT"


@pytest.fixture
def engine(tmp_path: Path, warehouse: WarehouseUnderTest) -> Engine:
    """A warehouse with two transactions, one without a volume, and aliases of every kind of text."""
    corridor: Corridor = nightly(tmp_path, warehouse.engine)
    rows = ["TRX-1,MCH-001,2026-02-01 10:00:00,30.5,WARN", "TRX-2,MCH-002,2026-02-01 11:00:00,,OK"]
    corridor.write_transactions("erp_20260202.csv", rows)
    corridor.load()
    write_aliases(warehouse.engine, LIVE)
    return warehouse.engine


def write_aliases(engine: Engine, texts: tuple[str, ...]) -> None:
    with transaction(engine) as connection:
        rows = [{"alias": text, "station_code": f"S{number}"} for number, text in enumerate(texts)]
        connection.execute(metadata.tables["station_aliases"].insert(), rows)


def read_csv(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def test_text_of_a_raw_csv_file_is_that_of_the_warehouse_byte_for_byte(engine: Engine, tmp_path: Path) -> None:
    exported = export(engine, "station_aliases", tmp_path / "a.csv", raw=True)
    assert (exported.rows, exported.guarded) == (len(LIVE), 0)
    header, *rows = read_csv(tmp_path / "a.csv")
    assert header == ["alias", "station_code"]
    assert sorted(row[0] for row in rows) == sorted(LIVE)


def test_text_that_a_spreadsheet_would_calculate_gets_an_apostrophe_which_is_told(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    exported = export(engine, "station_aliases", tmp_path / "a.csv")
    texts = {row[1]: row[0] for row in read_csv(tmp_path / "a.csv")[1:]}
    assert [texts[f"S{number}"] for number in range(7)] == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "\tx", "\rx", '"\'=1"']
    assert exported.guarded == 5
    assert str(exported).endswith("; 5 texts got a ' so that no spreadsheet calculates a text (--raw: none does)")
    assert str(exported) in caplog.text


def test_the_command_tells_what_it_changed_and_leaves_it_for_programs(
    sqlite_warehouse: WarehouseUnderTest, tmp_path: Path
) -> None:
    write_aliases(sqlite_warehouse.engine, LIVE)
    dpa = Dpa(tmp_path, sqlite_warehouse.url)

    def said(*options: str) -> str:
        done = dpa("export", "station_aliases", str(tmp_path / "a.csv"), "--replace", *options)
        return done.stdout.strip() or done.stderr

    assert "; 5 texts got a ' so that no spreadsheet calculates a text" in said()
    assert said("--for", "excel") == said()
    assert said("--raw").endswith(f"{len(LIVE)} rows of station_aliases written to {tmp_path / 'a.csv'}")
    assert sorted(row[0] for row in read_csv(tmp_path / "a.csv")[1:]) == sorted(LIVE)
    assert said("--raw", "--for", "excel") == "error: --raw is for programs: leave out --for excel, or --raw\n"


def test_numbers_stay_numbers(engine: Engine, tmp_path: Path) -> None:
    with transaction(engine) as connection:
        connection.execute(sa.text("UPDATE fact_transactions SET volume_transferred_t = -5"))
    assert export(engine, "fact_transactions", tmp_path / "t.csv").guarded == 0
    header, *rows = read_csv(tmp_path / "t.csv")
    assert {float(row[header.index("volume_transferred_t")]) for row in rows} == {-5.0}


@pytest.mark.parametrize("separator", [",", ";"], ids=["comma", "semicolon"])
def test_libreoffice_calculates_nothing_of_an_export(
    tmp_path: Path, sqlite_warehouse: WarehouseUnderTest, separator: str
) -> None:
    """Also where lists are separated by semicolons, as in French: then a number before a text spoils its quotes."""
    engine = filled_quarantine(tmp_path, sqlite_warehouse.engine)
    export(engine, "quarantine", tmp_path / "q.csv", raw=True)
    assert formulas(tmp_path / "q.csv", separator, tmp_path / "raw") >= 5  # so LibreOffice would do it
    export(engine, "quarantine", tmp_path / "q.csv", replace=True)
    assert formulas(tmp_path / "q.csv", separator, tmp_path / "safe") == 0


def test_libreoffice_shows_the_text_of_an_export_behind_an_apostrophe(
    tmp_path: Path, sqlite_warehouse: WarehouseUnderTest
) -> None:
    engine = filled_quarantine(tmp_path, sqlite_warehouse.engine)
    exported = export(engine, "quarantine", tmp_path / "q.csv")
    header, *rows = read_csv(tmp_path / "q.csv")
    assert [without_guard(row[header.index("detail")]) for row in rows] == [*HOSTILE, *HARMLESS]
    assert [row[header.index("detail")] for row in rows[len(HOSTILE) :]] == list(HARMLESS)
    assert exported.guarded >= len(HOSTILE) - len(NOT_LIVE)
    convert(tmp_path / "q.csv", "xlsx:Calc MS Excel 2007 XML", tmp_path, separated_by(","))
    sheet = openpyxl.load_workbook(tmp_path / "q.xlsx").active
    assert sheet is not None
    shown = [as_shown(str(row[header.index("detail")] or "")) for row in sheet.iter_rows(min_row=2, values_only=True)]
    assert shown[: len(HOSTILE)] == [as_shown(row[header.index("detail")]) for row in rows[: len(HOSTILE)]]


def as_shown(text: str) -> str:
    """Return what LibreOffice leaves of a text: no character that a cell cannot hold, one kind of line end."""
    return visible(unescape(text).replace("\0", "")).replace("\r\n", "\n").replace("\r", "\n")


def filled_quarantine(folder: Path, engine: Engine) -> Engine:
    """A warehouse whose quarantine has a row for each text, the number of which stands before it."""
    corridor = nightly(folder, engine)
    corridor.write_transactions("erp_20260202.csv", [BAD, *(GOOD.format(number) for number in range(9))])
    corridor.load()
    table = metadata.tables["quarantine"]
    with transaction(engine) as connection:
        (one,) = connection.execute(sa.select(table)).mappings()
        connection.execute(table.delete())
        rows = [
            {**one, "quarantine_id": number, "row_number": number, "detail": text}
            for number, text in enumerate([*HOSTILE, *HARMLESS], start=1)
        ]
        connection.execute(table.insert(), rows)
    return engine


def separated_by(separator: str) -> str:
    return f"--infilter=CSV:{ord(separator)},34,76"


def formulas(path: Path, separator: str, folder: Path) -> int:
    """Let LibreOffice open a CSV file; return how many of its cells it calculates."""
    convert(path, "xlsx:Calc MS Excel 2007 XML", folder, separated_by(separator))
    sheet = openpyxl.load_workbook(folder / f"{path.stem}.xlsx").active
    assert sheet is not None
    return sum(cell.data_type == "f" for row in sheet.iter_rows() for cell in row)


def test_text_of_a_workbook_is_text(engine: Engine, tmp_path: Path) -> None:
    export(engine, "station_aliases", tmp_path / "a.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx")["station_aliases"]
    found = {row[1].value: row[0] for row in sheet.iter_rows(min_row=2)}
    with (tmp_path / "a.xlsx").open("rb") as content:  # openpyxl itself leaves `_x000D_` as it is
        texts = {row.texts[2]: row.texts.get(1, "") for row in open_workbook(content).rows("station_aliases")}
    for number, text in enumerate(LIVE):
        cell = found[f"S{number}"]
        assert cell.data_type != "f"
        assert texts[f"S{number}"] == text
        assert cell.quotePrefix == text.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_both_engines_write_the_same_file(
    sqlite_warehouse: WarehouseUnderTest, postgres_warehouse: WarehouseUnderTest, tmp_path: Path
) -> None:
    written = []
    for name, warehouse in (("sqlite", sqlite_warehouse), ("postgresql", postgres_warehouse)):
        corridor = nightly(tmp_path / name, warehouse.engine)
        corridor.write_transactions("erp_20260202.csv", ["TRX-1,MCH-001,2026-02-01 10:00:00,30.5,WARN"])
        corridor.load()
        for what in ("fact_transactions", "v_transactions", "v_hub_classification", "v_daily_site_stats"):
            export(warehouse.engine, what, tmp_path / f"{name}-{what}.csv")
        rows = read_csv(tmp_path / f"{name}-v_transactions.csv")
        written.append([dict(zip(rows[0], row, strict=True)) for row in rows[1:]])
        for row in written[-1]:
            del row["run_id"]
    assert written[0] == written[1]
    assert written[0][0]["transaction_at"] == "2026-02-01 09:00:00.000000"


def test_no_value_is_nothing_and_an_empty_text_is_one(engine: Engine, tmp_path: Path) -> None:
    export(engine, "fact_transactions", tmp_path / "t.csv")
    text = (tmp_path / "t.csv").read_text(encoding="utf-8-sig")
    assert '"TRX-2","MCH-002","2026-02-01 10:00:00.000000",,"OK"' in text
    export(engine, "station_aliases", tmp_path / "a.csv")
    assert '"","S9"' in (tmp_path / "a.csv").read_text(encoding="utf-8-sig")


def test_rows_that_are_more_than_a_sheet_takes_go_on_in_the_next(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freight.reports.export.SHEET_ROWS", 6)
    export(engine, "station_aliases", tmp_path / "a.xlsx")
    workbook = openpyxl.load_workbook(tmp_path / "a.xlsx")
    assert workbook.sheetnames == ["station_aliases", "station_aliases (2)", "station_aliases (3)"]
    assert [sheet.max_row for sheet in workbook] == [6, 6, 3]
    assert {sheet["A1"].value for sheet in workbook} == {"alias"}


def test_text_that_no_cell_takes_is_refused_by_name_and_fits_into_a_csv_file(engine: Engine, tmp_path: Path) -> None:
    write_aliases(engine, ("x" * 32_768,))
    with pytest.raises(ConfigurationError, match=r"row \d+, alias: 32,768 characters, .* export it as .csv"):
        export(engine, "station_aliases", tmp_path / "a.xlsx")
    assert list(tmp_path.glob("*a*.xlsx")) == []
    export(engine, "station_aliases", tmp_path / "a.csv")
    assert max(len(row[0]) for row in read_csv(tmp_path / "a.csv")) == 32_768


@pytest.mark.parametrize(
    "name", ["v_transactions; DROP TABLE runs", 'runs" --', "(SELECT 1)", "sqlite_master", "pg_user", ""]
)
def test_a_name_that_is_none_has_no_effect(engine: Engine, tmp_path: Path, name: str) -> None:
    before = content_of(engine)
    with pytest.raises(ConfigurationError, match="there is no table or view"):
        export(engine, name, tmp_path / "x.csv")
    assert content_of(engine) == before
    assert not (tmp_path / "x.csv").exists()


def test_what_is_there_stays_unless_it_may_be_replaced(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="already exists"):
        export(engine, "runs", path)
    assert path.read_text(encoding="utf-8") == "mine"
    assert export(engine, "runs", path, replace=True).rows == 1
    with pytest.raises(ConfigurationError, match=r"name a file that ends with .csv or .xlsx"):
        export(engine, "runs", tmp_path / "runs.pdf")


def test_a_workbook_shows_fractions_as_the_report_does_and_keeps_all_their_digits(
    engine: Engine, tmp_path: Path
) -> None:
    with transaction(engine) as connection:
        connection.execute(sa.text("UPDATE aggr_daily_site_stats SET total_volume = 12.3456"))
    export(engine, "v_daily_site_stats", tmp_path / "d.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "d.xlsx")["v_daily_site_stats"]
    cells = dict(zip([cell.value for cell in sheet[1]], sheet[2], strict=True))
    assert (cells["total_volume"].value, cells["total_volume"].number_format) == (12.3456, "#,##0.0")
    assert cells["alert_share"].number_format == "0.0%"
    assert cells["total_transactions"].number_format == "General"
    day = cells["transaction_date"]
    assert (day.value, day.number_format) == (datetime(2026, 2, 1), "yyyy-mm-dd")
    assert isinstance(cells["as_of"].value, datetime)


def test_a_whole_number_of_many_digits_keeps_them_in_a_workbook(engine: Engine, tmp_path: Path) -> None:
    export(engine, "fact_transactions", tmp_path / "f.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "f.xlsx")["fact_transactions"]
    hashes = [row[[cell.value for cell in sheet[1]].index("content_hash")].value for row in sheet.iter_rows(min_row=2)]
    with reading(engine) as connection:
        stored = connection.execute(sa.text("SELECT content_hash FROM fact_transactions")).scalars()
        assert sorted(map(str, hashes)) == sorted(map(str, stored))


def test_a_workbook_has_a_frozen_bold_header_with_filters_on_each_sheet(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freight.reports.export.SHEET_ROWS", 6)
    export(engine, "station_aliases", tmp_path / "a.xlsx")
    sheets = openpyxl.load_workbook(tmp_path / "a.xlsx").worksheets
    assert [(sheet.freeze_panes, sheet.auto_filter.ref) for sheet in sheets] == [
        ("A2", "A1:B6"),
        ("A2", "A1:B6"),
        ("A2", "A1:B3"),
    ]
    assert all(sheet["A1"].font.bold for sheet in sheets)
    assert all(sheet.column_dimensions["B"].width >= len("station_code") for sheet in sheets)


def test_an_empty_table_has_its_header(engine: Engine, tmp_path: Path) -> None:
    with transaction(engine) as connection:
        connection.execute(sa.text("DELETE FROM station_aliases"))
    assert export(engine, "station_aliases", tmp_path / "a.xlsx").rows == 0
    assert openpyxl.load_workbook(tmp_path / "a.xlsx")["station_aliases"]["B1"].value == "station_code"
    assert export(engine, "station_aliases", tmp_path / "a.csv").rows == 0
    assert read_csv(tmp_path / "a.csv") == [["alias", "station_code"]]
