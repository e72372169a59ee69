"""What becomes of rows of a micro-batch that meet stored ones, a changed history, or a warehouse that refuses them."""

from pathlib import Path

import pytest

from freight.care.reconcile import reconcile
from freight.errors import RowsRefused
from freight.streaming.poison import PoisonLimits, PoisonWatch
from freight.types import LoadCounts
from freight.warehouse import bulk, refused, upsert
from freight.warehouse.aggregates import refresh_aggregates
from freight.warehouse.connect import Engine
from tests.conftest import NewReader, WarehouseUnderTest
from tests.lib.corridor import nightly
from tests.lib.stream_reader import terminal_event
from tests.lib.streams import event, rows
from tests.lib.tables import forbid

FACTS = "SELECT transaction_id, volume_transferred_t FROM fact_transactions ORDER BY 1"


def assert_proven(engine: Engine) -> None:
    refresh_aggregates(engine)
    assert reconcile(engine) == []


def test_new_stored_changed_and_older_rows_share_a_micro_batch(new_reader: NewReader) -> None:
    reader = new_reader()
    reader.loader.load(reader.batch([event(1), event(2)], [event(3), event(4)], sent_us=10))
    mixed = reader.batch([event(1), event(2, 99.0), event(5)], [event(3, 1.0), event(6), event(7)], sent_us=20)
    assert reader.loader.load(mixed) == LoadCounts(read=6, inserted=3, updated=2, unchanged=1)
    clock_went_back = reader.batch([event(2, 50.0), event(8)], [], sent_us=5)
    assert reader.loader.load(clock_went_back) == LoadCounts(read=2, inserted=1, updated=1)
    other = new_reader("another")
    older = other.batch([event(2, 60.0)], [], sent_us=5)
    assert other.loader.load(older) == LoadCounts(read=1, superseded=1)
    expected = {1: 12.5, 2: 50.0, 3: 1.0, 4: 12.5, 5: 12.5, 6: 12.5, 7: 12.5, 8: 12.5}
    assert rows(reader.engine, FACTS) == [(f"TRX-{number}", volume) for number, volume in expected.items()]
    assert_proven(reader.engine)


def test_a_key_that_somebody_stores_after_the_look_is_met_all_the_same(
    new_reader: NewReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = new_reader()
    reader.loader.load(reader.batch([event(1)], [event(2)], sent_us=10))
    honest = bulk.stored_keys
    monkeypatch.setattr(upsert, "stored_keys", lambda *asked: honest(*asked) & False)
    assert reader.loader.load(reader.batch([event(1, 7.0)], [event(3)], sent_us=20)) == LoadCounts(
        read=2, inserted=1, updated=1
    )
    assert rows(reader.engine, FACTS) == [("TRX-1", 7.0), ("TRX-2", 12.5), ("TRX-3", 12.5)]
    assert_proven(reader.engine)


def test_a_listener_sites_by_the_history_as_it_is_now(
    new_reader: NewReader, warehouse: WarehouseUnderTest, tmp_path: Path
) -> None:
    """It remembers the history from one micro-batch to the next, but only as long as nobody changes it."""
    corridor = nightly(tmp_path, warehouse.engine)
    reader = new_reader()
    sites = {}
    for number, site in enumerate(("Douala", "Edéa"), start=1):
        machine = {"machine_id": "MCH-001", "site_location": site, "installation_year": 2010}
        corridor.write_machines(f"machines_2026010{number}.json", [machine])
        corridor.load()
        for half in (1, 2):
            reader.loader.load(reader.batch([event(10 * number + half)], []))
        sites[number] = rows(reader.engine, "SELECT DISTINCT site_location FROM fact_transactions WHERE batch_id > 0")
    assert sites == {1: [("Douala",)], 2: [("Edéa",)]}
    assert_proven(reader.engine)


@pytest.mark.parametrize("dataset", ["transactions", "terminal_events"])
def test_rows_that_the_warehouse_refuses_are_quarantined_and_their_neighbours_load(
    new_reader: NewReader, dataset: str
) -> None:
    reader = new_reader(dataset=dataset)
    make = event if dataset == "transactions" else terminal_event
    table, key = reader.stream.contract.table, reader.stream.contract.business_key[0]
    prefix = "TRX" if dataset == "transactions" else "EVT"
    forbid(reader.engine, table, f"{key} IN ('{prefix}-3', '{prefix}-7')")
    batch = reader.batch([make(number) for number in range(5)], [make(7), b"bad", make(8)])
    assert reader.loader.load(batch) == LoadCounts(read=8, inserted=5, quarantined=3)
    found = rows(
        reader.engine, "SELECT location, row_number, reason, raw FROM quarantine ORDER BY location, row_number"
    )
    place = f"freight.{dataset}"
    assert [(location, offset, reason, bytes(raw)) for location, offset, reason, raw in found] == [
        (f"{place}/0", 3, "refused_by_warehouse", make(3)),
        (f"{place}/1", 0, "refused_by_warehouse", make(7)),
        (f"{place}/1", 1, "not_json", b"bad"),
    ]
    assert "forbidden" in str(rows(reader.engine, "SELECT detail FROM quarantine WHERE row_number = 3"))
    assert_proven(reader.engine)


def test_a_table_that_refuses_everything_stops_the_load(new_reader: NewReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused, "MOST_REFUSED", 3)
    reader = new_reader()
    forbid(reader.engine, "fact_transactions", "true")
    with pytest.raises(RowsRefused, match="forbidden"):
        reader.loader.load(reader.batch([event(number) for number in range(4)], []))
    assert rows(reader.engine, "SELECT 1 FROM fact_transactions") == []
    assert rows(reader.engine, "SELECT 1 FROM quarantine") == []


def test_messages_that_turn_out_bad_when_they_are_loaded_count_as_poison(new_reader: NewReader) -> None:
    reader = new_reader()
    watch = PoisonWatch(PoisonLimits(share=0.3, enough=4))
    assert watch.judge(reader.batch([event(1), event(2)], [])) is None
    watch.add(2)
    assert watch.judge(reader.batch([event(3), event(4)], [])) == ("2 of the last 4 messages are bad, more than 30%")
