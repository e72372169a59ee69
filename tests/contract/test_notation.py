"""Values that can be read in two ways load right or not at all, from every kind of file, and the option decides."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from freight.pipeline import check_source, preview_source
from freight.quarantine.replay import replay
from freight.types import RunId
from freight.warehouse import ledger
from freight.warehouse.connect import transaction
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import NOW, Corridor, nightly

HEADER: list[object] = ["id", "machine", "date", "volume", "statut"]
DAY = "2026-02-01 10:00:00"

Rows = list[list[object]]


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    return nightly(tmp_path, warehouse.engine)


def of(*volumes: object, dates: tuple[object, ...] = ()) -> Rows:
    at = dates or (DAY,) * len(volumes)
    return [[f"TRX-{n}", "MCH-001", at[n], volume, "OK"] for n, volume in enumerate(volumes)]


def csv(path: Path, rows: Rows) -> None:
    lines = [";".join(str(cell) for cell in row) for row in [HEADER, *rows]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def excel(path: Path, rows: Rows) -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in [HEADER, *rows]:
        book.active.append(row)
    book.save(path)


def json_list(path: Path, rows: Rows) -> None:
    path.write_text(json.dumps([dict(zip(HEADER, row, strict=True)) for row in rows]), encoding="utf-8")


def jsonl(path: Path, rows: Rows) -> None:
    path.write_text("".join(json.dumps(dict(zip(HEADER, row, strict=True))) + "\n" for row in rows), encoding="utf-8")


WRITERS: dict[str, Callable[[Path, Rows], None]] = {"csv": csv, "excel": excel, "json": json_list, "jsonl": jsonl}
TYPED = ["excel", "json", "jsonl"]  # tell numbers from text


def deliver(corridor: Corridor, reader: str, rows: Rows, **options: object) -> None:
    suffix = {"excel": "xlsx"}.get(reader, reader)
    corridor.sources[-1] |= {"reader": reader, "location": f"erp*.{suffix}", "options": options}
    WRITERS[reader](corridor.folder / f"erp_20260202.{suffix}", rows)


def load_again(corridor: Corridor, **options: object) -> None:
    corridor.sources[-1]["options"] = options
    with transaction(corridor.engine) as connection:
        ledger.release(connection, None, NOW)
    assert corridor.load().failures == []


def volumes(corridor: Corridor) -> list[float | None]:
    return [volume for _, volume in corridor.rows("fact_transactions", "transaction_id", "volume_transferred_t")]


def instants(corridor: Corridor) -> list[datetime]:
    rows = sorted(corridor.stored("transactions"), key=lambda row: row["transaction_id"])
    return [row["transaction_at"] for row in rows]


def first_of_day(*days: tuple[int, int]) -> list[datetime]:
    return [datetime(2026, month, day, 7, tzinfo=UTC) for month, day in days]


@pytest.mark.parametrize("reader", WRITERS)
def test_numbers_as_text_without_proof_are_refused_and_the_option_loads_them(corridor: Corridor, reader: str) -> None:
    deliver(corridor, reader, of("1.250", "2.400", "987,5"))
    (failure,) = corridor.load().failures
    assert "'1.250' can be 1.250 or 1250" in failure.message
    load_again(corridor, decimal=",")
    assert volumes(corridor) == [1250, 2400, 987.5]


@pytest.mark.parametrize("reader", TYPED)
def test_numbers_of_the_file_itself_are_never_read_by_the_marks_of_its_texts(corridor: Corridor, reader: str) -> None:
    deliver(corridor, reader, of(1.25, 12.5, 2400, "1.250,5", "1.250", "3,5"))
    assert corridor.load().failures == []
    assert volumes(corridor) == [1.25, 12.5, 2400, 1250.5, 1250, 3.5]


@pytest.mark.parametrize("reader", TYPED)
def test_a_replay_reads_numbers_and_texts_of_a_row_as_the_load_did(corridor: Corridor, reader: str) -> None:
    late = "02-Feb-26 08:00"
    corridor.sources[-1]["quarantine_limit"] = 1
    deliver(corridor, reader, of(1.125, "2.400,5", "1.250", dates=(late, DAY, late)))
    assert corridor.load().counts("erp").quarantined == 2
    stored = [json.loads(bytes(raw)) for (raw,) in corridor.rows("quarantine", "raw", order_by="quarantine_id")]
    assert [row["volume_transferred_t"] for row in stored] == [1.125, "1.250"]
    corridor.sources[-1]["options"] = {"formats": {"transaction_at": ["%d-%b-%y %H:%M", "%Y-%m-%d %H:%M:%S"]}}
    (outcome,) = replay(corridor.engine, corridor.catalog, run_id=RunId("r"), source=None, clock=lambda: NOW)
    assert (outcome.counts.inserted, outcome.waiting) == (2, 0)
    assert volumes(corridor) == [1.125, 2400.5, 1250]


@pytest.mark.parametrize("reader", WRITERS)
def test_one_day_after_the_12th_decides_for_all_days_of_the_file(corridor: Corridor, reader: str) -> None:
    deliver(corridor, reader, of(1, 2, dates=("03/02/2026 08:00", "13/02/2026 08:00")))
    assert corridor.load().failures == []
    assert instants(corridor) == first_of_day((2, 3), (2, 13))


@pytest.mark.parametrize("reader", WRITERS)
def test_days_without_proof_are_refused_and_the_option_loads_them(corridor: Corridor, reader: str) -> None:
    deliver(corridor, reader, of(1, 2, dates=("01/02/2026 08:00", "02/01/2026 08:00")))
    (failure,) = corridor.load().failures
    assert "'01/02/2026' can have the day or the month first" in failure.message
    load_again(corridor, day_first=False)
    assert instants(corridor) == first_of_day((1, 2), (2, 1))


def test_an_option_that_contradicts_the_file_is_refused(corridor: Corridor) -> None:
    deliver(corridor, "csv", of("12.5", "1.250", dates=("13/02/2026 08:00", "01/02/2026 08:00")), decimal=",")
    (failure,) = corridor.load().failures
    assert "numbers have a decimal comma, but '12.5' has a decimal point" in failure.message
    corridor.sources[-1]["options"] = {"decimal": ".", "day_first": False}
    with transaction(corridor.engine) as connection:
        ledger.release(connection, None, NOW)
    (failure,) = corridor.load().failures
    assert "the month comes first, but '13/02/2026' has the day first" in failure.message


def test_disputed_days_wait_with_words_until_the_catalog_decides(corridor: Corridor) -> None:
    days = ("13/02/2026 08:00", "14/02/2026 08:00", "15/02/2026 08:00", "01/02/2026 08:00", "02/16/2026 08:00")
    deliver(corridor, "csv", of(1, 2, 3, 4, 5, dates=days))
    corridor.sources[-1]["quarantine_limit"] = 1
    assert corridor.load().counts("erp").inserted == 3
    assert corridor.rows("quarantine", "reason", order_by="quarantine_id") == [("two_readings",), ("wrong_type",)]
    corridor.sources[-1]["options"] = {"day_first": True}
    (outcome,) = replay(corridor.engine, corridor.catalog, run_id=RunId("r"), source=None, clock=lambda: NOW)
    assert (outcome.counts.inserted, outcome.waiting) == (1, 1)
    assert instants(corridor)[3] == datetime(2026, 2, 1, 7, tzinfo=UTC)


@pytest.mark.parametrize("reader", WRITERS)
def test_formats_and_empties_are_read_as_the_catalog_says(corridor: Corridor, reader: str) -> None:
    options: dict[str, Any] = {"formats": {"transaction_at": "%d-%b-%y %H:%M"}, "null_values": ["n/a", "-"]}
    deliver(corridor, reader, of("n/a", "N/A", "-", 4, dates=("02-Feb-26 08:00",) * 4), **options)
    assert corridor.load().failures == []
    assert (volumes(corridor), set(instants(corridor))) == ([None, None, None, 4], {*first_of_day((2, 2))})


def test_days_that_mean_none_are_quarantined_or_empty_as_the_catalog_says(corridor: Corridor) -> None:
    corridor.sources[-1]["quarantine_limit"] = 1
    deliver(corridor, "csv", of(1, 2, 3, dates=("0001-01-01 00:00:00", "9999-12-31 00:00:00", DAY)))
    assert corridor.load().counts("erp").inserted == 1
    assert corridor.rows("quarantine", "reason", order_by="quarantine_id") == [("out_of_range",)] * 2
    corridor.sources[-1]["options"] = {"null_values": ["0001-01-01", "9999-12-31"]}
    (outcome,) = replay(corridor.engine, corridor.catalog, run_id=RunId("r"), source=None, clock=lambda: NOW)
    assert outcome.waiting == 2
    assert "transaction_at" in corridor.rows("quarantine", "detail", order_by="1")[0][0]


def test_texts_that_look_alike_are_one_key_and_unseen_signs_are_refused(corridor: Corridor) -> None:
    machines = [
        {"machine_id": "MCH-001", "site_location": "Garoua\u00a0Boulaï", "installation_year": 2010},
        {"machine_id": "MCH-002", "site_location": "Garoua Boulai\u0308", "installation_year": 2010},
        {"machine_id": "MCH-003", "site_location": "Garoua\u200bBoulaï", "installation_year": 2010},
        {"machine_id": "MCH-004\ufeff", "site_location": "Garoua Boulaï", "installation_year": 2010},
    ]
    corridor.sources[0]["quarantine_limit"] = 1
    corridor.write_machines("machines_20260101.json", machines)
    (outcome,) = [one for one in corridor.load().outcomes if one.source == "machines"]
    assert outcome.message == "2 texts got plain spaces and whole accents"
    assert {row["site_location"] for row in corridor.stored("machines")} == {"Garoua Boulaï"}
    assert corridor.rows("quarantine", "reason", order_by="1") == [("control_character",), ("pattern",)]


def test_check_preview_and_ledger_name_the_decision_and_its_proof(corridor: Corridor) -> None:
    deliver(corridor, "csv", of("1.250", "12,5", "1.250,5", dates=("03/02/2026 08:00",) * 2 + ("13/02/2026 08:00",)))
    source = corridor.catalog.named("erp")
    (check,) = check_source(corridor.engine, source, NOW)
    proofs = ("encoding 'utf-8'", "delimiter ';'", "decimal comma, as '12,5' in row 3", "day first, as '13/02/2026")
    for seen in (check.read_as, preview_source(source, NOW, 5).read_as):
        assert all(proof in seen for proof in proofs), seen
    corridor.load()
    ((stored,),) = corridor.rows("batches WHERE source = 'erp'", "read_as", order_by="1")
    assert json.loads(stored).items() >= {"numbers": ", groups", "day_first": True, "encoding": "utf-8"}.items()
