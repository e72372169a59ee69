"""The words of refusals about files: they name the row, the column, what was read, and a remedy that works."""

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path

import openpyxl
import pytest
import yaml

from freight.console.summary import bad_row_lines
from freight.pipeline import check_source
from freight.quarantine.book import write_quarantine_book
from freight.quarantine.corrections import Import, import_corrections
from freight.quarantine.replay import replay
from freight.readers import find_files
from freight.reports.workbook import write_workbook
from freight.types import RunId
from freight.warehouse import ledger
from freight.warehouse.connect import transaction
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import NOW, Corridor, nightly
from tests.lib.quarantine_books import correct, shown
from tests.lib.workbooks import WRITERS

HEADER = ("id", "machine", "date", "volume", "statut")
RECORD = {"id": "TRX-1", "machine": "MCH-001", "date": "2026-02-13 08:00:00", "volume": 12.5, "statut": "OK"}


def csv(*rows: str, header: str = ";".join(HEADER)) -> str:
    return "\n".join([header, *rows, ""])


def row(number: int, volume: str = "12,5", at: str = "13/02/2026 08:00", status: str = "OK") -> str:
    return f"TRX-{number};MCH-001;{at};{volume};{status}"


def message_of(corridor: Corridor, source: str = "erp") -> str:
    (outcome,) = [one for one in corridor.load().outcomes if one.source == source]
    assert outcome.state == "failed"
    return outcome.message


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    return nightly(tmp_path, warehouse.engine)


# --- Too many bad rows ---------------------------------------------------------------------------------------------


def test_too_many_bad_rows_show_the_first_of_the_commonest_reason(corridor: Corridor) -> None:
    corridor.write("erp_20260214.csv", csv(row(1, status="?"), row(2), row(3, "much"), row(4, "more"), row(5)))
    assert message_of(corridor) == (
        "erp_20260214.csv: 3 of 5 rows break the contract, the limit is 30%: wrong_type 2, not_allowed 1; row 4: "
        "volume_transferred_t is not a number with a decimal comma: 'much' [quarantine_limit]. Remedy: if the file is "
        'right, say in the catalog `options: {null_values: ["much"]}`, which makes it an empty cell; else correct the '
        "file or the contract; then `dpa retry`; `dpa history` shows the first bad rows"
    )


def test_a_row_that_was_not_cut_is_told_by_its_fault_alone(corridor: Corridor) -> None:
    corridor.write("erp_20260214.csv", csv(row(1), f"{row(2)};secret"))
    message = message_of(corridor)
    assert "1 of 2 rows breaks the contract, the limit is 30%: ragged_row 1; row 3: 6 cells where" in message
    assert "secret" not in message


def test_a_free_text_stays_out_of_the_message(tmp_path: Path, warehouse: WarehouseUnderTest) -> None:
    corridor = Corridor(tmp_path, warehouse.engine)
    corridor.add_source("machines", "machines", "json", "machines*.json")
    long = {"machine_id": "MCH-001", "site_location": "Mme Ngo " * 99, "installation_year": 2010}
    corridor.write("machines_20260101.json", json.dumps([long]))
    message = message_of(corridor, "machines")
    assert "row 1: site_location is longer than" in message
    assert "Ngo" not in message


@pytest.mark.parametrize(
    ("at", "options"),
    [
        ("13-Feb-26 08:00", '`options: {formats: {transaction_at: "%d-%b-%y %H:%M"}}`'),
        ("13-févr.-26 08:00", '`options: {formats: {transaction_at: "%d-%b-%y %H:%M"}}`'),
        ("20260213 0800", '`options: {formats: {transaction_at: "%Y%m%d %H%M"}}`'),
        ("13/02/2026", '`options: {formats: {transaction_at: "%d/%m/%Y"}}`'),
        ("1770970000", '`options: {formats: {transaction_at: "epoch_s"}}`'),
        ("bientôt", '`options: {null_values: ["bientôt"]}`'),
    ],
)
def test_the_option_that_a_refusal_names_reads_the_file(corridor: Corridor, at: str, options: str) -> None:
    corridor.write("erp_20260214.csv", csv(row(1, at=at), row(2, at=at)))
    message = message_of(corridor)
    assert f"if the file is right, say in the catalog {options}" in message
    corridor.sources[-1] |= yaml.safe_load(options.strip("`")) | {"quarantine_limit": 1.0}
    release(corridor)
    (loaded,) = [one for one in corridor.load().outcomes if one.source == "erp"]
    assert loaded.reason_counts.keys() <= {"required"}
    assert loaded.counts.inserted == (0 if "null_values" in options else 2)


@pytest.mark.parametrize(
    ("at", "both"),
    [("01/02/26 08:00", ("%d/%m/%y %H:%M", "%m/%d/%y %H:%M")), ("01/02/2026", ("%d/%m/%Y", "%m/%d/%Y"))],
)
def test_a_refusal_names_both_formats_of_a_day(corridor: Corridor, at: str, both: tuple[str, str]) -> None:
    corridor.sources[-1]["options"] = {"day_first": True}
    corridor.write("erp_20260214.csv", csv(row(1, at=at), row(2, at=at)))
    lines = (f'`options: {{formats: {{transaction_at: "{pattern}"}}}}`' for pattern in both)
    assert " or ".join(lines) in message_of(corridor)


def release(corridor: Corridor) -> None:
    with transaction(corridor.engine) as connection:
        ledger.release(connection, None, corridor.now)


# --- Sheets --------------------------------------------------------------------------------------------------------


@pytest.fixture
def sheets(corridor: Corridor) -> Corridor:
    """A loaded workbook with two sheets, of which the second one has a bad row."""
    cells = [
        ["TRX-1", "MCH-001", "2026-02-01 10:00:00", 1.5, "OK"],
        ["TRX-2", "MCH-001", "2026-02-01 11:00:00", 2, "OK"],
    ]
    bad = [["TRX-3", "MCH-001", "2026-02-02 10:00:00", "much", "OK"]]
    WRITERS[".xlsx"](corridor.folder / "book_20260201.xlsx", {"Mars": [HEADER, *cells], "Avril": [HEADER, *bad]})
    corridor.add_source("book", "transactions", "excel", "book*.xlsx", quarantine_limit=0.5)
    return corridor


PLACE = "2 of sheet 'Avril'"


def test_a_row_of_several_sheets_is_told_with_its_sheet(sheets: Corridor, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "freight"):
        sheets.load()
    assert f"quarantined book_20260201.xlsx row {PLACE}: volume_transferred_t is not a number" in caplog.text
    ((detail,),) = sheets.rows("quarantine", "detail", order_by="1")
    assert detail == f"row {PLACE}: volume_transferred_t: wrong_type"


def test_a_check_and_a_refusal_name_the_sheet(sheets: Corridor) -> None:
    (check,) = check_source(sheets.engine, sheets.catalog.named("book"), NOW)
    assert bad_row_lines(check)[0].startswith(f"row {PLACE}: volume_transferred_t: wrong_type (")
    sheets.sources[-1]["quarantine_limit"] = 0.1
    assert f"wrong_type 1; row {PLACE}: volume_transferred_t is not a number" in message_of(sheets, "book")
    ((detail,),) = sheets.rows("load_attempt_rows", "detail", order_by="1")
    assert detail == f"row {PLACE}: volume_transferred_t: wrong_type"


def test_the_workbooks_for_people_name_the_sheet(sheets: Corridor) -> None:
    sheets.load()
    book = sheets.folder / "quarantine.xlsx"
    write_quarantine_book(sheets.engine, book, None, 10)
    (waiting,) = shown(book)
    assert waiting["Row"] == PLACE
    report = sheets.folder / "report.xlsx"
    write_workbook(sheets.engine, report, simulated=False, now=NOW)
    assert PLACE in {str(value) for value in cells_of(report)}


def cells_of(path: Path) -> list[object]:
    return [value for sheet in openpyxl.load_workbook(path) for values in sheet.values for value in values]


# --- Columns without a name ----------------------------------------------------------------------------------------


def csv_of(path: Path, first: str) -> None:
    lines = (f"{number};{row(number)}" for number in range(4))
    path.write_text(csv(*lines, header=f"{first};{';'.join(HEADER)}"), encoding="utf-8")


def workbook_of(path: Path, first: str) -> None:
    rows = [[number, f"TRX-{number}", "MCH-001", "2026-02-13 08:00:00", 12.5, "OK"] for number in range(4)]
    WRITERS[".xlsx"](path, {"Feuil1": [[first or None, *HEADER], *rows]})


def page_of(path: Path, first: str) -> None:
    """Write what `DataFrame.to_html` writes."""
    rows = ([str(number), f"TRX-{number}", *list(RECORD.values())[1:]] for number in range(4))
    lines = [f"<tr>{''.join(f'<th>{name}</th>' for name in (first, *HEADER))}</tr>"]
    lines += [f"<tr><th>{index}</th>{''.join(f'<td>{text}</td>' for text in cells)}</tr>" for index, *cells in rows]
    path.write_text(f'<html><meta charset="utf-8"><table>{"".join(lines)}</table></html>', encoding="utf-8")


def json_of(path: Path, first: str) -> None:
    path.write_text(json.dumps([{first: n, **RECORD, "id": f"TRX-{n}"} for n in range(4)]), encoding="utf-8")


INDEXED = {"csv": ("csv", csv_of), "xlsx": ("excel", workbook_of), "xls": ("excel", page_of), "json": ("json", json_of)}


@pytest.mark.parametrize("kind", INDEXED)
@pytest.mark.parametrize("first", ["", "Unnamed: 0"])
def test_the_index_of_pandas_is_named_and_can_be_left_out(corridor: Corridor, kind: str, first: str) -> None:
    reader, write = INDEXED[kind]
    write(corridor.folder / f"index_20260214.{kind}", first)
    corridor.add_source("index", "transactions", reader, f"index*.{kind}")
    message = message_of(corridor, "index")
    assert f"`options: {{ignore: [{json.dumps(first)}]}}`" in message
    if not first and kind != "json":
        assert "column 1 (A) has no header but holds a cell of 1 character " in message
        assert "such as the row numbers that pandas writes" in message
    corridor.sources[-1]["options"] = {"ignore": [first]}
    corridor.now = corridor.now.replace(hour=13)
    (outcome,) = check_source(corridor.engine, corridor.catalog.named("index"), corridor.now)
    assert outcome.outcome.state == "parked"
    release(corridor)
    (loaded,) = [one for one in corridor.load().outcomes if one.source == "index"]
    assert (loaded.counts.inserted, loaded.counts.quarantined) == (4, 0)
    assert "left out, as the catalog says" in loaded.message


def test_a_value_behind_the_header_is_no_column_that_may_be_ignored(corridor: Corridor) -> None:
    corridor.sources[-1]["options"] = {"ignore": [""]}
    corridor.write("erp_20260214.csv", csv(row(1), row(2), row(3), f"{row(4)};9"))
    (outcome,) = [one for one in corridor.load().outcomes if one.source == "erp"]
    assert (outcome.counts.inserted, outcome.counts.quarantined) == (3, 1)


# --- JSON ----------------------------------------------------------------------------------------------------------

TEXT = json.dumps(RECORD)
MANY = ",\n".join(json.dumps({**RECORD, "id": f"TRX-{number}"}) for number in range(12_000))  # more than one piece
DOCUMENTS: Mapping[str, tuple[str, str]] = {
    "NaN": (
        f"[{TEXT},\n{TEXT.replace('12.5', 'NaN')}]",
        r"NaN is no value of JSON \(line 2, character 80\).* write null",
    ),
    "infinity": (f"[{TEXT.replace('12.5', '-Infinity')}]", "-Infinity is no value of JSON .* write null"),
    "far away": (f"[{MANY},\n{TEXT.replace('12.5', 'NaN')}]", r"row 12001: .*NaN is .*\(line 12001, character 80\)"),
    "lines": (f"{TEXT}\n{TEXT}\n", r"line 2, character 1\).* say `reader: jsonl` in the catalog"),
    "two lists": (f"[{TEXT}]\n[{TEXT}]", r"another document begins .*\(line 2, character 1\).* as one list of objects"),
    "cut off": (f"[{TEXT},\n{TEXT}", "end of data .*line 2.* deliver the whole file again"),
}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_fault_of_json_has_its_line_and_a_remedy(corridor: Corridor, kind: str) -> None:
    text, told = DOCUMENTS[kind]
    corridor.write("moves_20260214.json", text)
    corridor.add_source("moves", "transactions", "json", "moves*.json")
    message = message_of(corridor, "moves")
    assert "[corrupt]" in message
    assert re.search(told, message), message


def test_a_list_is_told_to_the_reader_of_lines(corridor: Corridor) -> None:
    corridor.write("moves_20260214.jsonl", f"[\n{TEXT},\n{TEXT}\n]")
    corridor.add_source("moves", "transactions", "jsonl", "moves*.jsonl")
    assert "Remedy: say `reader: json` in the catalog, then `dpa retry`" in message_of(corridor, "moves")


def test_a_line_that_is_not_json_says_why(corridor: Corridor) -> None:
    corridor.write("moves_20260214.jsonl", f"{TEXT}\n{TEXT.replace('12.5', 'NaN')}\n")
    corridor.add_source("moves", "transactions", "jsonl", "moves*.jsonl")
    assert "row 2: the line is not valid JSON: NaN is no value of JSON (character 80)" in message_of(corridor, "moves")


# --- Clocks --------------------------------------------------------------------------------------------------------


SKIPPED, REPEATED = "29/03/2026 02:30", "26/10/2025 02:30"


@pytest.fixture
def paris(corridor: Corridor) -> Corridor:
    """A source of Paris with a time that its clocks skip and one that they repeat, both in quarantine."""
    corridor.now = NOW.replace(month=5)
    corridor.sources[-1] |= {"time_zone": "Europe/Paris", "quarantine_limit": 0.5}
    corridor.write("erp_20260401.csv", csv(row(1, at=SKIPPED), row(2, at=REPEATED), row(3), row(4)))
    assert corridor.load().failures == []
    return corridor


def test_a_change_of_the_clocks_is_told_with_both_readings(paris: Corridor) -> None:
    assert paris.rows("quarantine", "row_number", "reason") == [(2, "clock_change"), (3, "clock_change")]
    book = paris.folder / "quarantine.xlsx"
    write_quarantine_book(paris.engine, book, None, 10)
    skipped, repeated = shown(book)
    assert "does not exist in Europe/Paris, where the clocks skip it" in skipped["What is wrong"]
    assert (
        "exists twice in Europe/Paris, as 2025-10-26 02:30:00+02:00 and as 2025-10-26 02:30:00+01:00"
        in (repeated["What is wrong"])
    )
    assert "`time_zone: UTC`" in repeated["What is wrong"]


def test_a_reading_that_the_words_name_can_be_typed(paris: Corridor) -> None:
    book = paris.folder / "quarantine.xlsx"
    write_quarantine_book(paris.engine, book, None, 10)
    correct(book, {2: {"transaction_at": "2025-10-26 02:30:00+01:00"}})
    (file,) = find_files(book.as_posix(), paris.folder)
    outcome = import_corrections(
        paris.engine, paris.catalog, file, Import(RunId("import-1"), "me", None, lambda: paris.now)
    )
    assert (outcome.counts.inserted, outcome.untouched) == (1, 1)


def test_a_zone_that_is_corrected_in_the_catalog_frees_the_rows(paris: Corridor) -> None:
    paris.sources[-1]["time_zone"] = "UTC"
    (outcome,) = replay(paris.engine, paris.catalog, run_id=RunId("replay-1"), source="erp", clock=lambda: paris.now)
    assert (outcome.counts.inserted, outcome.waiting) == (2, 0)
