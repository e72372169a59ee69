"""Totals, counts and signatures are no data: `skip_rows_where` leaves them out of every reader, and counts them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from freight.console.summary import bad_row_lines
from freight.errors import ConfigurationError
from freight.pipeline import check_source
from freight.readers.options import ReaderOptions
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import NOW, Corridor, nightly
from tests.lib.workbooks import WRITERS

HEADER = ("id", "machine", "date", "volume", "statut")
ROWS = [(f"TRX-{n}", "MCH-001", f"2026-02-01 1{n}:00:00", f"{n}.5", "OK") for n in range(1, 5)]
TOTAL = ("", "TOTAL du mois", "", "1234", "")
COUNT = ("Nombre de lignes: 4",)  # has no other cell
SIGNED = ("Signé", "A. Ngo", "", "", "", "Douala")  # has one cell too many
FILE = "erp_20260202.csv"
FOOTERS = {"machine": "^TOTAL"}, {"id": "^(Nombre de lignes|Signé)"}


def write_csv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    path.write_text("".join(f"{';'.join(row)}\n" for row in rows), encoding="utf-8")


def write_odd_csv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write a file that has to be cut record by record."""
    write_csv(path, [rows[0], *([*row[:1], f' "{row[1]}"', *row[2:]] if len(row) > 1 else row for row in rows[1:])])


def write_workbook(path: Path, rows: Sequence[Sequence[str]]) -> None:
    WRITERS[".xlsx"](path, {"Feuil1": rows})


def write_json(path: Path, rows: Sequence[Sequence[str]]) -> None:
    records: list[Any] = [dict(zip(HEADER, row, strict=False)) for row in rows[1:-1]]
    path.write_text(json.dumps([*records, [*rows[-1]]]), encoding="utf-8")


def write_lines(path: Path, rows: Sequence[Sequence[str]]) -> None:
    records = [json.dumps(dict(zip(HEADER, row, strict=False))) for row in rows[1:-1]]
    path.write_text("\n".join([*records, rows[-1][0]]), encoding="utf-8")


KINDS: dict[str, tuple[str, Callable[[Path, Sequence[Sequence[str]]], None]]] = {
    "csv": ("csv", write_csv),
    "csv-with-odd-quotes": ("csv", write_odd_csv),
    "excel": ("excel", write_workbook),
    "json": ("json", write_json),
    "jsonl": ("jsonl", write_lines),
}


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    return nightly(tmp_path, warehouse.engine)


def ends(corridor: Corridor, reader: str, rules: object) -> tuple[Any, ...]:
    """Load the file; return the counts of its rows that are read, stored and in quarantine, and the words."""
    corridor.sources[-1].update(reader=reader, options={"skip_rows_where": rules} if rules else {})
    outcome = next(one for one in corridor.load().outcomes if one.source == "erp")
    counts = outcome.counts
    return outcome.state, counts.read, counts.inserted, counts.quarantined, outcome.message


@pytest.mark.parametrize(("reader", "write"), KINDS.values(), ids=KINDS)
def test_what_is_no_data_is_left_out_and_counted(
    corridor: Corridor, reader: str, write: Callable[[Path, Sequence[Sequence[str]]], None]
) -> None:
    write(corridor.folder / FILE, [HEADER, *ROWS, TOTAL, COUNT, SIGNED])
    found = ends(corridor, reader, [*FOOTERS])
    assert found == ("loaded", 4, 4, 0, "skip_rows_where leaves out 3 rows")
    kept = [json.loads(read_as) for source, read_as in corridor.rows("batches", "source", "read_as") if source == "erp"]
    assert [facts["skipped_rows"] for facts in kept] == ["3"]


def test_without_the_option_they_are_quarantined(corridor: Corridor) -> None:
    corridor.sources[-1]["quarantine_limit"] = 0.5
    write_csv(corridor.folder / FILE, [HEADER, *ROWS, TOTAL, COUNT, SIGNED])
    assert ends(corridor, "csv", None) == ("loaded", 7, 4, 3, "")


def test_a_check_names_the_option_for_a_row_like_a_total(corridor: Corridor) -> None:
    write_csv(corridor.folder / FILE, [HEADER, *ROWS, TOTAL])
    (check,) = check_source(corridor.engine, corridor.catalog.named("erp"), NOW)
    hint = 'if such rows are no data, leave them out: `options: {skip_rows_where: {"machine_id": "^TOTAL"}}`'
    assert bad_row_lines(check)[-1] == hint
    found = ends(corridor, "csv", yaml.safe_load(hint.split("`")[1])["options"]["skip_rows_where"])
    assert found[:4] == ("loaded", 4, 4, 0)
    assert len(bad_row_lines(check_source(corridor.engine, corridor.catalog.named("erp"), NOW)[0])) == 0


def test_a_row_has_to_match_each_pattern_of_a_rule(corridor: Corridor) -> None:
    nameless = ("", *ROWS[0][1:])
    write_csv(corridor.folder / FILE, [HEADER, *ROWS, nameless, TOTAL])
    found = ends(corridor, "csv", {"machine": "^TOTAL", "id": "^$"})
    assert found == ("loaded", 5, 4, 1, "skip_rows_where leaves out 1 row")


@pytest.mark.parametrize("name", ["machine", " MACHINE", "machine_id"], ids=["header", "any-case", "column"])
def test_a_rule_names_a_header_or_a_column(corridor: Corridor, name: str) -> None:
    write_csv(corridor.folder / FILE, [HEADER, *ROWS, TOTAL])
    assert ends(corridor, "csv", {name: "^TOTAL"})[:4] == ("loaded", 4, 4, 0)


def test_a_rule_that_matches_nothing_is_told(corridor: Corridor) -> None:
    write_csv(corridor.folder / FILE, [HEADER, *ROWS])
    assert ends(corridor, "csv", {"machine": "^TOTAL"})[-1] == "skip_rows_where leaves out no row, since none matches"


def test_a_rule_that_matches_everything_is_refused(corridor: Corridor) -> None:
    write_csv(corridor.folder / FILE, [HEADER, *ROWS])
    state, *_, told = ends(corridor, "csv", {"machine": "MCH"})
    assert state == "failed"
    assert "skip_rows_where in the catalog leaves out all of its 4 rows [header_only]" in told


def test_a_rule_over_a_column_that_is_not_there_is_refused(corridor: Corridor) -> None:
    write_csv(corridor.folder / FILE, [HEADER, *ROWS])
    state, *_, told = ends(corridor, "csv", {"libelle": "^TOTAL"})
    assert state == "failed"
    assert "skip_rows_where in the catalog names 'libelle', but the header reads 'id', 'machine'" in told


def test_a_row_with_bytes_that_are_no_text_is_left_out_as_well(corridor: Corridor) -> None:
    write_csv(corridor.folder / FILE, [HEADER, *ROWS, ("é" * 20, *ROWS[0][1:])])
    with (corridor.folder / FILE).open("ab") as stream:
        stream.write(b";TOTAL g\xe9n\xe9ral;;12;\n")
    assert ends(corridor, "csv", [{"machine": "^TOTAL"}, {"id": "^é"}])[:4] == ("loaded", 4, 4, 0)


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"machine": "(TOTAL"}, "'(TOTAL' is no regular expression"),
        ({}, "it needs a column"),
        ("^TOTAL", "Input should be a valid list"),
        ({"machine": 5}, "Input should be a valid string"),
    ],
)
def test_a_wrong_rule_is_refused_with_the_catalog(rules: object, told: str) -> None:
    with pytest.raises(ConfigurationError, match=r"options > skip_rows_where: ") as refused:
        ReaderOptions.of({"skip_rows_where": rules})
    assert told in str(refused.value)


def test_a_command_line_takes_a_rule_as_the_catalog_does() -> None:
    given = ReaderOptions.of_texts({"skip_rows_where": "{machine: ^TOTAL}"})
    assert given.skip_rows_where == ReaderOptions.of({"skip_rows_where": {"machine": "^TOTAL"}}).skip_rows_where
