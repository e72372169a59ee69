"""The simulated corridor: the same rows and bytes whenever and in whatever order they are asked for."""

import csv
import json
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import openpyxl
import polars as pl
import pytest
import yaml

from freight.contracts import contract_for
from freight.contracts.headers import match_header
from freight.errors import ConfigurationError
from freight.simulator import (
    COMMA,
    FAULTS,
    FAULTS_OF_COMMA_FILES,
    FRENCH,
    MOVE_DAY,
    STATIONS,
    TERMINALS,
    TRANSACTION_SCHEMA,
    Corridor,
    CsvStyle,
    LandingSummary,
    as_text,
    break_rows,
    fill_landing,
    stations,
    write_csv,
    write_erp_excel,
    write_json,
)

CATALOG = Path(__file__).parents[2] / "catalog.yaml"
DAY = date(2026, 2, 15)
ROWS_PER_DAY = 200
GOLDEN_ROWS = [
    ("TRX-22370000000", "MCH-016", "2026-02-15 00:00:00", 51.594, "OK"),
    ("TRX-22370000001", "MCH-003", "2026-02-15 13:04:15", 76.25, "OK"),
    ("TRX-22370000002", "MCH-002", "2026-02-15 23:59:59", 80.952, "OK"),
    ("TRX-22370000003", "MCH-016", "2026-02-16 00:00:03", 59.996, "OK"),
]


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LandingSummary]:
    root = tmp_path_factory.mktemp("base") / "landing"
    return root, fill_landing(root, rows_per_day=ROWS_PER_DAY, fault_share=0.1)


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_stations_keep_their_contract() -> None:
    contract = contract_for("stations")

    frame = stations()

    assert tuple(frame.columns) == contract.column_names
    assert frame["station_code"].is_unique().all()
    assert frame["corridor_km"].is_sorted()
    for column in contract.columns:
        if column.pattern:
            assert frame[column.name].str.contains(f"^(?:{column.pattern})$").all()
        if column.minimum is not None and column.maximum is not None:
            assert frame[column.name].is_between(column.minimum, column.maximum).all()


def test_every_terminal_is_a_station_and_their_shares_make_the_whole_traffic() -> None:
    assert {terminal.station_name for terminal in TERMINALS} == {"Douala", "Edéa", "Yaoundé", "Bélabo", "Ngaoundéré"}
    assert {terminal.station_name for terminal in TERMINALS} <= {station.station_name for station in STATIONS}
    assert sum(terminal.traffic_share for terminal in TERMINALS) == pytest.approx(1)


def test_the_machines_keep_their_contract_and_staff_every_terminal_before_and_after_the_move() -> None:
    contract = contract_for("machines")
    corridor = Corridor(seed=3)

    for day in (MOVE_DAY - timedelta(days=1), MOVE_DAY):
        frame = corridor.machines_on(day)
        assert tuple(frame.columns) == contract.column_names
        assert frame.height == 20
        assert frame["machine_id"].str.contains("^MCH-[0-9]{3}$").all()
        assert set(frame["site_location"]) == {terminal.station_name for terminal in TERMINALS}


def test_exactly_the_moving_machines_change_their_site_on_the_move_day() -> None:
    corridor = Corridor()
    before = corridor.machines_on(MOVE_DAY - timedelta(days=1))
    after = corridor.machines_on(MOVE_DAY)

    changed = before.filter(before["site_location"] != after["site_location"])["machine_id"]

    assert tuple(changed) == corridor.moved_machine_ids
    assert len(changed) == 2
    assert before.drop("site_location").equals(after.drop("site_location"))


def test_transactions_are_numbered_ordered_and_typed_as_the_schema_says() -> None:
    frame = Corridor().transactions(DAY, 5_000)

    numbers = frame["transaction_id"].str.strip_prefix("TRX-").cast(pl.Int64)
    assert frame.schema == pl.Schema(TRANSACTION_SCHEMA)
    assert frame.height == 5_000
    assert (numbers.diff().drop_nulls() == 1).all()
    assert frame["date"].is_sorted()
    assert set(frame["status_code"]) == {"OK", "WARN", "ERR"}
    assert frame["volume_transferred"].is_between(5, 95).all()
    assert 0 < frame["volume_transferred"].null_count() < 100


def test_the_first_drawn_rows_of_the_default_corridor_never_change() -> None:
    assert Corridor().transactions(DAY, 4).rows() == GOLDEN_ROWS


def test_two_hundred_thousand_rows_of_a_day_are_the_same_in_chunks_of_any_size() -> None:
    corridor = Corridor()

    whole = corridor.transactions(DAY, 200_000)
    chunks = list(corridor.transaction_chunks(DAY, 200_000, chunk_rows=70_000))

    assert [chunk.height for chunk in chunks] == [70_000, 70_000, 60_000]
    assert pl.concat(chunks).equals(whole)
    assert whole["transaction_id"].n_unique() == 200_000


def test_a_day_does_not_depend_on_the_days_asked_for_before_it() -> None:
    used, fresh = Corridor(), Corridor()
    for back in range(3):
        used.transactions(DAY - timedelta(days=back), 50 * back)

    assert used.transactions(DAY, 300).equals(fresh.transactions(DAY, 300))


def test_days_and_seeds_differ_and_days_of_any_size_share_no_transaction() -> None:
    first, second = Corridor().transactions(DAY, 3_000), Corridor().transactions(DAY + timedelta(days=1), 10)

    assert not set(first["transaction_id"]) & set(second["transaction_id"])
    assert not first["machine_id"].head(10).equals(second["machine_id"])
    assert not Corridor(seed=8).transactions(DAY, 3_000).equals(first)


def test_rows_stand_on_both_sides_of_local_midnight() -> None:
    dates = Corridor().transactions(DAY, 500)["date"]

    assert (dates[0], dates[-2], dates[-1]) == ("2026-02-15 00:00:00", "2026-02-15 23:59:59", "2026-02-16 00:00:03")
    assert dates.str.starts_with("2026-02-15").sum() == 499


def test_douala_and_yaounde_carry_the_most_and_belabo_is_the_least_reliable() -> None:
    corridor = Corridor()
    alert = (pl.col("status_code") != "OK") & (pl.col("volume_transferred") < 20)
    rows = corridor.transactions(DAY, 50_000).join(corridor.machines_on(DAY), on="machine_id")

    sites = rows.group_by("site_location").agg(pl.len(), alerts=alert.mean())

    assert sites.sort("len", descending=True)["site_location"].to_list()[:2] == ["Douala", "Yaoundé"]
    assert sites.sort("alerts")["site_location"].to_list()[-1] == "Bélabo"
    assert sites["alerts"].is_between(0.01, 0.25).all()


@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_the_smallest_days_have_as_many_rows_as_asked_for(rows: int) -> None:
    frame = Corridor().transactions(DAY, rows)

    assert frame.height == rows
    assert frame.schema == pl.Schema(TRANSACTION_SCHEMA)


def test_impossible_corridors_and_days_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="machines"):
        Corridor(machines=0)
    with pytest.raises(ConfigurationError, match="rows"):
        Corridor().transactions(DAY, -1)
    with pytest.raises(ConfigurationError, match="opened"):
        Corridor().transactions(date(2019, 12, 31), 1)


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.01, 10), (0.3, 300), (1.0, 1_000)])
def test_the_share_tells_how_many_rows_break(share: float, count: int) -> None:
    rows, oracle = break_rows(Corridor().transactions(DAY, 1_000), share, seed=1)

    assert rows.height == 1_000
    assert oracle.height == count
    assert oracle["row"].is_unique().all()
    assert oracle["row"].is_between(1, 1_000).all()


def test_the_oracle_names_exactly_the_rows_that_differ() -> None:
    clean = as_text(Corridor().transactions(DAY, 2_000))

    broken, oracle = break_rows(clean, 0.05, seed=1)

    differs = [number for number, (a, b) in enumerate(zip(clean.rows(), broken.rows(), strict=True), 1) if a != b]
    assert differs == oracle["row"].to_list()


def test_every_kind_of_fault_occurs_and_stands_in_its_column() -> None:
    broken, oracle = break_rows(Corridor().transactions(DAY, 2_000), 0.05, seed=1)

    assert set(oracle["kind"]) == {fault.kind for fault in FAULTS}
    for fault in FAULTS:
        rows = oracle.filter(kind=fault.kind)
        values = broken[fault.column].gather(rows["row"] - 1)
        assert set(values) == {fault.text}
        assert set(rows["quarantined"]) == {fault.quarantined}


def test_a_row_sent_again_differs_from_a_sound_row_of_the_file_in_its_volume_alone() -> None:
    broken, oracle = break_rows(Corridor().transactions(DAY, 2_000), 0.05, seed=1)
    unusual = set(oracle["row"])
    numbered = broken.with_row_index("row", offset=1)

    for row in oracle.filter(kind="resent")["row"]:
        again = numbered.row(row - 1, named=True)
        same = numbered.filter(pl.col("transaction_id") == again["transaction_id"])
        sound = same.filter(~pl.col("row").is_in(list(unusual))).row(0, named=True)
        assert {name for name in again if again[name] != sound[name]} == {"row", "volume_transferred"}


def test_faults_can_break_the_top_row_and_every_row() -> None:
    resent_only = tuple(fault for fault in FAULTS if fault.kind == "resent")
    clean = as_text(Corridor().transactions(DAY, 2))
    outcomes = [break_rows(clean, 0.5, seed=seed, faults=resent_only) for seed in range(20)]
    tops = [rows for rows, oracle in outcomes if oracle["row"].to_list() == [1]]

    assert tops
    assert all(rows["transaction_id"].n_unique() == 1 for rows in tops)
    assert "resent" not in set(break_rows(clean, 1, seed=1)[1]["kind"])
    with pytest.raises(ConfigurationError, match="no kind of fault"):
        break_rows(clean, 1, seed=1, faults=resent_only)


def test_faults_depend_on_their_seed_alone() -> None:
    clean = Corridor().transactions(DAY, 1_000)

    first, oracle = break_rows(clean, 0.05, seed=1)

    assert break_rows(clean, 0.05, seed=1)[0].equals(first)
    assert not break_rows(clean, 0.05, seed=2)[1].equals(oracle)
    with pytest.raises(ConfigurationError, match="share"):
        break_rows(clean, 1.1, seed=1)


@pytest.mark.parametrize("dialect", [COMMA, FRENCH], ids=["comma", "french"])
def test_a_csv_file_reads_back_in_its_dialect_with_headers_that_the_contract_knows(
    tmp_path: Path, dialect: CsvStyle
) -> None:
    rows = as_text(Corridor().transactions(DAY, 50))

    written = write_csv(rows, tmp_path / "file.csv", dialect)

    text = (tmp_path / "file.csv").read_bytes().decode(dialect.encoding)
    header, *records = csv.reader(text.splitlines(), delimiter=dialect.separator)
    assert written == len(records) == 50
    assert match_header(header, contract_for("transactions")).columns == contract_for("transactions").column_names
    assert [record[0] for record in records] == rows["transaction_id"].to_list()
    assert text.count(dialect.line_end) == 51


def test_the_french_dialect_has_accents_in_cp1252_decimal_commas_and_days_first(tmp_path: Path) -> None:
    clean = as_text(Corridor().transactions(DAY, 100))
    rows, _ = break_rows(clean, 0.5, seed=1, faults=FAULTS_OF_COMMA_FILES)

    write_csv(rows, tmp_path / "file.csv", FRENCH)

    raw = (tmp_path / "file.csv").read_bytes()
    assert raw.startswith("id_transaction;machine;date_heure;volume_transféré;statut\r\n".encode("cp1252"))
    assert b";15/02/2026 00:00:00;" in raw
    assert b";30/02/2026 08:15:00;" in raw
    assert b";-12,5;" in raw
    assert b"." not in raw
    with pytest.raises(UnicodeDecodeError):
        raw.decode("utf-8")


def test_chunks_make_the_same_file_as_one_frame_in_every_dialect(tmp_path: Path) -> None:
    corridor = Corridor()

    for name, dialect in {"comma": COMMA, "french": FRENCH}.items():
        whole, chunked = tmp_path / f"{name}_whole.csv", tmp_path / f"{name}_chunked.csv"
        write_csv(corridor.transactions(DAY, 1_000), whole, dialect)
        write_csv(corridor.transaction_chunks(DAY, 1_000, chunk_rows=300), chunked, dialect)
        assert whole.read_bytes() == chunked.read_bytes()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.csv"
    target.write_text("old")

    def failing() -> Iterator[pl.DataFrame]:
        yield Corridor().transactions(DAY, 10)
        raise RuntimeError("the power went out")

    with pytest.raises(RuntimeError, match="power"):
        write_csv(failing(), target)

    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_machines_reference_is_a_list_of_objects_in_utf_8(tmp_path: Path) -> None:
    frame = Corridor().machines_on(DAY)

    write_json(frame, tmp_path / "machines.json")

    text = (tmp_path / "machines.json").read_text(encoding="utf-8")
    assert "Yaoundé" in text
    assert json.loads(text) == frame.to_dicts()


def test_a_workbook_looks_hand_made(tmp_path: Path) -> None:
    rows, oracle = break_rows(Corridor().transactions(DAY, 500), 0.1, seed=1)

    written = write_erp_excel(rows, tmp_path / "export.xlsx", DAY)

    book = openpyxl.load_workbook(tmp_path / "export.xlsx")
    sheet = book["Export ERP"]
    title, _, blank, header, *records = sheet.iter_rows(values_only=True)
    assert book.sheetnames == ["Export ERP", "Notes"]
    assert [str(merged) for merged in sheet.merged_cells.ranges] == ["A1:E1"]
    assert title[0]
    assert set(blank) == {None}
    assert not match_header([str(cell) for cell in header], contract_for("transactions")).has_drifted
    assert written == len(records) == 501
    assert {type(record[2]) for record in records[:-1]} == {datetime, str}
    assert 500 // 8 < sum(isinstance(record[2], str) for record in records[:-1]) < 500 // 5
    assert {type(record[3]) for record in records[:-1]} >= {float, str}
    assert records[-1][0] == "TOTAL"
    assert isinstance(records[-1][3], float)
    error_row = oracle.filter(kind="excel_error")["row"][0]
    assert sheet.cell(row=4 + error_row, column=4).data_type == "e"


def test_a_workbook_does_not_tell_when_it_was_saved(tmp_path: Path) -> None:
    write_erp_excel(Corridor().transactions(DAY, 10), tmp_path / "export.xlsx", DAY)

    properties = openpyxl.load_workbook(tmp_path / "export.xlsx").properties
    with zipfile.ZipFile(tmp_path / "export.xlsx") as archive:
        times = {member.date_time for member in archive.infolist()}

    assert properties.created == properties.modified == datetime(2026, 1, 1)
    assert times == {(1980, 1, 1, 0, 0, 0)}


def test_two_folders_filled_alike_are_equal_byte_for_byte(landing: tuple[Path, LandingSummary], tmp_path: Path) -> None:
    root, summary = landing

    again = fill_landing(tmp_path, rows_per_day=ROWS_PER_DAY, fault_share=0.1)

    assert contents(tmp_path) == contents(root)
    assert again == summary
    assert again.oracle.equals(summary.oracle)


def test_fewer_days_give_the_same_files_of_those_days(landing: tuple[Path, LandingSummary], tmp_path: Path) -> None:
    whole = contents(landing[0])

    fill_landing(tmp_path, days=3, rows_per_day=ROWS_PER_DAY, fault_share=0.1)

    transactions = {name: content for name, content in contents(tmp_path).items() if name.startswith("erp_")}
    assert len(transactions) == 3
    assert transactions.items() <= whole.items()


def test_the_default_days_come_as_the_files_that_the_docs_promise(landing: tuple[Path, LandingSummary]) -> None:
    root, summary = landing
    names = sorted(contents(root))

    assert names == [path.as_posix() for path in summary.files]
    assert summary.written == 17
    assert [name for name in names if not name.startswith("erp_csv/")] == [
        "erp_excel/erp_export_20260222.xlsx",
        "erp_excel/erp_export_20260301.xlsx",
        "machines/machines_20260215.json",
        "machines/machines_20260222.json",
        "stations/stations_20260215.csv",
    ]
    french = [path for path in root.glob("erp_csv/*.csv") if path.read_bytes().startswith(b"id_transaction;")]
    assert len(french) == 4
    assert all(path.read_bytes().decode("cp1252") for path in french)


def test_the_summary_counts_what_the_files_hold(landing: tuple[Path, LandingSummary]) -> None:
    root, summary = landing
    csv_rows = sum(len(path.read_bytes().splitlines()) - 1 for path in root.glob("erp_csv/*.csv"))
    sheets = [openpyxl.load_workbook(path).worksheets[0] for path in root.glob("erp_excel/*.xlsx")]
    excel_rows = sum(sheet.max_row - 4 for sheet in sheets)

    assert summary.rows == csv_rows + excel_rows == 14 * ROWS_PER_DAY + 2
    assert summary.reference_rows == len(STATIONS) + 2 * 20
    assert summary.broken_rows == 14 * ROWS_PER_DAY // 10 + 2
    assert 0 < summary.quarantined_rows < summary.broken_rows
    assert set(summary.oracle["file"]) == {path.as_posix() for path in summary.files if path.parts[0][:3] == "erp"}
    assert summary.oracle.filter(kind="totals_row")["row"].to_list() == [ROWS_PER_DAY + 1] * 2


def test_every_simulated_source_of_the_catalog_finds_files(landing: tuple[Path, LandingSummary]) -> None:
    sources = yaml.safe_load(CATALOG.read_text(encoding="utf-8"))["sources"]
    simulated = [source for source in sources if source.get("simulated")]

    found = {source["name"]: set(landing[0].parent.glob(source["location"])) for source in simulated}

    assert all(found.values())
    assert set.union(*found.values()) == {landing[0] / path for path in landing[1].files}


def test_a_folder_with_any_file_is_left_untouched(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "data.csv").write_text("mine")

    summary = fill_landing(tmp_path, days=1, rows_per_day=10)

    assert (summary.written, summary.rows, summary.broken_rows, summary.quarantined_rows) == (0, 0, 0, 0)
    assert contents(tmp_path) == {"own/data.csv": b"mine"}


def test_filling_twice_writes_once(tmp_path: Path) -> None:
    first = fill_landing(tmp_path, days=2, rows_per_day=10)
    before = contents(tmp_path)

    second = fill_landing(tmp_path, days=5, rows_per_day=20)

    assert first.written == 4
    assert second.written == 0
    assert contents(tmp_path) == before


def test_an_interrupted_filling_does_not_block_the_next_one(tmp_path: Path) -> None:
    leftover = tmp_path / ".filling" / "erp_csv" / "half.csv"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("half")
    (tmp_path / ".gitkeep").touch()

    summary = fill_landing(tmp_path, days=1, rows_per_day=10)

    assert set(contents(tmp_path)) == {".gitkeep", *(path.as_posix() for path in summary.files)}


def test_a_refused_request_leaves_no_trace(tmp_path: Path) -> None:
    root = tmp_path / "landing"

    with pytest.raises(ConfigurationError, match="day"):
        fill_landing(root, days=0)
    with pytest.raises(ConfigurationError, match="share"):
        fill_landing(root, fault_share=2)

    assert not contents(tmp_path)
