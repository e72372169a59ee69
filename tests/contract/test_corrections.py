"""Quarantined rows that a person corrects in a workbook, on both engines."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import openpyxl
import polars as pl
import pytest

from freight.care.reconcile import reconcile
from freight.contracts import contract_for, contracts
from freight.errors import ConfigurationError, PositionFenced, SourceError, TransientError
from freight.frames import NATIVE
from freight.quarantine.book import BAD_FILL, QuarantineExport, write_quarantine_book
from freight.quarantine.corrections import Import, ImportOutcome, import_corrections
from freight.quarantine.given_back import _cells, _rows
from freight.readers import find_files
from freight.readers.raw import RawBatch, RawTable, no_rows
from freight.types import LoadCounts, RunId
from freight.warehouse.aggregates import refresh_aggregates
from freight.warehouse.connect import reading, transaction
from freight.warehouse.explain import explain
from freight.warehouse.ledger import start_run
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor, nightly
from tests.lib.formulas import HOSTILE
from tests.lib.office import convert
from tests.lib.quarantine_books import cell, correct, shown
from tests.lib.tables import content_of

GOOD = [f"TRX-{i},MCH-001,2026-02-01 10:00:00,30,OK" for i in range(10, 20)]
ODD = (
    "=1+1",
    "+1",
    "-1",
    "@x",
    "\tx",
    "\rx",
    "_x000D_",
    "_x005F_",
    " x ",
    "a\r\nb\rc",
    "\0",
    "\ufffe",
    "x" * 40_000,
    "<&>",
)
NASTY = "=+-@\t\r\n_x000D_ é\u0301😀\0\x1f\u2028\"'<>&]"
BAD = [
    "TRX-1,MCH-001,2026-02-01 10:00:00,7500,OK",
    "TRX-2,MCH-002,2026-02-30 10:00:00,12,HALT",
    "TRX-3,,2026-02-01 10:00:00,12,OK",
]


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    """A loaded file with three bad rows: the rows 2 to 4."""
    corridor = nightly(tmp_path, warehouse.engine)
    corridor.write_transactions("erp_20260202.csv", [*BAD, *GOOD])
    corridor.load()
    return corridor


@pytest.fixture
def book(corridor: Corridor) -> Path:
    path = corridor.folder / "quarantine.xlsx"
    assert write_quarantine_book(corridor.engine, path, None, 100) == QuarantineExport(3, 3)
    return path


def give_back(corridor: Corridor, path: Path, corrected_by: str | None = None) -> ImportOutcome:
    by = Import(RunId("import-1"), "tester@here", corrected_by, lambda: corridor.now)
    with transaction(corridor.engine) as connection:
        start_run(connection, by.run_id, by.started_by, corridor.now)
    (file,) = find_files(path.as_posix(), corridor.folder)
    outcome = import_corrections(corridor.engine, corridor.catalog, file, by)
    refresh_aggregates(corridor.engine)
    return outcome


def told(outcome: ImportOutcome) -> tuple[LoadCounts, int, int, int]:
    return outcome.counts, len(outcome.problems), outcome.untouched, outcome.loaded_before


def test_the_workbook_says_in_words_what_is_wrong_and_colours_the_bad_cells(book: Path) -> None:
    rows = shown(book)
    assert [(row["Source"], row["File"], row["Row"], row["What is wrong"]) for row in rows] == [
        ("erp", "erp_20260202.csv", 2, "volume_transferred_t is not between 0 and 5000 tonnes"),
        (
            "erp",
            "erp_20260202.csv",
            3,
            "transaction_at is not a date and time such as 2026-03-14 10:30:00; "
            "status_code is not one of OK, WARN, ERR",
        ),
        ("erp", "erp_20260202.csv", 4, "machine_id must not be empty"),
    ]
    assert [rows[1][name] for name in ("transaction_id", "transaction_at", "status_code")] == [
        "TRX-2",
        "2026-02-30 10:00:00",
        "HALT",
    ]
    sheet = openpyxl.load_workbook(book)["transactions"]
    coloured = [
        [name for name in rows[0] if cell(sheet, number, name).fill.start_color.rgb == BAD_FILL.start_color.rgb]
        for number in (1, 2, 3)
    ]
    assert coloured == [["volume_transferred_t"], ["transaction_at", "status_code"], ["machine_id"]]
    assert cell(sheet, 1, "transaction_at").number_format == "@"
    (choices,) = sheet.data_validations.dataValidation
    assert (choices.type, choices.formula1, choices.showDropDown) == ("list", '"OK,WARN,ERR"', False)
    status = cell(sheet, 1, "status_code").column_letter
    assert str(choices.sqref) == f"{status}3:{status}5"


def test_the_workbook_names_the_decimal_sign_of_each_file(corridor: Corridor) -> None:
    rows = ["TRX-30;MCH-001;2026-02-01 10:00:00;7500,5;OK", "TRX-31;MCH-001;2026-02-01 10:00:00;7,25;OK"]
    header = "transaction_id;machine_id;transaction_at;volume_transferred_t;status_code"
    corridor.write("french_20260203.csv", "\n".join([header, *rows]) + "\n")
    corridor.add_source("french", "transactions", "csv", "french*.csv", quarantine_limit=1.0)
    corridor.load()
    path = corridor.folder / "both.xlsx"
    write_quarantine_book(corridor.engine, path, None, 100)
    assert {(row["Source"], row["Decimals"]) for row in shown(path)} == {
        ("erp", "point: 12.5"),
        ("french", "comma: 12,5"),
    }
    number = [row["Source"] for row in shown(path)].index("french") + 1
    outcome = give_back(corridor, correct(path, {number: {"volume_transferred_t": "75,5"}}))
    assert told(outcome)[0] == LoadCounts(read=1, inserted=1)
    found = dict(corridor.rows("fact_transactions", "transaction_id", "volume_transferred_t"))
    assert found["TRX-30"] == 75.5


def test_corrected_rows_load_once_and_the_others_stay(corridor: Corridor, book: Path) -> None:
    correct(book, {1: {"volume_transferred_t": "75"}, 3: {"machine_id": "MCH-002"}})
    assert told(give_back(corridor, book)) == (LoadCounts(read=2, inserted=2), 0, 1, 0)
    columns = ("transaction_id", "machine_id", "volume_transferred_t", "origin_seq")
    assert corridor.rows("fact_transactions", *columns)[:1] + corridor.rows("fact_transactions", *columns)[-1:] == [
        ("TRX-1", "MCH-001", 75.0, 2),
        ("TRX-3", "MCH-002", 12.0, 4),
    ]
    before = content_of(corridor.engine)
    assert told(give_back(corridor, book)) == (LoadCounts(), 0, 1, 2)
    assert content_of(corridor.engine) == before
    assert reconcile(corridor.engine) == []


def test_an_import_never_counts_as_read_again(corridor: Corridor, book: Path) -> None:
    quality = ("source", "read_rows", "inserted", "quarantined")
    before = corridor.rows("v_data_quality", *quality)
    correct(book, {1: {"volume_transferred_t": "75"}})
    give_back(corridor, book)
    assert corridor.rows("v_data_quality", *quality) == before
    assert corridor.rows("v_data_quality", "source", "waiting_rows")[0] == ("erp", 2)
    assert [report.state for report in corridor.load().outcomes] == ["unchanged", "unchanged"]


def test_it_is_known_for_ever_who_changed_what(corridor: Corridor, book: Path) -> None:
    correct(book, {1: {"volume_transferred_t": "75", "status_code": None}, 3: {"machine_id": "MCH-002"}})
    assert len(give_back(corridor, book).problems) == 1  # without a status
    correct(book, {1: {"status_code": "WARN"}}, saved_by="Paul Essomba")
    give_back(corridor, book)
    columns = ("corrected_by", "location", "row_number", "column_name", "old_value", "new_value", "workbook")
    assert corridor.rows("v_corrections", *columns, order_by="row_number, column_name") == [
        ("Paul Essomba", "erp_20260202.csv", 2, "status_code", "OK", "WARN", "quarantine.xlsx"),
        ("Paul Essomba", "erp_20260202.csv", 2, "volume_transferred_t", "7500", "75", "quarantine.xlsx"),
        ("Awa Ngo", "erp_20260202.csv", 4, "machine_id", None, "MCH-002", "quarantine.xlsx"),
    ]
    with reading(corridor.engine) as connection:
        (found,) = explain(connection, "fact_transactions", "TRX-3")
    assert ("cause", "import") in found.lineage
    assert found.lineage[-1] == ("corrected", "machine_id from None to 'MCH-002' by Awa Ngo (quarantine.xlsx)")


@pytest.mark.parametrize(
    ("saved_by", "corrected_by", "expected"),
    [("Awa Ngo", "awa@camrail.cm", "awa@camrail.cm"), ("DPA", None, "tester@here"), ("", None, "tester@here")],
)
def test_who_changed_it_is_said_or_saved_it_or_gave_it_back(
    corridor: Corridor, book: Path, saved_by: str, corrected_by: str | None, expected: str
) -> None:
    give_back(corridor, correct(book, {3: {"machine_id": "MCH-002"}}, saved_by), corrected_by)
    assert corridor.rows("corrections", "corrected_by", "1") == [(expected, 1)]


def test_what_is_still_wrong_is_told_by_row_and_can_be_corrected_again(corridor: Corridor, book: Path) -> None:
    correct(book, {1: {"volume_transferred_t": "75"}, 2: {"status_code": "OK"}})
    outcome = give_back(corridor, book)
    assert told(outcome) == (LoadCounts(read=1, inserted=1), 1, 1, 0)
    assert outcome.problems == (
        "transactions row 4: transaction_at is not a date and time such as 2026-03-14 10:30:00: '2026-02-30 10:00:00'",
    )
    correct(book, {2: {"transaction_at": "2026-02-28 10:00:00"}})
    assert told(give_back(corridor, book)) == (LoadCounts(read=1, inserted=1), 0, 1, 1)


def test_text_of_whatever_kind_comes_back_as_it_was(corridor: Corridor, monkeypatch: pytest.MonkeyPatch) -> None:
    """So nobody is taken to have changed what the workbook itself writes otherwise; and nothing of it is a formula."""
    draw = Random(7)
    texts = [*ODD, *HOSTILE, *("".join(draw.choices(NASTY, k=draw.randint(1, 12))) for _ in range(300))]
    rows = [{"id": "?", "machine_id": text, "date": "-", "volume": text, "status": "OK"} for text in texts]
    # No text is an identifier here, which would else fail the file.
    monkeypatch.setitem(contracts(), "transactions", replace(contract_for("transactions"), drift="quarantine"))
    corridor.add_source("odd", "transactions", "json", "odd.json")
    corridor.write("odd.json", json.dumps(rows))
    assert corridor.load().counts("odd").quarantined == len(texts)
    book = corridor.folder / "odd.xlsx"
    write_quarantine_book(corridor.engine, book, "odd", 1_000)
    assert told(give_back(corridor, book)) == (LoadCounts(), 0, len(texts), 0)
    sheet = openpyxl.load_workbook(book)["transactions"]
    assert {found.data_type for row in sheet.iter_rows(min_row=3) for found in row} == {"s", "n"}
    assert [found["machine_id"] for found in shown(book)][:4] == list(ODD[:4])


def test_a_workbook_that_libreoffice_has_saved_comes_back_as_it_was(
    tmp_path: Path, sqlite_warehouse: WarehouseUnderTest
) -> None:
    corridor = nightly(tmp_path, sqlite_warehouse.engine)
    odd = [f'TRX-{i},"{text}",2026-02-30 10:00:00,1 500,HALT' for i, text in enumerate(("=1+1", "-1", " x ", "00042"))]
    corridor.write_transactions("erp_20260202.csv", [*BAD, *odd, *GOOD * 2])
    corridor.load()
    book = corridor.folder / "quarantine.xlsx"
    assert write_quarantine_book(corridor.engine, book, None, 100) == QuarantineExport(7, 7)
    saved = corridor.folder / "saved"
    convert(book, "xlsx", saved)
    assert told(give_back(corridor, saved / book.name)) == (LoadCounts(), 0, 7, 0)
    assert told(give_back(corridor, correct(saved / book.name, {1: {"volume_transferred_t": 75}})))[0].inserted == 1


def test_a_newer_delivery_wins_over_a_correction(corridor: Corridor, book: Path) -> None:
    corridor.write_transactions("erp_20260204.csv", ["TRX-1,MCH-001,2026-02-01 10:00:00,50,OK"])
    corridor.load()
    outcome = give_back(corridor, correct(book, {1: {"volume_transferred_t": "75"}}))
    assert outcome.counts == LoadCounts(read=1, superseded=1)
    assert corridor.rows("fact_transactions", "transaction_id", "volume_transferred_t")[0] == ("TRX-1", 50.0)


def test_rows_may_be_sorted_and_deleted_and_notes_written_beside_them(corridor: Corridor, book: Path) -> None:
    workbook = openpyxl.load_workbook(book)
    sheet = workbook["transactions"]
    rows = [[cell.value for cell in row] for row in sheet.iter_rows(min_row=3)]
    sheet.delete_rows(3, 3)
    for row in (rows[2], rows[0]):
        sheet.append([*row, "asked Awa"])
    sheet.cell(2, len(rows[0]) + 1).value = "Note"
    workbook.save(book)
    outcome = give_back(corridor, correct(book, {2: {"volume_transferred_t": "75"}}))
    assert told(outcome) == (LoadCounts(read=1, inserted=1), 0, 1, 0)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({1: {"Key": "9999-abc", "status_code": "WARN"}}, "the quarantine of this warehouse has no row '9999-abc'"),
        ({1: {"Key": "nonsense", "status_code": "WARN"}}, "the quarantine of this warehouse has no row 'nonsense'"),
        ({1: {"Key": "9" * 40, "status_code": "WARN"}}, "the quarantine of this warehouse has no row '999"),
        ({1: {"volume_transferred_t": "=1/0"}}, "volume_transferred_t: the cell holds a formula without a result"),
    ],
)
def test_a_row_that_cannot_be_told_or_read_stays(
    corridor: Corridor, book: Path, changes: dict[int, dict[str, object]], problem: str
) -> None:
    outcome = give_back(corridor, correct(book, changes))
    assert told(outcome)[:3] == (LoadCounts(), 1, 2)
    assert problem in outcome.problems[0]


def test_a_row_of_another_warehouse_is_not_taken_for_the_one_of_its_number(corridor: Corridor, book: Path) -> None:
    key = shown(book)[1]["Key"].partition("-")[2]
    outcome = give_back(corridor, correct(book, {1: {"Key": f"1-{key}", "volume_transferred_t": "75"}}))
    assert "the workbook belongs to another warehouse" in outcome.problems[0]


def test_neither_of_two_rows_that_are_one_loads(corridor: Corridor, book: Path) -> None:
    first = shown(book)[0]
    twice = {1: {"volume_transferred_t": "75"}, 2: {**first, "volume_transferred_t": "76"}}
    outcome = give_back(corridor, correct(book, twice))
    assert told(outcome)[0] == LoadCounts()
    assert outcome.problems == (
        "transactions row 3: the same row as transactions row 4: keep one of them",
        "transactions row 4: the same row as transactions row 3: keep one of them",
    )


def test_a_workbook_that_lost_a_column_or_is_none_loads_nothing(corridor: Corridor, book: Path) -> None:
    workbook = openpyxl.load_workbook(book)
    workbook["transactions"].delete_cols(7)
    workbook.save(book)
    with pytest.raises(SourceError, match="no longer has the column 'machine_id'"):
        give_back(corridor, book)
    workbook["transactions"].delete_cols(1)
    workbook.save(book)
    with pytest.raises(SourceError, match="no sheet has the heading 'Key'"):
        give_back(corridor, book)
    with pytest.raises(SourceError, match="the file is not a workbook"):
        give_back(corridor, corridor.write("notes.xlsx", "hello"))


def test_all_of_it_is_one_transaction(corridor: Corridor, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    correct(book, {1: {"volume_transferred_t": "75"}})
    before = content_of(corridor.engine)

    def lost(*_: object) -> None:
        raise TransientError("the connection is lost")

    with monkeypatch.context() as patched:
        patched.setattr("freight.warehouse.load.note_corrections", lost)
        with pytest.raises(TransientError):
            give_back(corridor, book)
    assert content_of(corridor.engine) == before
    assert give_back(corridor, book).counts == LoadCounts(read=1, inserted=1)


def test_of_two_imports_at_once_one_loads(corridor: Corridor, book: Path) -> None:
    correct(book, {1: {"volume_transferred_t": "75"}})
    (file,) = find_files(book.as_posix(), corridor.folder)
    meanwhile = []

    def clock_that_takes_its_time() -> object:
        meanwhile.append(give_back(corridor, book).counts)
        return corridor.now

    by = Import(RunId("import-2"), "tester@here", None, clock_that_takes_its_time)  # type: ignore[arg-type]
    with pytest.raises(PositionFenced):
        import_corrections(corridor.engine, corridor.catalog, file, by)
    assert meanwhile == [LoadCounts(read=1, inserted=1)]
    assert len(corridor.rows("corrections", "correction_id", "1")) == 1
    assert reconcile(corridor.engine) == []


def test_numbers_are_written_as_in_their_file(corridor: Corridor) -> None:
    rows = [
        "TRX-50;MCH-001;2026-02-01 10:00:00;-1,5;OK",
        *(f"TRX-6{i};MCH-001;2026-02-01 10:00:00;1,5;OK" for i in "1234"),
    ]
    corridor.write("erp_20260205.csv", "\n".join(["id;machine;date;volume;statut", *rows]))
    corridor.load()
    book = corridor.folder / "comma.xlsx"
    write_quarantine_book(corridor.engine, book, "erp", 1)  # the newest
    outcome = give_back(corridor, correct(book, {1: {"volume_transferred_t": "1.5"}}))
    assert outcome.problems == ("transactions row 3: volume_transferred_t is not a number with a decimal comma: '1.5'",)
    assert give_back(corridor, correct(book, {1: {"volume_transferred_t": "1,5"}})).counts.inserted == 1
    assert ("TRX-50", 1.5) in corridor.rows("fact_transactions", "transaction_id", "volume_transferred_t")


def test_a_row_that_could_not_be_cut_is_written_anew(corridor: Corridor) -> None:
    corridor.write_transactions("erp_20260205.csv", [*GOOD, "TRX-51,MCH-001,2026-02-01,10:00:00,31,5,OK"])
    corridor.load()
    book = corridor.folder / "ragged.xlsx"
    write_quarantine_book(corridor.engine, book, "erp", 1)
    (row,) = shown(book)
    assert row["What is wrong"].startswith("the row has more or fewer cells than the header")
    assert "TRX-51" in row["As delivered"]
    anew = {
        "transaction_id": "TRX-51",
        "machine_id": "MCH-001",
        "transaction_at": "2026-02-01 10:00:00",
        "volume_transferred_t": 31.5,
        "status_code": "OK",
    }
    assert give_back(corridor, correct(book, {1: anew})).counts == LoadCounts(read=1, inserted=1)
    assert reconcile(corridor.engine) == []


def test_an_export_leaves_the_work_of_others_alone(corridor: Corridor, book: Path) -> None:
    with pytest.raises(ConfigurationError, match="exists already, perhaps with corrections"):
        write_quarantine_book(corridor.engine, book, None, 100)
    nothing = corridor.folder / "nothing.xlsx"
    assert write_quarantine_book(corridor.engine, nothing, "machines", 100) == QuarantineExport(0, 0)
    assert not nothing.exists()


def test_a_row_whose_cells_come_in_two_pieces_is_one() -> None:
    """A parser sends so many cells at a time: a large workbook is cut within a row."""
    names = ["sheet", "row_number", "author", "key", "heading", "text", "error"]
    cells = [("stations", 2, "", "K", heading, heading.lower(), "", "0" * 7) for heading in ("A", "B", "C")]
    schema = [*map(str, range(7)), NATIVE]
    frames = [pl.DataFrame(rows, schema=schema, orient="row") for rows in (cells[:2], cells[2:])]
    pieces = iter([RawBatch(frame, no_rows(0)) for frame in frames])
    (row,) = _rows(_cells(RawTable(tuple(names), pieces)))
    assert row.texts == {"A": "a", "B": "b", "C": "c"}


def test_a_day_that_somebody_types_is_read_only_if_its_file_or_the_catalog_says_how(
    corridor: Corridor, book: Path
) -> None:
    outcome = give_back(corridor, correct(book, {2: {"transaction_at": "02/03/2026 08:00", "status_code": "OK"}}))
    assert told(outcome)[0] == LoadCounts()
    assert "transaction_at can be read in two ways: state `day_first`" in outcome.problems[0]
