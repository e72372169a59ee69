"""The oracle of messages agrees with the validation under test, and notices rows that are lost, doubled or changed."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import orjson
import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from freight.contracts import contract_for
from freight.contracts.headers import known_headers
from freight.frames import ROW_NUMBER
from freight.simulator import (
    POISON,
    Corridor,
    Message,
    poisoned,
    terminal_event_messages,
    transaction_messages,
)
from freight.validation import Locale, split
from freight.warehouse.connect import Engine, open_engine, transaction
from freight.warehouse.schema import metadata
from tests.lib.examples import examples
from tests.lib.hostile_stream import hostile
from tests.lib.oracle import TERMINAL_EVENTS, TRANSACTIONS, Produced, Row, compare, judge
from tests.lib.postgres import PostgresServer
from tests.lib.untidy import UNTIDY, untidied

DAY = date(2026, 3, 1)
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CONTRACT = contract_for("transactions")
SAMPLES = {
    "transactions": transaction_messages(Corridor(), DAY, 0, 1).values[0],
    "terminal_events": terminal_event_messages(Corridor(), DAY, 0, 1).values[0],
}
FACTS, QUARANTINE = (metadata.tables[name] for name in ("fact_transactions", "quarantine"))
UNIMPORTANT = {"batch_id": 1, "origin_us": 0, "origin_seq": 0, "content_hash": 0}
DERIVED = {
    "transaction_date": DAY,
    "day_number": 0,
    "site_location": "UNKNOWN",
    "critical_alert": False,
    "is_late": False,
}

texts = st.one_of(
    st.none(),
    st.text("0123456789.,+-eE_ infaNOKxd\u00a0", max_size=10),
    st.text(max_size=8),
    st.decimals(-1, 5_001, allow_nan=False, places=3).map(str),
    st.datetimes(datetime(1999, 12, 30), datetime(2026, 3, 5)).map(str),
    st.datetimes(datetime(1999, 12, 30), datetime(2026, 3, 5)).map(lambda at: f"{at.isoformat()}+02:00"),
    st.datetimes(datetime(1999, 12, 30), datetime(2026, 3, 5)).map(lambda at: f"{at:%d/%m/%Y %H:%M}"),
    st.sampled_from(
        [
            "",
            "  ",
            "TRX-1",
            " MCH-001 ",
            "MCH-1",
            "2026-02-29 10:00:00",
            "2026-03-01",
            "ok",
            "Err",
            "NaN",
            "-inf",
            "1e3",
        ]
    ),
)
GOOD_TEXTS = {
    "transaction_id": "TRX-1",
    "machine_id": "MCH-001",
    "transaction_at": "2026-02-01 10:00:00",
    "volume_transferred_t": "1.5",
    "status_code": "OK",
}


def split_one(fields: dict[str, str | None]) -> Row | str:
    """Return what the validation under test makes of one row of text."""
    schema = {ROW_NUMBER: pl.Int64, **dict.fromkeys(CONTRACT.column_names, pl.String)}
    halves = split(pl.DataFrame([{ROW_NUMBER: 1, **fields}], schema=schema), CONTRACT, Locale(), NOW)
    if halves.valid.height:
        return halves.valid.drop(ROW_NUMBER).row(0, named=True)
    return str(halves.quarantined["reason"][0])


def of_messages(messages: list[Message], topic: str = TRANSACTIONS) -> Produced:
    """Put messages on three partitions by their key, as a topic would."""
    produced, ends = Produced(NOW), [0, 0, 0]
    for message in messages:
        partition = sum(message.key.encode()) % 3
        produced.add(topic, partition, ends[partition], message.timestamp_ms, message.value)
        ends[partition] += 1
    return produced


@pytest.mark.parametrize("dataset", SAMPLES)
@pytest.mark.parametrize("kind", POISON)
def test_poison_is_bad_for_the_reason_that_it_states(dataset: str, kind: str) -> None:
    value, reason = POISON[kind](json.loads(SAMPLES[dataset]))

    assert judge(value, contract_for(dataset), NOW) == reason


@pytest.mark.parametrize("dataset", SAMPLES)
@pytest.mark.parametrize("kind", UNTIDY)
def test_untidy_messages_are_sound(dataset: str, kind: str) -> None:
    row = judge(UNTIDY[kind](json.loads(SAMPLES[dataset])), contract_for(dataset), NOW)

    assert isinstance(row, dict)
    assert row["status_code"] in ("OK", "WARN", "ERR")


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(GOOD_TEXTS, texts)))
@examples(200)
def test_the_oracle_and_the_validation_read_a_row_of_text_alike(changed: dict[str, str | None]) -> None:
    fields = {**GOOD_TEXTS, **changed}

    assert judge(json.dumps(fields).encode(), CONTRACT, NOW) == split_one(fields)


@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-1, 5_001), st.booleans()))
@examples(100)
def test_the_oracle_and_the_validation_read_a_json_number_alike(volume: float) -> None:
    text = str(volume).lower() if isinstance(volume, bool) else str(volume)
    message = orjson.dumps({**GOOD_TEXTS, "volume_transferred_t": volume})

    assert judge(message, CONTRACT, NOW) == split_one({**GOOD_TEXTS, "volume_transferred_t": text})


def test_twenty_thousand_hostile_messages_end_as_the_validation_says() -> None:
    messages = hostile(untidied(poisoned(transaction_messages(Corridor(), DAY, 0, 20_000), 0.1, 1), 0.1, 1), 1)
    known = known_headers(CONTRACT)
    rows, expected = [], {}
    for number, message in enumerate(messages):
        judged = judge(message.value, CONTRACT, NOW)
        assert isinstance(judged, str) == (message.reason is not None)
        if message.reason in (None, "required", "wrong_type", "not_finite", "out_of_range", "future", "not_allowed"):
            record = {known[key]: value for key, value in orjson.loads(message.value or b"").items() if key in known}
            rows.append({ROW_NUMBER: number} | {k: None if v is None else str(v) for k, v in record.items()})
            expected[number] = judged

    schema = {ROW_NUMBER: pl.Int64, **dict.fromkeys(CONTRACT.column_names, pl.String)}
    halves = split(pl.DataFrame(rows, schema=schema), CONTRACT, Locale(), NOW)

    found: dict[int, Row | str] = {row.pop(ROW_NUMBER): row for row in halves.valid.to_dicts()}
    found |= dict(halves.quarantined.select(ROW_NUMBER, "reason").iter_rows())
    assert found == expected


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        ("volume_transferred_t", "5000", None),
        ("volume_transferred_t", "5000.0000001", "out_of_range"),
        ("volume_transferred_t", "-0", None),
        ("volume_transferred_t", "-1e-9", "out_of_range"),
        ("transaction_at", "2000-01-01 01:00:00", None),
        ("transaction_at", "2000-01-01 00:59:59.999999", "out_of_range"),
        ("transaction_at", "2026-03-03 13:00:00", None),
        ("transaction_at", "2026-03-03 13:00:00.000001", "future"),
    ],
)
def test_limits_lie_where_the_validation_has_them(column: str, text: str, reason: str | None) -> None:
    fields: dict[str, str | None] = {**GOOD_TEXTS, column: text}

    judged = judge(json.dumps(fields).encode(), CONTRACT, NOW)

    assert judged == split_one(fields)
    assert (judged if isinstance(judged, str) else None) == reason


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (b"transaction_id", b" Transaction  ID ", None),
        (b"transaction_id", "Numéro transaction".encode(), None),
        (b"{", b'{"schema_version": 1,', None),
        (b"{", b'{"schema_version": 1, "schema_version": 1,', "doubled_field"),
        (b"{", b'{"schema_version": 1.0,', "schema_version"),
        (b"{", b'{"schema_version": true,', "schema_version"),
        (b"{", b'{"schema_version": null,', "schema_version"),
        (b"{", b'{"": 1,', "unknown_field"),
    ],
)
def test_keys_are_read_as_headers_are(before: bytes, after: bytes, reason: str | None) -> None:
    judged = judge(json.dumps(GOOD_TEXTS).encode().replace(before, after, 1), CONTRACT, NOW)

    assert (judged if isinstance(judged, str) else None) == reason


def test_the_newest_version_wins_by_offset_in_a_partition_and_by_time_between_them() -> None:
    produced = Produced(NOW)

    def send(offset: int, timestamp_ms: int, volume: float, key: str = "TRX-1", partition: int = 0) -> None:
        value = {**GOOD_TEXTS, "transaction_id": key, "volume_transferred_t": volume}
        produced.add(TRANSACTIONS, partition, offset, timestamp_ms, orjson.dumps(value))

    send(0, 1_000, 1.0)
    send(1, 3_000, 2.0)
    send(2, 2_000, 3.0)
    send(3, 3_000, 4.0)
    send(4, 3_000, -1.0)
    send(5, 2_999, 6.0)
    send(6, 1_000, 5.0, "TRX-2")
    send(7, 2_999, 7.0, partition=1)
    send(8, 3_001, 8.0, "TRX-2", partition=1)

    at = datetime(2026, 2, 1, 9, tzinfo=UTC)
    assert produced.facts() == {"TRX-1": ("MCH-001", at, 6.0, "OK"), "TRX-2": ("MCH-001", at, 8.0, "OK")}
    assert produced.totals() == (9, 8, 1)
    assert [place[:2] for place in produced.quarantined()] == [(0, 4)]
    assert produced.reasons() == {"out_of_range": 1}


def test_places_are_taken_once_and_ties_are_not_guessed() -> None:
    produced = Produced(NOW)
    first, second = (orjson.dumps({**GOOD_TEXTS, "volume_transferred_t": volume}) for volume in (1, 2))
    produced.add(TRANSACTIONS, 0, 7, 1_000, first)
    produced.add(TRANSACTIONS, 0, 7, 1_000, first)
    assert produced.totals() == (1, 1, 0)

    with pytest.raises(ValueError, match="two messages"):
        produced.add(TRANSACTIONS, 0, 7, 1_000, second)
    produced.add(TRANSACTIONS, 1, 7, 1_000, second)
    with pytest.raises(ValueError, match="equally new"):
        produced.facts()


def test_topics_are_told_apart() -> None:
    produced = of_messages(poisoned(terminal_event_messages(Corridor(), DAY, 0, 500), 0.2, 1), TERMINAL_EVENTS)
    produced.take((TRANSACTIONS, 0, 0, 1_000, None))

    bad = sum(
        message.reason is not None for message in poisoned(terminal_event_messages(Corridor(), DAY, 0, 500), 0.2, 1)
    )
    assert produced.totals(TERMINAL_EVENTS) == (500, 500 - bad, bad)
    assert produced.quarantined() == {(0, 0, b""): 1}
    assert produced.facts() == {}


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """The two tables that are compared, without a listener to fill them."""
    engine = open_engine(f"sqlite:///{tmp_path / 'warehouse.sqlite'}")
    with transaction(engine) as connection:
        metadata.create_all(connection, [FACTS, QUARANTINE])
    return engine


@pytest.fixture
def produced() -> Produced:
    return of_messages(hostile(poisoned(transaction_messages(Corridor(), DAY, 0, 300), 0.2, 1), 1))


def load(engine: Engine, produced: Produced) -> None:
    """Write what the oracle expects."""
    names = ("machine_id", "transaction_at", "volume_transferred_t", "status_code")
    with transaction(engine) as connection:
        for key, fact in produced.facts().items():
            values = {"transaction_id": key, **dict(zip(names, fact, strict=True)), **DERIVED, **UNIMPORTANT}
            connection.execute(FACTS.insert().values(values))
        for partition, offset, raw in produced.quarantined():
            quarantine(connection, f"{TRANSACTIONS}/{partition}", offset, raw)
        quarantine(connection, "erp/file.csv", 3, b"a row of a file, which is no business of the stream")


def quarantine(connection: sa.Connection, location: str, offset: int, raw: bytes) -> None:
    connection.execute(
        QUARANTINE.insert().values(
            batch_id=1,
            source="s",
            dataset="transactions",
            location=location,
            row_number=offset,
            reason="required",
            raw=raw,
        )
    )


def test_tables_that_hold_what_was_sent_do_not_differ(engine: Engine, produced: Produced) -> None:
    load(engine, produced)

    assert produced.totals().bad > 40
    assert compare(engine, produced) == []


def test_tables_on_postgresql_are_compared_as_well(postgres_server: PostgresServer, produced: Produced) -> None:
    engine = open_engine(postgres_server.new_database())
    with transaction(engine) as connection:
        metadata.create_all(connection, [FACTS, QUARANTINE])
    load(engine, produced)

    assert compare(engine, produced) == []
    with transaction(engine) as connection:
        connection.execute(sa.text("DELETE FROM quarantine WHERE quarantine_id = 1"))
    assert len(compare(engine, produced)) == 1
    engine.dispose()


def test_empty_tables_have_lost_everything(engine: Engine, produced: Produced) -> None:
    differences = compare(engine, produced)

    assert len(differences) == len(produced.facts()) + produced.totals().bad
    assert all(line.startswith(("lost: ", "not in quarantine: ")) for line in differences)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("DELETE FROM fact_transactions WHERE transaction_id = :key", "lost: {key}"),
        ("UPDATE fact_transactions SET transaction_id = 'TRX-0' WHERE transaction_id = :key", "unexpected: TRX-0"),
        ("UPDATE fact_transactions SET machine_id = 'MCH-900' WHERE transaction_id = :key", "wrong content: {key}"),
        ("UPDATE fact_transactions SET status_code = 'X' WHERE transaction_id = :key", "wrong content: {key}"),
        (
            "UPDATE fact_transactions SET transaction_at = '2026-03-01 00:00:00.000001' WHERE transaction_id = :key",
            "wrong content: {key}",
        ),
        (
            "UPDATE fact_transactions SET volume_transferred_t = 33.333 WHERE transaction_id = :key",
            "wrong content: {key}",
        ),
        (
            "UPDATE fact_transactions SET volume_transferred_t = NULL WHERE transaction_id = :key",
            "wrong content: {key}",
        ),
        ("DELETE FROM quarantine WHERE quarantine_id = 1", "not in quarantine"),
        ("UPDATE quarantine SET raw = X'00' WHERE quarantine_id = 1", "too much in quarantine"),
        ("UPDATE quarantine SET row_number = 100000 WHERE quarantine_id = 1", "too much in quarantine"),
        (
            "INSERT INTO quarantine (batch_id, source, dataset, location, row_number, reason, raw) SELECT "
            "batch_id, source, dataset, location, row_number, reason, raw FROM quarantine WHERE quarantine_id = 1",
            "too much in quarantine",
        ),
    ],
)
def test_a_lost_a_doubled_and_a_changed_row_is_noticed(
    engine: Engine, produced: Produced, change: str, found: str
) -> None:
    load(engine, produced)
    key = next(key for key, fact in produced.facts().items() if fact[2])

    with transaction(engine) as connection:
        changed = connection.execute(sa.text(change), {"key": key} if ":key" in change else {})

    assert changed.rowcount == 1
    differences = compare(engine, produced)
    assert len(differences) in (1, 2)
    assert any(line.startswith(found.format(key=key)) for line in differences)


def test_a_fact_that_is_there_twice_is_noticed(tmp_path: Path, produced: Produced) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'keyless.sqlite'}")
    names = ", ".join(column.name for column in FACTS.c)
    with transaction(engine) as connection:
        metadata.create_all(connection, [FACTS, QUARANTINE])
    load(engine, produced)
    with transaction(engine) as connection:
        connection.execute(sa.text(f"CREATE TABLE keyless AS SELECT {names} FROM fact_transactions"))
        connection.execute(sa.text("INSERT INTO keyless SELECT * FROM fact_transactions LIMIT 1"))
        connection.execute(sa.text("DROP TABLE fact_transactions"))
        connection.execute(sa.text("ALTER TABLE keyless RENAME TO fact_transactions"))

    (difference,) = compare(engine, produced)

    assert difference.startswith("doubled: ")
    assert difference.endswith("2 times")
