"""A source's own function of pandas: what it gets and returns, what is counted, and how it fails, on both engines."""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import openpyxl
import pytest

from freight.care.reconcile import reconcile
from freight.errors import ConfigurationError
from freight.pipeline import check_source
from freight.pipeline.days import plan_days
from freight.quarantine.book import write_quarantine_book
from freight.quarantine.corrections import Import, import_corrections
from freight.readers import find_files, isolated
from freight.types import LoadCounts, Retention, RunId
from freight.warehouse.connect import reading, transaction
from freight.warehouse.explain import explain
from freight.warehouse.ledger import start_run
from freight.warehouse.purge import purge
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor
from tests.lib.dpa import Dpa
from tests.lib.quarantine_books import correct, shown
from tests.lib.reshaping import read_through

MONTHS = "\n".join(
    ["Code;Nom;Région;2026-01;2026-02;2026-03", "DLA;Douala;Littoral;1;2;", "EDE;Edéa;Littoral;4;x;6", ";TOTAL;;5;2;6"]
)
# A station for each month; the distance stands in the column of the month, and the last row is a total.
BY_MONTH = """
    CODES = {"2026-01": "A", "2026-02": "B", "2026-03": "C"}

    def by_month(frame):
        rows = frame[frame["Code"].notna()].melt(
            id_vars=["Code", "Nom", "Région"], var_name="month", value_name="km", ignore_index=False
        )
        rows = rows[rows["km"].notna()]
        rows["Code"] = rows["Code"].str[:2] + rows.pop("month").map(CODES)
        return rows.assign(lat="4", lon="9")
"""
KEEP = """
    def keep(frame):
        return frame
"""
STATIONS = "code;nom;region;lat;lon;km\nDLA;Douala;Littoral;4.05;9.7;0\nEDE;Edéa;Littoral;3.8;10.13;82\n"


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    return Corridor(tmp_path, warehouse.engine)


def write_function(corridor: Corridor, code: str) -> None:
    corridor.write("transforms/shapes.py", dedent(code))


def with_function(corridor: Corridor, code: str, name: str, **more: object) -> Corridor:
    """Return the corridor with a source `here` whose rows a function reshapes."""
    write_function(corridor, code)
    entry = {"transform": f"shapes.{name}", "quarantine_limit": 0.5, **more}
    return corridor.add_source("here", "stations", "csv", "here*.csv", **entry)


def by_month(corridor: Corridor) -> Corridor:
    with_function(corridor, BY_MONTH, "by_month").write("here_20260201.csv", MONTHS)
    return corridor


def failure(corridor: Corridor) -> str:
    (failed,) = corridor.load().failures
    return failed.message


# --- What it does --------------------------------------------------------------------------------------------------


def test_months_as_columns_become_rows_that_know_their_row(corridor: Corridor) -> None:
    report = by_month(corridor).load()
    assert [outcome.message for outcome in report.failures] == []
    assert report.counts("here") == LoadCounts(read=5, inserted=4, quarantined=1)
    assert corridor.rows("dim_stations", "station_code", "corridor_km", "origin_seq") == [
        ("DLA", 1.0, 21),
        ("DLB", 2.0, 22),
        ("EDA", 4.0, 31),
        ("EDC", 6.0, 33),
    ]


def test_the_ledger_counts_what_a_function_dropped_and_added(corridor: Corridor) -> None:
    (outcome,) = by_month(corridor).load().outcomes
    names = ("function", "rows_in", "rows_out", "dropped", "added", "numbers_per_row")
    assert corridor.rows("reshapes", *names) == [("shapes.by_month", 3, 5, 1, 3, 10)]
    assert "3 rows in, 5 out, 1 dropped, 3 added" in outcome.message
    assert reconcile(corridor.engine) == []


def test_reconcile_finds_a_function_that_does_not_account_for_its_rows(corridor: Corridor) -> None:
    by_month(corridor).load()
    with transaction(corridor.engine) as connection:
        connection.exec_driver_sql("UPDATE reshapes SET dropped = 0")
    (found,) = reconcile(corridor.engine)
    assert "a function accounts for every row" in str(found)


def test_what_the_catalog_and_the_reader_leave_out_before_a_function_is_told(corridor: Corridor) -> None:
    options = {"skip_rows_where": {"Nom": "^TOTAL"}, "ignore": ["Note"]}
    lines = [f"{line};x" for line in MONTHS.splitlines()]
    with_function(corridor, BY_MONTH, "by_month", options=options)
    corridor.write("here_20260201.csv", "\n".join([lines[0].replace(";x", ";Note"), *lines[1:]]))
    (outcome,) = corridor.load().outcomes
    assert corridor.rows("reshapes", "rows_in", "rows_out", "dropped", "added") == [(2, 5, 0, 3)]
    assert "left out, as the catalog says: 'Note'" in outcome.message
    ((read_as,),) = corridor.rows("batches", "read_as", order_by="1")
    assert json.loads(read_as)["skipped_rows"] == "1"


def test_explain_leads_to_the_row_of_the_file_and_to_the_function(corridor: Corridor) -> None:
    by_month(corridor).load()
    with reading(corridor.engine) as connection:
        (found,) = explain(connection, "dim_stations", "DLB")
    lineage = dict(found.lineage)
    assert (lineage["row"], lineage["made_of_it"]) == (2, "row 2")
    assert "3 rows in, 5 out, 1 dropped, 3 added" in str(lineage["reshaped_by"])


def test_a_function_that_makes_one_row_of_each_leaves_their_numbers_alone(corridor: Corridor) -> None:
    with_function(corridor, KEEP, "keep").write("here_20260201.csv", STATIONS)
    (outcome,) = corridor.load().outcomes
    assert outcome.message == ""
    assert corridor.rows("dim_stations", "station_code", "origin_seq") == [("DLA", 2), ("EDE", 3)]


def test_a_quarantined_row_shows_its_row_of_the_file_and_keeps_the_text_after_the_function(corridor: Corridor) -> None:
    by_month(corridor).load()
    ((row, source_row, raw),) = corridor.rows("quarantine", "row_number", "source_row", "raw", order_by="1")
    assert (row, source_row) == (32, 3)
    assert json.loads(bytes(raw))["station_code"] == "EDB"
    book = corridor.folder / "book.xlsx"
    write_quarantine_book(corridor.engine, book, None, 10)
    assert [told["Row"] for told in shown(book, "stations")] == [3]


def test_the_first_bad_rows_of_a_refused_file_show_their_rows_of_the_file(corridor: Corridor) -> None:
    by_month(corridor)
    corridor.sources[0]["quarantine_limit"] = 0.1
    assert "1 of 5 rows breaks the contract" in failure(corridor)
    assert corridor.rows("load_attempt_rows", "row_number", "source_row") == [(32, 3)]


def test_a_corrected_row_loads_with_its_place_and_its_function(corridor: Corridor) -> None:
    by_month(corridor).load()
    book = corridor.folder / "book.xlsx"
    write_quarantine_book(corridor.engine, book, None, 10)
    correct(book, {1: {"corridor_km": "5"}}, sheet="stations")
    with transaction(corridor.engine) as connection:
        start_run(connection, RunId("import-1"), "tester@here", corridor.now)
    (file,) = find_files(book.as_posix(), corridor.folder)
    by = Import(RunId("import-1"), "tester@here", None, lambda: corridor.now)
    assert import_corrections(corridor.engine, corridor.catalog, file, by).counts == LoadCounts(read=1, inserted=1)
    with reading(corridor.engine) as connection:
        (found,) = explain(connection, "dim_stations", "EDB")
    lineage = dict(found.lineage)
    assert (lineage["row"], lineage["made_of_it"]) == (3, "row 2")
    assert "reshaped_by" in lineage
    assert corridor.rows("v_corrections", "row_number", "column_name") == [(3, "corridor_km")]
    assert reconcile(corridor.engine) == []


def test_rows_that_the_reader_cannot_cut_pass_the_function_by(corridor: Corridor) -> None:
    by_month(corridor).write("here_20260201.csv", f"{MONTHS}\nX;y\n")
    corridor.load()
    assert corridor.rows("quarantine", "row_number", "source_row", "reason") == [
        (32, 3, "wrong_type"),
        (50, 5, "ragged_row"),
    ]
    assert corridor.rows("reshapes", "rows_in", "rows_out") == [(3, 5)]
    assert reconcile(corridor.engine) == []


def test_a_file_with_nothing_but_rows_that_cannot_be_cut_says_so(corridor: Corridor) -> None:
    with_function(corridor, KEEP, "keep").write("here_20260201.csv", "code;nom;region;lat;lon;km\nX;y\n")
    assert "ragged_row 1" in failure(corridor)


def test_lookups_are_the_rows_of_the_warehouse_at_the_time_of_the_load(corridor: Corridor) -> None:
    code = """
        def sited(frame, stations, machines):
            assert set(stations.columns) >= {"station_code", "station_name", "corridor_km"}
            assert machines.empty
            frame["site_location"] = frame.pop("code").map(stations.set_index("station_code")["station_name"])
            return frame
    """
    write_function(corridor, code)
    entry = {"transform": "shapes.sited", "lookups": ["stations", "machines"]}
    corridor.add_source("m", "machines", "csv", "machines*.csv", **entry)
    corridor.add_source("s", "stations", "csv", "stations*.csv")
    corridor.write("machines_20260201.csv", "machine_id;code;year\nMCH-001;EDE;2010\n")
    corridor.write("stations_20260201.csv", STATIONS)  # of the same run
    assert [outcome.message for outcome in corridor.load().outcomes] == ["", ""]
    assert corridor.rows("dim_machines", "machine_id", "site_location") == [("MCH-001", "Edéa")]


# --- Its version ---------------------------------------------------------------------------------------------------


def test_files_are_read_again_under_another_function_and_its_rows_win(corridor: Corridor) -> None:
    by_month(corridor).load()
    assert [outcome.state for outcome in corridor.load().outcomes] == ["unchanged"]
    for lat in ("5", "3"):  # whichever content is the larger one
        write_function(corridor, BY_MONTH.replace('lat="4"', f'lat="{lat}"'))
        (outcome,) = corridor.load().outcomes
        assert outcome.counts == LoadCounts(read=5, updated=4, quarantined=1)
        assert {row[0] for row in corridor.rows("dim_stations", "latitude_deg", order_by="1")} == {float(lat)}
    assert len({row[0] for row in corridor.rows("reshapes", "version", order_by="1")}) == 3
    assert reconcile(corridor.engine) == []


def test_only_the_sources_of_a_changed_module_are_read_again(corridor: Corridor) -> None:
    by_month(corridor)
    corridor.write("transforms/others.py", dedent(KEEP))
    corridor.add_source("other", "stations", "csv", "other*.csv", transform="others.keep")
    corridor.add_source("none", "stations", "csv", "none*.csv")
    corridor.write("other_20260201.csv", STATIONS)
    corridor.write("none_20260201.csv", STATIONS)
    corridor.load()
    write_function(corridor, BY_MONTH + "\n")
    states = {outcome.source: outcome.state for outcome in corridor.load().outcomes}
    assert states == {"here": "loaded", "other": "unchanged", "none": "unchanged"}


def test_a_function_that_a_source_gets_or_loses_reads_its_files_again(corridor: Corridor) -> None:
    with_function(corridor, KEEP, "keep").write("here_20260201.csv", STATIONS)
    states = []
    for transform in ("shapes.keep", None, None, "shapes.keep"):
        corridor.sources[0]["transform"] = transform
        states += [outcome.state for outcome in corridor.load().outcomes]
    assert states == ["loaded", "loaded", "unchanged", "loaded"]


def test_a_file_that_failed_loads_once_its_function_is_corrected_without_a_retry(corridor: Corridor) -> None:
    with_function(corridor, KEEP.replace("return frame", "raise ValueError"), "keep")
    corridor.write("here_20260201.csv", STATIONS)
    assert "raises ValueError" in failure(corridor)
    assert [outcome.state for outcome in corridor.load().outcomes] == ["parked"]
    write_function(corridor, KEEP)
    assert [outcome.state for outcome in corridor.load().outcomes] == ["loaded"]


def test_a_plan_of_days_knows_the_version(corridor: Corridor) -> None:
    with_function(corridor, KEEP, "keep").write("here_20260201.csv", STATIONS)
    corridor.sources[0]["location"] = "here_{day:%Y%m%d}.csv"
    corridor.load()
    days = [corridor.now.date().replace(month=2)]
    assert [plan.new for plan in plan_days(corridor.engine, corridor.catalog, days)] == [0]
    write_function(corridor, KEEP + "\n")
    assert [plan.new for plan in plan_days(corridor.engine, corridor.catalog, days)] == [1]


# --- How it fails --------------------------------------------------------------------------------------------------

WRONG = {
    "an exception": ('return frame["kg"]', "raises KeyError: 'kg' (transforms/shapes.py, line 5)"),
    "an exception of a library": ('return frame.astype({"lat": "int64"})', "(transforms/shapes.py, line 5)"),
    "an exit": ("raise SystemExit(0)", "raises SystemExit: 0 (transforms/shapes.py, line 5)"),
    "a missing import": ("import no_such_module", "No module named 'no_such_module' (transforms/shapes.py, line 5)"),
    "no frame": ("return None", "returns nothing instead of a DataFrame (transforms/shapes.py)"),
    "a column alone": ('return frame["lat"]', "returns a value of the type Series instead of a DataFrame"),
    "a merge": ('return frame.merge(frame[["code"]], on="code")', "loses the row numbers"),
    "a new index": ("return frame.reset_index(drop=True)", "loses the row numbers"),
    "a new row": ("return pd.concat([frame, frame.head(1).rename({2: 99})])", "invents row numbers"),
    "an added row": ('frame.loc[100] = "x"; return frame', "invents row numbers"),
    "numbers from one": ("frame.index = frame.index - 1; return frame", "which the file does not have: 1"),
    "a row without number": (
        "return pd.concat([frame.reset_index(), frame.head(1).reset_index(drop=True)])",
        "returns 1 row without a row number",
    ),
    "numbers as text": (
        "return frame.reset_index().astype({'row_number': 'str'})",
        "they must stay whole numbers",
    ),
    "a list in a cell": ('frame["lat"] = [[1]] * 2; return frame', "of the type list in the column 'lat' of row 2"),
    "bytes": ('frame["lat"] = b"4"; return frame', "a value of the type bytes"),
    "a column named by a number": ("frame[1] = 'x'; return frame", "returns a column that is named 1"),
    "no rows": ("return frame.head(0)", "returns none of the rows"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "words"), WRONG.values(), ids=WRONG)
def test_a_function_that_breaks_a_promise_fails_its_file_with_words(corridor: Corridor, body: str, words: str) -> None:
    with_function(corridor, f"\nimport pandas as pd\n\ndef wrong(frame):\n    {body}\n", "wrong")
    corridor.write("here_20260201.csv", STATIONS)
    told = failure(corridor)
    assert told.startswith("here_20260201.csv: the function shapes.wrong ")
    assert words in told
    assert corridor.rows("dim_stations", order_by="1") == []


def test_a_module_that_cannot_run_is_told_with_its_line(corridor: Corridor) -> None:
    with_function(corridor, "\ndef keep(frame):\n    return frame[\n", "keep")
    corridor.write("here_20260201.csv", STATIONS)
    assert "raises SyntaxError" in (told := failure(corridor))
    assert "(transforms/shapes.py, line 3)" in told
    write_function(corridor, "def other(frame):\n    return frame\n")
    assert "has no attribute 'keep'" in failure(corridor)


def test_one_file_fails_and_the_others_load(corridor: Corridor) -> None:
    with_function(
        corridor, KEEP.replace("return frame", 'return frame[["code", "nom", "region", "lat", "lon", "km"]]'), "keep"
    )
    corridor.write("here_20260201.csv", STATIONS)
    corridor.write("here_20260202.csv", "code;nom;region;lat;lon\nBEL;Bélabo;Est;4.93;13.3\n")
    report = corridor.load()
    assert [outcome.state for outcome in report.outcomes] == ["loaded", "failed"]
    assert "here_20260202.csv: the function shapes.keep raises KeyError" in report.failures[0].message


def test_a_function_that_is_not_there_fails_its_source_alone(corridor: Corridor) -> None:
    with_function(corridor, KEEP, "keep").write("here_20260201.csv", STATIONS)
    corridor.add_source("none", "stations", "csv", "none*.csv")
    corridor.write("none_20260201.csv", STATIONS)
    (corridor.folder / "transforms" / "shapes.py").unlink()
    assert "there is no file" in failure(corridor)
    assert len(corridor.rows("dim_stations")) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: links need a right on Windows")
@pytest.mark.parametrize("linked", ["transforms", "transforms/shapes.py"])
def test_a_link_out_of_the_folder_is_refused(corridor: Corridor, linked: str) -> None:
    with_function(corridor, KEEP, "keep").write("here_20260201.csv", STATIONS)
    outside = corridor.folder.parent / f"{corridor.folder.name}-outside"
    (corridor.folder / linked).rename(outside)
    (corridor.folder / linked).symlink_to(outside)
    assert "a link leads out of the folder" in failure(corridor)


@pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: links need a right on Windows")
def test_a_link_within_the_folder_is_followed(corridor: Corridor) -> None:
    """Kubernetes mounts the files of a ConfigMap as such links."""
    with_function(corridor, KEEP, "keep").write("here_20260201.csv", STATIONS)
    module = corridor.folder / "transforms" / "shapes.py"
    (module.parent / "..data").mkdir()
    module.rename(module.parent / "..data" / "shapes.py")
    module.symlink_to(Path("..data") / "shapes.py")
    assert [outcome.state for outcome in corridor.load().outcomes] == ["loaded"]


@pytest.mark.parametrize(
    "name", ["keep", "../shapes.keep", "a.b.c", "/etc/passwd.x", "shapes.", "sha pes.keep", "a\n.b"]
)
def test_a_name_that_is_no_module_and_function_is_refused_by_the_catalog(corridor: Corridor, name: str) -> None:
    with_function(corridor, KEEP, "keep")
    corridor.sources[0]["transform"] = name
    with pytest.raises(ConfigurationError, match=r"sources > here > transform: .*module\.function"):
        _ = corridor.catalog


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"lookups": ["stations"], "transform": None}, "lookups: only a function gets them"),
        ({"lookups": ["transactions"]}, "'transactions' is no dataset of reference data"),
        ({"reader": "sql", "connection": "erp", "location": "", "options": {"table": "t"}}, "options > columns"),
    ],
)
def test_a_contradicting_entry_is_refused_by_the_catalog(
    corridor: Corridor, entry: dict[str, object], words: str
) -> None:
    with_function(corridor, KEEP, "keep")
    corridor.sources[0].update(entry)
    with pytest.raises(ConfigurationError, match=words):
        _ = corridor.catalog


# --- Its values ----------------------------------------------------------------------------------------------------

VALUES = """
    import datetime, decimal
    import numpy as np
    import pandas as pd

    def reshape(frame):
        values = [
            0.1 + 0.2, 42.0, 1e21, 1e-7, np.float64(2.5), np.int64(7), 10**20, decimal.Decimal("1.250"),
            True, np.bool_(False), None, np.nan, pd.NA, pd.NaT, "", "0042", " é ",
            pd.Timestamp("2026-02-01 08:00"), datetime.date(2026, 2, 1), pd.Timestamp("2026-02-01 08:00", tz="UTC"),
        ]
        rows = frame.loc[frame.index.repeat(len(values))]
        rows["nom"] = pd.Series(values, dtype=object).array
        return rows
"""


def test_what_a_function_returns_arrives_exactly(tmp_path: Path) -> None:
    path = tmp_path / "stations.csv"
    path.write_text("code;nom\nDLA;Douala\n")
    read = read_through(VALUES, path, "csv")
    assert read.rows["1"].to_list() == [
        "0.30000000000000004", "42", "1000000000000000000000", "0.0000001", "2.5", "7", "100000000000000000000",
        "1.250", "true", "false", "", "", "", "", "", "0042", " é ",
        "2026-02-01 08:00:00", "2026-02-01", "2026-02-01 08:00:00+00:00",
    ]  # fmt: skip


def test_row_numbers_may_come_back_in_the_index_a_level_of_it_or_a_column(tmp_path: Path) -> None:
    path = tmp_path / "stations.csv"
    path.write_text("code;jan;feb\nDLA;1;2\nEDE;3;4\n")
    ways = {
        'frame.melt(id_vars="code", ignore_index=False)': ("code", "variable", "value"),
        'frame.reset_index().melt(id_vars=["row_number", "code"])': ("code", "variable", "value"),
        'frame.set_index("code", append=True).stack().reset_index(2).rename(columns=str)': ("code", "level_2", "0"),
    }
    for way, header in ways.items():
        read = read_through(f"def reshape(frame):\n    return {way}\n", path, "csv")
        assert read.header == header
        assert sorted(read.rows.select("row_number", "2").rows()) == [(21, "1"), (22, "2"), (31, "3"), (32, "4")]


def test_two_headers_alike_and_a_header_named_as_the_row_number_reach_the_function(tmp_path: Path) -> None:
    path = tmp_path / "stations.csv"
    path.write_text("code;row_number;km;km\nDLA;a;1;2\n")
    read = read_through("def reshape(frame):\n    return frame.iloc[:, [3, 1]]\n", path, "csv")
    assert (read.header, read.rows.select("0", "1", "row_number").rows()) == (("km", "row_number"), [("2", "a", 2)])


def test_a_number_that_a_function_returns_is_never_read_in_another_way(corridor: Corridor) -> None:
    code = """
        def keep(frame):
            return frame.assign(km=frame["km"].str.replace(",", ".").astype(float) / 1000)
    """
    with_function(corridor, code, "keep", options={"decimal": ","})
    corridor.write("here_20260201.csv", "code;nom;region;lat;lon;km\nDLA;Douala;Littoral;4,05;9,7;1125\n")
    assert [outcome.message for outcome in corridor.load().failures] == []
    assert corridor.rows("dim_stations", "latitude_deg", "corridor_km") == [(4.05, 1.125)]


# What a function may do with the numbers of a workbook.
DEEDS = {
    "keep": 'frame[frame["code"] != "TOTAL"]',
    "melt": """frame.dropna().melt(["code", "nom", "region"], ignore_index=False).pivot_table(
        index=["row_number", "code", "nom", "region"], columns="variable", values="value", aggfunc="first"
    ).reset_index()""",
    "as text": 'frame.dropna().assign(**{name: frame[name].str.replace(" ", "") for name in ("lat", "lon", "km")})',
}


@pytest.mark.parametrize("options", [{}, {"decimal": "."}, {"decimal": ","}, {"thousands": "."}], ids=str)
@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_a_number_of_a_workbook_is_never_read_in_another_way(
    corridor: Corridor, deed: str, options: dict[str, str]
) -> None:
    corridor.write("transforms/shapes.py", f"def keep(frame):\n    return {deed}\n")
    corridor.add_source("x", "stations", "excel", "x*.xlsx", transform="shapes.keep", options=options)
    book = openpyxl.Workbook()
    for row in (STATIONS.split()[0].split(";"), ("DLA", "Douala", "Littoral", 4.125, 9.75, 1.125), ("TOTAL",)):
        book.active.append(row)
    book.save(corridor.folder / "x_20260201.xlsx")
    assert [outcome.message for outcome in corridor.load().failures] == []
    assert corridor.rows("dim_stations", "latitude_deg", "longitude_deg", "corridor_km") == [(4.125, 9.75, 1.125)]


def test_a_text_with_two_readings_is_told_with_its_row_of_the_file(corridor: Corridor) -> None:
    by_month(corridor).write("here_20260201.csv", MONTHS.replace(";x;", ";1.250;"))
    told = failure(corridor)
    assert "row 3" in told
    assert "[ambiguous_numbers]" in told


# --- For people ----------------------------------------------------------------------------------------------------


def test_check_and_preview_run_the_function(corridor: Corridor) -> None:
    by_month(corridor)
    (check,) = check_source(corridor.engine, corridor.catalog.sources[0], corridor.now)
    assert check.outcome.counts == LoadCounts(read=5, inserted=4, quarantined=1)
    assert corridor.rows("reshapes") == []
    dpa = Dpa(corridor.folder, corridor.engine.url.render_as_string(hide_password=False))
    checked = dpa("sources", "check", "here")
    assert "shapes.by_month" in checked.stdout
    assert "3 rows in, 5 out, 1 dropped, 3 added" in checked.stdout
    assert "row 3: corridor_km: wrong_type" in checked.stdout
    assert "EDC" in dpa("sources", "preview", "here").stdout
    write_function(corridor, BY_MONTH.replace("frame[frame", "frame[frames"))
    failed = dpa("sources", "check", "here")
    assert failed.returncode == 1
    assert "raises NameError: name 'frames' is not defined (transforms/shapes.py, line 5)" in failed.stdout


# --- Its process ---------------------------------------------------------------------------------------------------


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give functions little time."""
    monkeypatch.setattr(isolated, "PATIENCE_S", 14)
    monkeypatch.setattr(isolated, "CPU_S", 5)


# The last one never lets go of the interpreter, so only its reader can end it, and knows no line.
STUCK = {
    "asleep": ("time.sleep(600)", "takes longer than a function may for a file of this size", "timed_out"),
    "busy": ("while True: pass", "takes longer than a function may for a file of this size", "timed_out"),
    "greedy": ("big = [frame.to_csv() * 1_000_000 for _ in range(1_000)]", "MiB of memory", "too_large"),
    "busy in C": ("sum(range(10**15))", "takes longer than a function may for a file of this size", "timed_out"),
}


@pytest.mark.apart
@pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: Windows limits neither memory nor CPU time")
@pytest.mark.parametrize(("body", "words", "fault"), STUCK.values(), ids=STUCK)
def test_a_function_that_hangs_or_takes_all_memory_is_told_with_its_line(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    sqlite_warehouse: WarehouseUnderTest,
    body: str,
    words: str,
    fault: str,
) -> None:
    if fault == "timed_out":  # the others have all the time that they need, on a busy machine too
        request.getfixturevalue("soon")
    corridor = Corridor(tmp_path, sqlite_warehouse.engine)
    with_function(corridor, f"import time\n\ndef stuck(frame):\n    {body}\n    return frame\n", "stuck")
    corridor.write("here_20260201.csv", STATIONS)
    told = failure(corridor)
    line = "" if "sum" in body else ", line 4"
    assert "the function shapes.stuck " in told
    assert f"{words} (transforms/shapes.py{line}) [{fault}]" in told


@pytest.mark.apart
@pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: Windows ends a process in another way")
def test_a_function_that_ends_its_process_fails_its_file(tmp_path: Path, sqlite_warehouse: WarehouseUnderTest) -> None:
    corridor = Corridor(tmp_path, sqlite_warehouse.engine)
    with_function(corridor, "import os\n\ndef gone(frame):\n    os.abort()\n", "gone")
    corridor.write("here_20260201.csv", STATIONS)
    assert "the function shapes.gone ends its process, or breaks it (transforms/shapes.py)" in failure(corridor)


@pytest.mark.apart
@pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED: only Linux confines a process without root")
@pytest.mark.parametrize(
    "deed",
    [
        "open({secret!r}).read()",
        "open({catalog!r}).read()",
        "open('/tmp/left_behind', 'w')",
        "__import__('socket').create_connection(('127.0.0.1', 5432))",
        "__import__('subprocess').run(['/bin/true'])",
    ],
)
def test_a_function_reaches_no_file_no_network_and_no_program(
    tmp_path: Path, sqlite_warehouse: WarehouseUnderTest, deed: str
) -> None:
    corridor = Corridor(tmp_path, sqlite_warehouse.engine)
    secret = corridor.write("secret.txt", "secret")
    body = deed.format(secret=str(secret), catalog=str(tmp_path / "catalog.yaml"))
    with_function(corridor, f"def curious(frame):\n    {body}\n    return frame\n", "curious")
    corridor.write("here_20260201.csv", STATIONS)
    assert "PermissionError" in (told := failure(corridor)), told


@pytest.mark.apart
def test_a_function_sees_no_secret_of_the_environment(
    tmp_path: Path, sqlite_warehouse: WarehouseUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "DPA_WAREHOUSE_URL", "postgresql://user:secret@host/dpa")
    corridor = Corridor(tmp_path, sqlite_warehouse.engine)
    sees = (
        "import os\n\ndef keep(frame):\n    assert not any(n.startswith('DPA') for n in os.environ)\n    return frame\n"
    )
    with_function(corridor, sees, "keep").write("here_20260201.csv", STATIONS)
    assert [outcome.state for outcome in corridor.load().outcomes] == ["loaded"]


def test_purged_batches_take_their_reshapes_with_them(corridor: Corridor) -> None:
    by_month(corridor).load()
    write_function(corridor, BY_MONTH + "\n")
    corridor.load()
    keeps_nothing = Retention(quarantine_days=0, lineage_days=0)
    purge(corridor.engine, keeps_nothing, corridor.now + timedelta(days=1))
    assert corridor.rows("reshapes", "batch_id", order_by="1") == corridor.rows("batches", "batch_id", order_by="1")
    assert len(corridor.rows("reshapes")) == 1
    assert reconcile(corridor.engine) == []
