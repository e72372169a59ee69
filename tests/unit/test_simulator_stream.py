"""The simulated stream: the messages of its days, whatever slice is asked for, and such as are bad on purpose."""

import json
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import orjson
import polars as pl
import pytest

from freight.contracts import contract_for
from freight.contracts.headers import match_header
from freight.errors import ConfigurationError
from freight.frames import ROW_NUMBER
from freight.simulator import (
    EVENT_SCHEMA,
    POISON,
    TRANSACTION_SCHEMA,
    Corridor,
    Message,
    Messages,
    first_live_number,
    live_terminal_events,
    live_transactions,
    poisoned,
    terminal_event_messages,
    transaction_messages,
)
from freight.simulator.events import MAX_DAY_ROWS, first_number
from freight.validation import Locale, split
from tests.lib.hostile_stream import hostile
from tests.lib.untidy import UNTIDY, untidied

DAY = date(2026, 3, 1)
NOW = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)
GOLDEN_TRANSACTION = (
    b'{"transaction_id":"TRX-22510000000","machine_id":"MCH-005","date":"2026-03-01 00:00:00",'
    b'"volume_transferred":34.656,"status_code":"WARN"}'
)

REASONS = {
    "tombstone",
    "bad_encoding",
    "not_json",
    "not_object",
    "nested_value",
    "unknown_field",
    "missing_field",
    "doubled_field",
    "schema_version",
    "required",
    "wrong_type",
    "not_finite",
    "out_of_range",
    "not_allowed",
    "pattern",
    "future",
}

Maker = Callable[..., Messages]
LiveMaker = Callable[[Corridor, int, int, datetime], Messages]
of_both_topics = pytest.mark.parametrize("make", [transaction_messages, terminal_event_messages])
live_on_both_topics = pytest.mark.parametrize("make", [live_transactions, live_terminal_events])
CONTRACTS = {
    transaction_messages: contract_for("transactions"),
    terminal_event_messages: contract_for("terminal_events"),
    live_transactions: contract_for("transactions"),
    live_terminal_events: contract_for("terminal_events"),
}


def messages_of_day(count: int = 1_000) -> list[Message]:
    return list(transaction_messages(Corridor(), DAY, 0, count))


def records(messages: Messages) -> list[dict[str, object]]:
    return [json.loads(value) for value in messages.values]


def invalid(messages: Messages, make: Maker, now: datetime) -> list[tuple[object, ...]]:
    """Return what validation finds wrong with messages."""
    contract = CONTRACTS[make]
    found = records(messages)
    columns = match_header(list(found[0]), contract).columns
    texts = [{c: None if v is None else str(v) for c, v in zip(columns, r.values(), strict=True)} for r in found]
    rows = pl.DataFrame(texts, schema=dict.fromkeys(columns, pl.String)).with_row_index(ROW_NUMBER)
    return split(rows, contract, Locale(), now).quarantined.rows()


def test_a_transaction_message_is_compact_json_that_never_changes() -> None:
    (message,) = transaction_messages(Corridor(), DAY, 0, 1)

    assert message.value == GOLDEN_TRANSACTION
    assert message.key == "TRX-22510000000"
    assert datetime.fromtimestamp(message.timestamp_ms / 1_000, UTC) == datetime(2026, 2, 28, 23, tzinfo=UTC)


def test_messages_of_a_day_are_the_rows_of_its_files() -> None:
    rows = Corridor().transactions(DAY, 5_000)

    messages = transaction_messages(Corridor(), DAY, 0, 5_000, day_rows=5_000)

    assert records(messages) == rows.to_dicts()
    assert messages.keys == rows["transaction_id"].to_list()


@of_both_topics
def test_any_slice_can_be_asked_for_alone(make: Maker) -> None:
    whole = make(Corridor(), DAY, 0, 3_000)

    part = make(Corridor(), DAY, 1_000, 1_700)

    assert list(part) == list(whole)[1_000:1_700]
    assert len(part) == 700
    assert len(make(Corridor(), DAY, 5, 5)) == 0
    assert make(Corridor(seed=8), DAY, 0, 100) != make(Corridor(), DAY, 0, 100)


@of_both_topics
def test_messages_keep_their_contract_and_are_sent_when_they_happened(make: Maker) -> None:
    messages = make(Corridor(), DAY, 0, 5_000, day_rows=5_000)

    assert invalid(messages, make, NOW + timedelta(days=1)) == []
    assert len(set(messages.keys)) == 5_000
    assert messages.keys == [next(iter(record.values())) for record in records(messages)]
    sent = pl.Series(messages.timestamps_ms)
    begin_ms = int(datetime(2026, 2, 28, 23, tzinfo=UTC).timestamp() * 1_000)
    assert sent.is_between(begin_ms, begin_ms + 86_410_000).all()


def test_terminal_events_tell_utc_and_leave_out_what_does_not_flow() -> None:
    events = terminal_event_messages(Corridor(), DAY, 0, 5_000, day_rows=5_000)

    frame = pl.DataFrame(records(events), schema=EVENT_SCHEMA)
    stamps = frame["event_at"].str.strptime(pl.Datetime("ms", "UTC"), "%Y-%m-%dT%H:%M:%S%.fZ").dt.epoch("ms")
    assert stamps.to_list() == events.timestamps_ms
    assert frame["event_at"].str.ends_with("Z").all()
    allowed = next(column.allowed for column in contract_for("terminal_events").columns if column.name == "event_type")
    assert set(frame["event_type"]) == set(allowed)
    flowing = pl.col("event_type").is_in(["LOADED", "UNLOADED"])
    assert frame.select((pl.col("flow_rate").is_not_null() == flowing).all()).item()
    assert frame.filter(event_type="MOVED")["volume_transferred"].is_null().all()
    assert frame.filter(event_type="ALARM")["status_code"].is_in(["WARN", "ERR"]).all()
    assert frame.select("pressure", "vibration", "temperature").null_count().row(0) == (0, 0, 0)


@of_both_topics
def test_impossible_slices_are_refused(make: Maker) -> None:
    for start, stop in ((-1, 5), (5, 4), (0, 1_000_001)):
        with pytest.raises(ConfigurationError, match="has no rows"):
            make(Corridor(), DAY, start, stop)
    with pytest.raises(ConfigurationError, match="opened"):
        make(Corridor(), date(2019, 1, 1), 0, 1)


@of_both_topics
def test_messages_are_made_column_by_column(make: Maker) -> None:
    few, many = calls_of(lambda: make(Corridor(), DAY, 0, 10)), calls_of(lambda: make(Corridor(), DAY, 0, 20_000))
    assert many < few + 10_000


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions of Python a call runs."""
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


@live_on_both_topics
def test_live_messages_happened_just_before_they_are_sent(make: LiveMaker) -> None:
    number = first_live_number(NOW)

    messages = make(Corridor(), number, 500, NOW)

    assert invalid(messages, make, NOW) == []
    assert [int(key.partition("-")[2]) for key in messages.keys] == list(range(number, number + 500))
    assert set(messages.timestamps_ms) == {int(NOW.timestamp() * 1_000)}
    column = "date" if make is live_transactions else "event_at"
    zone = "+01:00" if make is live_transactions else ""
    happened = [datetime.fromisoformat(f"{record[column]}{zone}") for record in records(messages)]
    assert all(timedelta() <= NOW - at <= timedelta(seconds=4) for at in happened)
    assert make(Corridor(), number + 100, 50, NOW) == Messages(
        messages.keys[100:150], messages.values[100:150], messages.timestamps_ms[100:150]
    )
    assert len(make(Corridor(), number, 0, NOW)) == 0
    with pytest.raises(ConfigurationError, match="zone"):
        make(Corridor(), number, 1, NOW.replace(tzinfo=None))


def test_live_numbers_never_meet_those_of_files_or_of_an_earlier_run() -> None:
    busiest_earlier_run = first_live_number(NOW) + 86_400 * 100_000

    assert first_live_number(NOW + timedelta(days=1)) > busiest_earlier_run
    assert first_number(date(9999, 12, 31)) + MAX_DAY_ROWS < first_live_number(NOW)
    assert len(str(first_live_number(datetime(2050, 12, 31, tzinfo=UTC)))) == 18


def test_every_kind_of_poison_and_untidiness_is_what_it_is_called() -> None:
    record = json.loads(GOLDEN_TRANSACTION)

    made = {kind: poison(record) for kind, poison in POISON.items()}

    assert {reason for _, reason in made.values()} == REASONS
    assert [kind for kind, (value, _) in made.items() if value is None] == ["tombstone"]
    for value, reason in made.values():
        if value is not None and reason not in ("not_json", "bad_encoding"):
            orjson.loads(value)
    for value, reason in made.values():
        if value is not None and reason in ("not_json", "bad_encoding"):
            with pytest.raises(orjson.JSONDecodeError):
                orjson.loads(value)
    assert 950_000 < len(made["megabyte"].value or b"") < 1_000_000
    assert all(orjson.loads(untidy(record)) is not None for untidy in UNTIDY.values())


def test_poison_replaces_its_share_and_leaves_keys_times_and_the_rest_alone() -> None:
    sound = messages_of_day(10_000)

    mixed = poisoned(sound, 0.05, seed=1)

    bad = [index for index, message in enumerate(mixed) if message.reason]
    assert 400 < len(bad) < 600
    assert [(m.key, m.timestamp_ms) for m in mixed] == [(m.key, m.timestamp_ms) for m in sound]
    assert all(mixed[index] == sound[index] for index in set(range(10_000)) - set(bad))
    assert {mixed[index].reason for index in bad} == REASONS
    assert poisoned(sound, 0.05, seed=1) == mixed
    assert poisoned(sound, 0.05, seed=2) != mixed
    assert poisoned(sound, 0, seed=1) == sound
    with pytest.raises(ConfigurationError, match="share"):
        poisoned(sound, 1.5, seed=1)


def test_untidy_messages_stay_sound_and_poison_stays_poison() -> None:
    mixed = poisoned(messages_of_day(), 0.5, seed=1)

    untidy = untidied(mixed, 1, seed=1)

    assert [message.reason for message in untidy] == [message.reason for message in mixed]
    assert all((a.value == b.value) == bool(a.reason) for a, b in zip(mixed, untidy, strict=True) if a.value != b"")


def test_a_hostile_sequence_holds_every_message_and_the_extra_ones() -> None:
    given = messages_of_day(5_000)

    sequence = hostile(given, seed=1, duplicates=0.1, late=0.05, changed=0.05, window=200)

    times = Counter(sequence)
    doubled = sum(times[message] - 1 for message in given)
    others = [message for message in sequence if message not in set(given)]
    sent = {message.key: message.timestamp_ms for message in given}
    older = [message for message in others if message.timestamp_ms < sent[message.key]]
    assert 400 < doubled < 600
    assert 180 < len(older) < 320
    assert 180 < len(others) - len(older) < 320
    assert len(sequence) == 5_000 + doubled + len(others)
    assert {message.timestamp_ms - sent[message.key] for message in others} == {-60_000, -1, 0, 1, 60_000}
    assert set(TRANSACTION_SCHEMA) == set(json.loads(others[0].value or b""))


def test_versions_come_after_their_original_and_nothing_moves_beyond_its_window() -> None:
    given = messages_of_day(3_000)
    place = {message: index for index, message in enumerate(given)}

    shuffled = hostile(given, seed=1, duplicates=0, late=0, changed=0, window=50)
    sequence = hostile(given, seed=1, window=50)

    assert sorted(shuffled, key=place.__getitem__) == given
    assert shuffled != given
    assert max(abs(place[message] - index) for index, message in enumerate(shuffled)) <= 50
    first_of_key = {message.key: message for message in reversed(sequence)}
    assert [first_of_key[message.key] for message in given] == given


def test_a_hostile_world_depends_on_its_seed_and_leaves_peace_alone() -> None:
    given = poisoned(messages_of_day(), 0.2, seed=1)

    assert hostile(given, 1) == hostile(given, 1)
    assert hostile(given, 1) != hostile(given, 2)
    assert hostile(given, 1, duplicates=0, late=0, changed=0, window=1) == given
    assert hostile([], 1) == []
    poison = {message for message in given if message.reason}
    assert all(message in poison for message in hostile(given, 1, late=1, changed=1) if message.reason)
    with pytest.raises(ConfigurationError, match="window"):
        hostile(given, 1, window=0)
