"""When datasets were last loaded, where somebody expects that to go on: on both engines."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from freight.types import RunId
from freight.warehouse.connect import Engine, reading, transaction
from freight.warehouse.freshness import newest_loads
from freight.warehouse.schema import batches, stream_positions
from freight.warehouse.streams import ListenerRef, ListenerSign, Stream, note_listener
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import nightly

NOW = datetime(2026, 3, 16, 12, tzinfo=UTC)
STREAM = Stream("terminal_events", "freight.terminal-events", "dpa")
SIGN = ListenerSign("listening", 1, 0, 0, NOW, NOW, None)
ENDED = replace(SIGN, state="completed", ended_at=NOW)
FAILED = replace(ENDED, state="failed")


def note_batch(engine: Engine, dataset: str, source: str, loaded_at: datetime, **more: object) -> None:
    values = {
        **dict.fromkeys(("read_rows", "inserted", "updated", "unchanged", "superseded", "quarantined"), 0),
        **{"run_id": "r", "cause": "load", "contract_version": 1, "location": "x", "content_id": "", "size_bytes": 0},
        **{"as_of": loaded_at, "decimal_mark": ".", "simulated": False, "loaded_at": loaded_at},
        **{"dataset": dataset, "source": source, **more},
    }
    with transaction(engine) as connection:
        connection.execute(batches.insert().values(values))


def note_position(engine: Engine) -> None:
    values = {"consumer_group": STREAM.group, "topic": STREAM.topic, "topic_id": "t", "partition_number": 0}
    values |= {"first_offset": 0, "next_offset": 1, "listener_id": "l", "moved_at": NOW}
    with transaction(engine) as connection:
        connection.execute(stream_positions.insert().values(values))


def found(engine: Engine) -> dict[str, datetime]:
    with reading(engine) as connection:
        return newest_loads(connection)


def test_the_newest_load_of_each_dataset_counts_whatever_its_source(warehouse: WarehouseUnderTest) -> None:
    assert found(warehouse.engine) == {}
    note_batch(warehouse.engine, "transactions", "erp_csv", NOW - timedelta(hours=2))
    note_batch(warehouse.engine, "transactions", "erp_excel", NOW)
    note_batch(warehouse.engine, "transactions", "erp_excel", NOW + timedelta(hours=1), cause="replay")
    note_batch(warehouse.engine, "stations", "stations", NOW, simulated=True)
    assert found(warehouse.engine) == {"transactions": NOW}


@pytest.mark.parametrize(
    ("signs", "is_expected"),
    [
        ([], False),
        ([SIGN], True),
        ([ENDED], False),
        ([FAILED], True),
        ([FAILED, ENDED], False),
        ([ENDED, SIGN], True),
    ],
    ids=["nobody left a sign", "alive", "ended well", "failed", "failed, then well", "another lives"],
)
def test_a_topic_counts_unless_its_listeners_have_ended_well(
    warehouse: WarehouseUnderTest, signs: list[ListenerSign], is_expected: bool
) -> None:
    note_position(warehouse.engine)
    note_batch(warehouse.engine, STREAM.dataset, STREAM.topic, NOW)
    for number, sign in enumerate(signs):
        listener = ListenerRef(f"listener {number}", RunId(f"run {number}"))
        note_listener(warehouse.engine, STREAM, listener, sign, NOW + timedelta(seconds=number))
    assert found(warehouse.engine) == ({STREAM.dataset: NOW} if is_expected else {})


def test_what_a_nightly_load_brings_counts(tmp_path: Path, warehouse: WarehouseUnderTest) -> None:
    corridor = nightly(tmp_path, warehouse.engine)
    corridor.write_transactions("erp_20260202.csv", ["TRX-1,MCH-001,2026-02-01 10:00:00,30,OK"])
    corridor.load()
    assert set(found(warehouse.engine)) >= {"transactions"}
