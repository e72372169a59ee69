"""What `dpa sources new` makes of samples, before anything is written."""

import gzip
import json
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import yaml

from freight.catalog import Source, read_catalog
from freight.contracts import LOCAL_ZONE, Contract
from freight.errors import ConfigurationError, SourceError
from freight.readers import find_files
from freight.scaffold import Scaffold, Wish, scaffold_source
from freight.scaffold.entries import entry_of, refuse_unfit, with_entry
from freight.scaffold.infer import Proposal, propose_contract
from freight.scaffold.sample import find_sample, read_sample
from freight.settings import PROJECT_ROOT
from freight.types import LoadCounts
from tests.lib.access import AccessTable, AccessWriter
from tests.lib.corridor import HEADER

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRANSACTION = "TRX-{},MCH-001,2026-02-01 10:00:00,30,OK"
WAGONS = [["Numéro", "Tare (t)", "Essieux"], ["0042", "21.5", "4"], ["0043", "22", "4"], ["0044", "20.25", "6"]]
RECORDS = [dict(zip(WAGONS[0], row, strict=True)) for row in WAGONS[1:]]


def scaffold(path: Path, name: str = "wagons", **wishes: Any) -> Scaffold:
    return scaffold_source(Wish(name, path, **wishes), PROJECT_ROOT, path.parent / "my-catalog.yaml", NOW)


def refused(path: Path, name: str = "wagons", **wishes: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        scaffold(path, name, **wishes)
    return str(caught.value)


def proposed(path: Path, key: Sequence[str] = ()) -> Proposal:
    """Return the proposal alone, which takes a hundredth of the time."""
    return propose_contract(read_sample(find_sample(path), "csv", {}, []), "wagons", key, 50, LOCAL_ZONE, NOW)


def csv(folder: Path, *lines: str, name: str = "wagons_20260201.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def texts(made: Scaffold) -> dict[str, str]:
    return {path.name: content.decode() for path, content in made.new.items() if path != made.data}


def data_of(made: Scaffold) -> bytes:
    assert made.data
    return made.new[made.data]


def columns(contract: Contract) -> dict[str, tuple[str, str, bool]]:
    return {column.name: (column.dtype, column.unit, column.required) for column in contract.columns}


def entry(made: Scaffold) -> dict[str, Any]:
    (catalog,) = (content for path, content in made.changed.items() if path.name == "my-catalog.yaml")
    written = yaml.safe_load(catalog)["sources"][-1]
    assert isinstance(written, dict)
    return written


# --- Every reader ------------------------------------------------------------------------------------------------


def write_csv(path: Path) -> None:
    path.write_text("\n".join(";".join(row) for row in WAGONS).replace(".", ",") + "\n", encoding="cp1252")


def write_packed(path: Path) -> None:
    path.write_bytes(gzip.compress("\n".join("\t".join(row) for row in WAGONS).encode()))


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("wagons.csv", "\n".join(",".join(row) for row in WAGONS))


def write_workbook(path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["Liste"])
    table = book.create_sheet("Wagons")
    table.append(["Parc au 1 février"])
    table.append(WAGONS[0])
    for number, *others in WAGONS[1:]:
        table.append([int(number), *map(float, others)])
        table.cell(table.max_row, 1).number_format = "0000"
    book.save(path)


def write_json(path: Path) -> None:
    path.write_text(json.dumps({"data": RECORDS}), encoding="utf-8")


def write_lines(path: Path) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "write", "reader", "options"),
    [
        ("wagons.csv", write_csv, "csv", {"delimiter": ";", "decimal": ","}),
        ("wagons.tsv.gz", write_packed, "csv", {"delimiter": "\t", "decimal": "."}),
        ("wagons.zip", write_zip, "csv", {"decimal": "."}),
        ("wagons.xlsx", write_workbook, "excel", {}),
        ("wagons.json", write_json, "json", {"decimal": "."}),
        ("wagons.jsonl", write_lines, "jsonl", {"decimal": "."}),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_a_sample_of_every_kind_becomes_the_same_contract(
    tmp_path: Path, name: str, write: Any, reader: str, options: dict[str, str]
) -> None:
    write(tmp_path / name)
    check_wagons(scaffold(tmp_path / name), name, reader, options)


def check_wagons(made: Scaffold, location: str, reader: str, options: dict[str, str]) -> None:
    wanted = {"name": "wagons", "dataset": "wagons", "reader": reader, "location": location}
    assert entry(made) == (wanted | {"options": options} if options else wanted)
    assert made.contract.business_key == ("numero",)
    assert columns(made.contract) == {
        "numero": ("text", "", True),
        "tare_t": ("number", "tonnes", True),
        "essieux": ("integer", "", True),
    }
    assert made.counts == LoadCounts(read=3, inserted=3)
    assert '"numero": "0042", "tare_t": 21.5, "essieux": 4' in texts(made)["test_wagons.py"]
    assert "essieux: whether it may have fractions: then its type is number" in made.to_decide


def test_a_table_of_an_access_file_becomes_the_same_contract(tmp_path: Path, access_writer: AccessWriter) -> None:
    path = tmp_path / "wagons.accdb"
    other = AccessTable("Notes", ["Texte|TEXT"], [["rien"]])
    table = AccessTable("Wagons", ["Numéro|TEXT", "Tare (t)|DOUBLE", "Essieux|LONG"], WAGONS[1:])
    access_writer.write(("V2016", path, [other, table]))
    check_wagons(scaffold(path, options={"table": "Wagons"}), path.name, "access", {"table": "Wagons"})


# --- Types -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (["12", "-3"], "integer"),
        (["1 234", "5"], "integer"),
        (["1 234,5", "-0,5"], "number"),
        (["0042", "0043"], "text"),
        (["12E4", "13E4"], "text"),
        (["+237699000000", "+237699000001"], "text"),
        (["12345678901234567", "12345678901234568"], "text"),
        (["nan", "1"], "text"),
        (["true", "FALSE"], "boolean"),
        (["oui", "non"], "text"),
        (["2026-02-01", "28/02/2026"], "date"),
        (["2026-02-30", "2026-02-01"], "text"),
        (["2026-02-01 10:00", "28/02/2026 23:59:59"], "instant"),
        (["2026-02-01T10:00:00Z", "2026-02-01T10:00:00.5+01:00"], "instant"),
        (["", ""], "text"),
        (["", " 7 "], "integer"),
    ],
    ids=str,
)
def test_a_type_is_the_narrowest_that_takes_every_value(tmp_path: Path, values: Sequence[str], dtype: str) -> None:
    rows = [f"A{number};0,5;{value}" for number, value in enumerate(values)]
    made = proposed(csv(tmp_path, "code;poids_t;valeur", *rows))
    assert columns(made.contract)["valeur"] == (dtype, "", "" not in values)


def test_a_column_that_is_named_like_a_code_is_one(tmp_path: Path) -> None:
    made = proposed(csv(tmp_path, "train,station_id,pieces", "A1,10,3", "A2,11,4"))
    assert [column.dtype for column in made.contract.columns] == ["text", "text", "integer"]


def test_what_is_longer_than_usual_may_be_twice_as_long(tmp_path: Path) -> None:
    made = proposed(csv(tmp_path, "code,note", f"A1,{'é' * 300}", "A2,kurz"))
    assert made.contract.columns[1].max_length == 600


def test_long_texts_and_headers_do_not_break_the_style_of_the_project(tmp_path: Path) -> None:
    words = "très longue en-tête d'une colonne " * 4
    made = scaffold(csv(tmp_path, f"gare {words},le {words},note", f"A1,2026-02-01,{'é' * 300}", "A1,2026-02-02,"))
    assert len(made.contract.business_key) == 2
    for path, content in made.new.items():
        if path.suffix == ".py":
            name = ["--stdin-filename", str(path.relative_to(PROJECT_ROOT)), "-"]
            for check in (["check"], ["format", "--check"]):
                argv = [sys.executable, "-m", "ruff", *check, *name]
                done = subprocess.run(argv, cwd=PROJECT_ROOT, input=content, capture_output=True, check=False)
                assert done.returncode == 0, done.stdout.decode()


@pytest.mark.parametrize(
    ("header", "cells", "proven"),
    [
        ("le", ["01/02/2026", "13/02/2026"], {"day_first": True}),
        ("le", ["01/02/2026", "02/13/2026"], {"day_first": False}),
        ("le", ["2026-02-01", "2026-02-13"], {}),
        ("t", ["1.250", "12.5"], {"decimal": "."}),
        ("t", ["12.5", "1.375"], {"decimal": "."}),
    ],
)
def test_only_what_the_sample_proves_becomes_an_option(
    tmp_path: Path, header: str, cells: Sequence[str], proven: dict[str, object]
) -> None:
    made = scaffold(csv(tmp_path, f"code,{header}", *(f"A{n},{cell}" for n, cell in enumerate(cells))), rows=1)
    assert entry(made).get("options", {}) == proven
    assert not any("day comes" in question for question in made.to_decide)


def test_a_sample_that_proves_nothing_is_refused_with_the_option_to_add(tmp_path: Path) -> None:
    sample = csv(tmp_path, "code,t", "A1,1.250", "A2,1.375")
    with pytest.raises(SourceError, match=r"'1.250' can be 1.250 or 1250.*--option \"decimal=.\""):
        scaffold(sample)
    assert entry(scaffold(sample, options={"decimal": "."}))["options"] == {"decimal": "."}


def test_text_in_a_workbook_or_in_json_proves_as_much(tmp_path: Path) -> None:
    records = [{"code": "A1", "t": "1.250,5", "le": "13/02/2026"}, {"code": "A2", "t": "1.375", "le": "01/02/2026"}]
    (tmp_path / "a.json").write_text(json.dumps(records), encoding="utf-8")
    assert entry(scaffold(tmp_path / "a.json"))["options"] == {"decimal": ",", "day_first": True}


def test_names_are_those_that_a_warehouse_takes_without_quotes(tmp_path: Path) -> None:
    header = '"N° de\nwagon",Order,2e visite,批号,row_number,Prix (FCFA),"Prix, (FCFA)"'
    made = scaffold(csv(tmp_path, header, "A1,1,x,y,z,1.5,2.5", "A2,1,x,y,z,1.5,2.5"))
    assert list(made.contract.column_names) == [
        "n_de_wagon",
        "order_value",
        "column_2e_visite",
        "column_4",
        "row_number_value",
        "prix_fcfa",
        "prix_fcfa_7",
    ]
    assert made.contract.columns[0].aliases == ("N° de wagon",)
    assert made.contract.columns[5].unit == "FCFA"
    assert made.counts == LoadCounts(read=2, inserted=2)


def test_title_rows_above_the_header_are_passed_over(tmp_path: Path) -> None:
    made = proposed(csv(tmp_path, "Parc de wagons", "", "code;a;b;c", "A1;1,5;2,5;3,5", "A2;1,5;2,5;3,5"))
    assert list(made.contract.column_names) == ["code", "a", "b", "c"]


# --- The key -----------------------------------------------------------------------------------------------------


def test_a_pair_of_columns_is_the_key_if_no_column_is(tmp_path: Path) -> None:
    made = proposed(csv(tmp_path, "gare,jour,t", "DLA,2026-02-01,1.5", "DLA,2026-02-02,2.5", "YDE,2026-02-01,2.5"))
    assert made.contract.business_key == ("gare", "jour")
    assert made.to_decide[""][0] == "whether the key is gare and jour: it identifies the 3 rows"
    given = proposed(csv(tmp_path, "Gare,Jour,Nom", "DLA,2026-02-01,a", "YDE,2026-02-02,b"), key=["Jour", "gare"])
    assert given.contract.business_key == ("jour", "gare")
    assert not any("is the key" in question for question in given.to_decide[""])


def test_a_given_key_that_two_rows_have_is_refused_with_both(tmp_path: Path) -> None:
    path = csv(tmp_path, "Gare,jour,t,note", "DLA,2026-02-01,1,a", "YDE,2026-02-01,3,a", "DLA,2026-02-02,2,a")
    told = refused(path, key=["gare"])
    assert "--key gare: unique but for rows 2 and 4, both with gare 'DLA', which differ in jour ('2026-02-01'," in told
    assert "t ('1', '2')" in told
    assert "note (" not in told
    assert proposed(path, ["gare", "jour"]).contract.business_key == ("gare", "jour")


def test_equal_rows_have_no_key(tmp_path: Path) -> None:
    path = csv(tmp_path, "gare,t", "DLA,1", "YDE,3", " DLA,1", "DLA,1")
    told = refused(path, key=["gare", "t"])
    assert "unique but for 2 rows, such as rows 2 and 4, both with gare 'DLA', t '1', which are equal in every" in told


THREE = [f"{gare},2026-02-0{jour},{quai},{quai}.5" for gare in ("DLA", "YDE") for jour in (1, 2) for quai in "AB"]


def test_a_key_of_three_columns_is_found_if_no_smaller_one_is(tmp_path: Path) -> None:
    made = proposed(csv(tmp_path, "gare,jour,quai,t", *THREE))
    assert made.contract.business_key == ("gare", "jour", "quai")
    assert made.to_decide[""][0] == "whether the key is gare and jour and quai: it identifies the 8 rows"


def test_the_columns_that_are_nearly_a_key_are_named_with_the_rows(tmp_path: Path) -> None:
    told = refused(
        csv(tmp_path, "gare,jour,t", "A,2026-02-01,1.5", "A,2026-02-02,2", "B,2026-02-01,3", "A,2026-02-02,4")
    )
    assert "no column, and no two or three columns together, identify the rows of the sample; the nearest are " in told
    assert "gare + jour: unique but for rows 3 and 5, both with gare 'A', jour '2026-02-02'" in told
    assert "which differ in t ('2', '4')" in told


def test_the_search_for_a_key_has_an_end(tmp_path: Path) -> None:
    """Nothing here is a key, so that all candidates are tried."""
    header = ",".join(f"c{number}" for number in range(60))
    rows = [",".join("x" for _ in range(60))] * 3_000
    assert "the nearest are c0: unique but for 2,999 rows" in refused(csv(tmp_path, header, *rows))


@pytest.mark.parametrize(
    ("lines", "wishes", "told"),
    [
        (["a,b", "1,1.5", "1,1.5"], {}, "no column, and no two or three columns together, identify the rows"),
        (["a,b", "1,1", ",2"], {"key": ["a"]}, "--key a: it is empty in some rows"),
        (["a,b", "1,1", "2,2"], {"key": ["c"]}, "--key c: the sample has no such column, it has 'a', 'b'"),
        (["a,b,A", "1,1,1", "2,2,2"], {}, "the header has 'a' twice"),
        (["a,b", "1,1", "2,2"], {"dataset": "contract"}, "contract.py already exists"),
        (["a,b", "1,1", "2,2"], {"dataset": "terminal_events"}, "terminal_events come from a stream"),
        (["a,b", "1,1", "2,2"], {"dataset": "calendar"}, "the warehouse already has a table dim_calendar"),
        (["a,b", "1,1", "2,2"], {"options": {"decimal": "x"}}, "options > decimal: "),
        (["a,b", "1,1", "2,2"], {"dataset": "class"}, "'class' cannot be the name of a dataset"),
        (["a,b", "1,1", "2,2"], {"dataset": "../x"}, "'../x' cannot be the name of a dataset"),
        (["a,b", "1,1", "2,2"], {"name": "Wagons"}, "'Wagons' cannot be the name of a source"),
        (
            ["a,b", "1,1", "2,2"],
            {"reader": "sql"},
            "--reader sql: the readers of files are csv, excel, json, jsonl, access",
        ),
        (["a,b", "1,1", "2,2"], {"options": {"sheet": "x"}}, "options > sheet: unknown to this reader"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_told(tmp_path: Path, lines: Sequence[str], wishes: dict[str, Any], told: str) -> None:
    assert told in refused(csv(tmp_path, *lines), **wishes)


def test_a_wrong_catalog_or_name_is_told_before_the_sample_is_read(tmp_path: Path) -> None:
    path = csv(tmp_path, "a,b", '1,"2', "3,4")  # cannot be read
    catalog = tmp_path / "my-catalog.yaml"
    entry = {"name": "wagons", "dataset": "stations", "reader": "csv", "location": "a.csv"}
    for sources, told in (([{**entry, "simulated": True}], "has simulated sources"), ([entry], "already has a source")):
        catalog.write_text(yaml.safe_dump({"sources": sources}), encoding="utf-8")
        assert told in refused(path)
    catalog.unlink()
    assert "'no-name' cannot be the name of a dataset" in refused(path, dataset="no-name")
    with pytest.raises(SourceError, match="never closed"):
        scaffold(path)


def test_a_cell_without_a_name_is_told_by_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"a": 1, "": 2}]), encoding="utf-8")
    told = "column 2 (B) has no name, the header reads 'a', a cell without a name: name it in the sample"
    assert refused(tmp_path / "a.json") == told


def test_values_with_two_readings_name_the_option_of_this_command(tmp_path: Path) -> None:
    path = csv(tmp_path, "gare;t", "DLA;1.250", "YDE;2.400")
    with pytest.raises(SourceError) as caught:
        scaffold(path)
    assert caught.value.remedy == 'say it: `--option "decimal=."` or `--option "decimal=,"`'
    days = csv(tmp_path, "code,le", "A1,01/02/2026", "A2,03/02/2026", name="days.csv")
    with pytest.raises(SourceError) as caught:
        scaffold(days)
    assert caught.value.remedy == 'say it: `--option "day_first=true"` or `--option "day_first=false"`'
    made = scaffold(days, options={"day_first": "false"})
    assert (entry(made)["options"], made.counts.inserted) == ({"day_first": False}, 2)
    assert entry(scaffold(path, options={"decimal": ","}))["options"] == {"delimiter": ";", "decimal": ","}


def test_rows_that_are_no_data_are_left_out_of_the_sample(tmp_path: Path) -> None:
    path = csv(tmp_path, "gare;t", "DLA;1", "YDE;3", "TOTAL;4", "2 lignes")
    given = {"skip_rows_where": "[{gare: ^TOTAL}, {gare: lignes$}]"}
    made = scaffold(path, options=given)
    assert (made.counts, made.contract.business_key) == (LoadCounts(read=2, inserted=2), ("gare",))
    rules = [{"gare": "^TOTAL"}, {"gare": "lignes$"}]
    assert entry(made)["options"] == {"delimiter": ";", "skip_rows_where": rules}
    assert "no row of the sample matches" in refused(path, options={"skip_rows_where": "{gare: ^SOMME}"})


def test_the_data_of_a_packed_sample_are_chosen_by_members(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("README.txt", "words")
        packed.writestr("wagons.csv", "gare,t\nDLA,1\n")
    told = "it holds a.zip/README.txt, a.zip/wagons.csv: name those with data, such as --option 'members=*.csv'"
    assert refused(tmp_path / "a.zip") == told
    made = scaffold(tmp_path / "a.zip", options={"members": "*.csv"})
    assert entry(made)["options"] == {"members": "*.csv"}
    assert (made.data and made.data.name, made.counts.read) == ("a.zip_wagons.csv", 1)


def test_a_file_that_is_not_there_or_tells_no_reader_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no file is there"):
        scaffold(tmp_path / "none.csv")
    assert "no reader has this suffix: name one" in refused(csv(tmp_path, "a,b", "1,2", name="export.dat"))
    made = scaffold(csv(tmp_path, "a,b", "1,2", name="[x] export.dat"), reader="csv")
    assert made.data
    assert (made.counts.read, made.data.name) == (1, "_x_export.dat")


# --- A dataset that there is -------------------------------------------------------------------------------------


def test_a_header_of_a_known_dataset_needs_an_entry_and_a_test_only(tmp_path: Path) -> None:
    path = csv(tmp_path, HEADER, *map(TRANSACTION.format, range(50)), name="erp_20260201_083000.csv")
    made = scaffold(path, "erp_douala")
    assert (made.is_new, made.contract.dataset, made.to_decide) == (False, "transactions", [])
    assert [path.name for path in made.new] == ["erp_20260201_083000.csv", "test_erp_douala.py"]
    assert [path.name for path in made.changed] == ["my-catalog.yaml"]
    assert entry(made)["location"] == "erp_{day:%Y%m%d}_*.csv"
    assert made.counts == LoadCounts(read=20, inserted=20)
    assert data_of(made).decode().splitlines() == path.read_text(encoding="utf-8").splitlines()[:21]
    assert '"transaction_at": datetime(2026, 2, 1, 9, 0, tzinfo=UTC)' in texts(made)["test_erp_douala.py"]


def test_headers_that_a_known_dataset_lacks_are_proposed_as_aliases(tmp_path: Path) -> None:
    header = "N° mouvement,machine,date,tonnage,statut"
    made = scaffold(csv(tmp_path, header, TRANSACTION.format(1)), "erp")
    (question,) = made.to_decide
    assert question.startswith("transaction_id: whether its header is 'N° mouvement': if so, add it to its aliases in ")
    assert made.counts == LoadCounts(read=1, inserted=1)


def test_what_is_not_of_the_dataset_that_was_named_is_told(tmp_path: Path) -> None:
    more = csv(tmp_path, f"{HEADER},operateur", f"{TRANSACTION.format(1)},Paul")
    assert "its header also has 'operateur'" in refused(more, dataset="transactions")
    assert scaffold(more, key=["transaction_id"]).is_new
    fewer = csv(tmp_path, "transaction_id,date", "TRX-1,2026-02-01 10:00:00")
    assert "its header lacks 'machine_id', 'volume_transferred_t', 'status_code'" in refused(
        fewer, dataset="transactions"
    )
    bad = csv(tmp_path, HEADER, TRANSACTION.format(1), "TRX-2,MCH-001,never,30,OK")
    told = refused(bad, dataset="transactions")
    assert "1 of 2 rows of the sample break the contract of transactions (transaction_at: wrong_type)" in told
    assert "--key: the contract of transactions defines its key" in refused(bad, key=["machine_id"])


# --- The entry ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "location"),
    [
        ("a.csv", "a.csv"),
        ("a_v2.csv", "a_v2.csv"),
        ("a_20260201.csv", "a_{day:%Y%m%d}.csv"),
        ("a 2026_02-01 b.csv", "a {day:%Y_%m-%d} b.csv"),
        ("a_20260101_20260131.csv", "a_*_{day:%Y%m%d}.csv"),
        ("a_20260201T0830_0001.csv", "a_{day:%Y%m%d}T*_*.csv"),
        ("[a]_20260201.csv", "[[]a]_{day:%Y%m%d}.csv"),
    ],
)
def test_a_date_in_the_name_becomes_a_day(tmp_path: Path, name: str, location: str) -> None:
    path = csv(tmp_path, "a,b", "1,2", name=name)
    sample = read_sample(find_sample(path), "csv", {}, [])
    written = entry_of("a", "stations", sample, path, tmp_path / "catalog.yaml")
    assert written["location"] == location
    assert [file.name for file in find_files(Source(**written).of_all_days, tmp_path)] == [name]


@pytest.mark.parametrize(
    "text",
    [
        "# ours\nsources:\n- name: a  # first\n  dataset: stations\n  reader: csv\n  location: a.csv",
        "sources:\r\n  - name: a\r\n    dataset: stations\r\n    reader: csv\r\n    location: a.csv\r\n",
        "sources:\n    - name: a\n      dataset: stations\n      reader: csv\n      location: a.csv\n\n# the end\n",
    ],
    ids=["no indent", "of Windows", "four"],
)
def test_an_entry_comes_behind_the_others_and_what_was_there_stays(tmp_path: Path, text: str) -> None:
    catalog = tmp_path / "catalog.yaml"
    catalog.write_bytes(text.encode())
    source = {
        "name": "b",
        "dataset": "stations",
        "reader": "csv",
        "location": "é: [1] #.csv",
        "options": {"decimal": ","},
    }
    whole = with_entry(catalog, source)
    assert whole.startswith(text.rstrip())
    assert whole.count("\r\n") in (0, whole.count("\n"))
    catalog.write_bytes(whole.encode())
    assert [source.name for source in read_catalog(catalog).sources] == ["a", "b"]


def with_one_more(catalog: Path) -> None:
    refuse_unfit(catalog, "b")
    with_entry(catalog, {"name": "b", "dataset": "stations", "reader": "csv", "location": "b.csv"})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "sources: [{name: a, dataset: stations, reader: csv, location: a.csv}]",
            "is not written as a list of entries",
        ),
        ("sources:\n  - {name: b, dataset: stations, reader: csv, location: a.csv}", "already has a source 'b'"),
        ((PROJECT_ROOT / "catalog.yaml").read_text(encoding="utf-8"), "simulated sources, which cannot mix with real"),
        ("sources: none", "catalog.yaml: sources"),
    ],
    ids=["flow", "taken", "simulated", "wrong"],
)
def test_a_catalog_that_takes_no_entry_is_told(tmp_path: Path, text: str, told: str) -> None:
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=told):
        with_one_more(catalog)


# --- What goes into the test -------------------------------------------------------------------------------------


def test_a_sample_is_cut_to_its_first_rows_in_its_own_format(tmp_path: Path) -> None:
    made = scaffold(csv(tmp_path, "titre", "code;note", *(f'A{n};"zwei\nZeilen"' for n in range(9))), rows=2)
    assert data_of(made) == b'titre\ncode;note\nA0;"zwei\nZeilen"\nA1;"zwei\nZeilen"\n'
    records = [{"code": f"A{n}", **({"late": True} if n == 7 else {})} for n in range(9)]
    (tmp_path / "a.json").write_text(json.dumps({"items": records}), encoding="utf-8")
    made = scaffold(tmp_path / "a.json", rows=2)
    assert json.loads(data_of(made)) == [records[0], records[1], records[7]]
    assert made.counts == LoadCounts(read=3, inserted=3)


def test_options_are_given_as_texts_and_kept_in_the_entry(tmp_path: Path) -> None:
    write_workbook(tmp_path / "wagons.xlsx")
    made = scaffold(tmp_path / "wagons.xlsx", options={"sheet": "Wagons", "header_row": "2"})
    assert entry(made)["options"] == {"sheet": "Wagons", "header_row": 2}
    quoted = csv(tmp_path, "code,t", 'A1,"1,5"', 'A2,"2"')
    assert columns(scaffold(quoted, options={"decimal": ","}).contract)["t"] == ("number", "", True)


def test_a_workbook_is_cut_to_the_sheet_and_the_rows_that_are_tested(tmp_path: Path) -> None:
    write_workbook(tmp_path / "wagons.xlsx")
    made = scaffold(tmp_path / "wagons.xlsx", rows=1)
    (tmp_path / "cut.xlsx").write_bytes(data_of(made))
    book = openpyxl.load_workbook(tmp_path / "cut.xlsx")
    assert book.sheetnames == ["Wagons"]
    assert [row[0] for row in book["Wagons"].values] == ["Parc au 1 février", "Numéro", 42]
    assert made.counts == LoadCounts(read=1, inserted=1)
    assert '"numero": "0042"' in texts(made)["test_wagons.py"]


def test_a_workbook_whose_header_cannot_be_found_again_stays_whole(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["code", 7])
    book.active.cell(1, 2).number_format = "000"
    for number in range(3):
        book.active.append([f"A{number}", number])
    book.save(tmp_path / "codes.xlsx")
    assert scaffold(tmp_path / "codes.xlsx", rows=1).counts == LoadCounts(read=3, inserted=3)


def test_what_is_large_even_if_cut_is_no_sample(tmp_path: Path) -> None:
    path = csv(tmp_path, "code,note", *(f"A{number},{'x' * 40_000}" for number in range(40)))
    assert "is too large for a test, even after a cut: use a sample of at most 1 MiB" in refused(path, rows=30)
    assert scaffold(path, rows=3).counts == LoadCounts(read=3, inserted=3)


def test_an_installation_keeps_no_rows_so_a_sample_may_be_large(tmp_path: Path) -> None:
    path = csv(tmp_path, HEADER, *(TRANSACTION.format(number) for number in range(30_000)))
    wish = Wish("erp", path, rows=30_000)
    made = scaffold_source(wish, tmp_path / "site-packages", tmp_path / "my-catalog.yaml", NOW)
    assert (made.data, made.new, list(made.changed)) == (None, {}, [tmp_path / "my-catalog.yaml"])
    assert made.counts == LoadCounts(read=30_000, inserted=30_000)
    assert "is too large for a test" in refused(path, rows=30_000)


def test_rows_that_cannot_be_cut_into_cells_are_counted(tmp_path: Path) -> None:
    rows = [f"A{number};1;x" for number in range(9)]
    made = scaffold(csv(tmp_path, "code;n;t", *rows, "A9;1"), key=["code"])
    assert made.counts == LoadCounts(read=10, inserted=9, quarantined=1)
