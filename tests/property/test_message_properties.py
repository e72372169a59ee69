"""Parsing a whole micro-batch at once gives what parsing message by message gives, whatever the messages are."""

import json
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freight.contracts import contract_for
from freight.frames import ROW_NUMBER
from freight.streaming.messages import decode
from freight.validation import Locale, split
from tests.lib.examples import examples

CONTRACT = contract_for("transactions")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RIGHT = {
    "transaction_id": "TRX-1",
    "machine_id": "MCH-001",
    "date": "2026-03-01 08:00:00",
    "volume_transferred": 12.345,
    "status_code": "OK",
}

texts = st.text(st.characters(codec="utf-8"), max_size=8)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**45), 10**45),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
    st.sampled_from(["TRX-7", "MCH-002", "2026-02-28T23:59:59Z", "WARN", "12.5", "1,5", '":', "{", "[", "\\", "\n"]),
)
values = st.one_of(scalars, st.lists(scalars, max_size=2), st.dictionaries(texts, scalars, max_size=2))


@st.composite
def objects(draw: Any) -> dict[str, object]:
    """A right message with some fields changed, renamed, dropped or added."""
    record: dict[str, object] = dict(RIGHT)
    for field in draw(st.lists(st.sampled_from(list(RIGHT)), max_size=2)):
        record[field] = draw(values)
    for field in draw(st.lists(st.sampled_from(list(RIGHT)), max_size=1)):
        value = record.pop(field)
        if renamed := draw(st.sampled_from(["", "Date", "volume", "surprise", field])):
            record[renamed] = value
    if draw(st.booleans()):
        record["schema_version"] = draw(st.sampled_from([1, 1, 2, "1", 1.0, True, None]))
    return record


@st.composite
def messages(draw: Any) -> bytes | None:
    """A message as a producer might write it, or garbage."""
    text = json.dumps(
        draw(objects()),
        ensure_ascii=draw(st.booleans()),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")])),
    )
    mangled: bytes | None = draw(
        st.sampled_from(
            [
                text.encode(),
                text.encode(),
                text.encode(),
                text.encode() + b" ",
                text.encode() * 2,
                b" " + text.encode() + b"\n",
                text.encode()[:-1],
                text.encode().replace(b"OK", b"\xff\xfe"),
                text.replace('"status_code"', '"machine_id"').encode(),
                text.replace("12.345", "NaN").encode(),
                text.replace("12.345", "12345678901234567890123").encode(),
                text.replace("12.345", "-0.0").encode(),
                text.replace('"OK"', '"\\ud800"').encode(),
                b"",
                b"null",
                b"[]",
                b'"text"',
                b"\x00",
                b"\xef\xbb\xbf" + text.encode(),
                None,
            ]
        )
    )
    return mangled


def outcomes(batch: list[bytes | None]) -> list[tuple[object, ...]]:
    """Return for each message its typed row, or the reason why it has none."""
    decoded = decode(pl.Series(batch, dtype=pl.Binary), CONTRACT)
    parted = split(decoded.rows, CONTRACT, Locale(), NOW)
    rows = {row[0]: row[1:] for row in parted.valid.iter_rows()}
    bad = pl.concat([decoded.faults, parted.quarantined])
    reasons = {row[0]: row[1:] for row in bad.select(ROW_NUMBER, "column_name", "reason").iter_rows()}
    assert not rows.keys() & reasons.keys()
    assert rows.keys() | reasons.keys() == set(range(len(batch)))
    return [rows.get(number) or reasons[number] for number in range(len(batch))]


@examples(150)
@given(st.lists(messages(), min_size=1, max_size=12))
def test_a_batch_reads_as_its_messages_read_alone(batch: list[bytes | None]) -> None:
    strict = [strictly(message) for message in batch]
    assert outcomes(batch) == strict


def strictly(message: bytes | None) -> tuple[object, ...]:
    """Read one message the way of those that are not like their neighbours."""
    with mock.patch("freight.streaming.messages._usual_fields", return_value=[]):
        return outcomes([message])[0]


whole = st.integers(-(10**45), 10**45).map(str)
literals = st.one_of(
    whole,
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.builds("{}.{}".format, whole, st.integers(0, 10**20)),
    st.builds("{}e{}".format, whole, st.integers(-40, 40)),
    st.builds("{}.{}E{:+}".format, whole, st.integers(0, 10**20), st.integers(-400, 400)),
    st.sampled_from(
        [
            "-0",
            "-0.0",
            "0e0",
            "true",
            "false",
            "null",
            "1.10",
            "9007199254740993",
            "18446744073709551616",
            "8796093022208.312",
        ]
    ),
    st.text(st.characters(codec="utf-8"), max_size=8).map(json.dumps),
)


@examples(3_000, quick=300)
@given(st.lists(literals, min_size=1, max_size=5))
def test_both_parsers_give_the_same_text_for_every_scalar(cells: list[str]) -> None:
    """Keys are texts: two of them must not become one on one of the ways."""
    text = json.dumps(RIGHT, separators=(",", ":"))
    series = pl.Series([text.replace('"TRX-1"', cell).encode() for cell in cells])
    together = decode(series, CONTRACT)
    with mock.patch("freight.streaming.messages._usual_fields", return_value=[]):
        one_by_one = decode(series, CONTRACT)
    assert together.rows.rows() == one_by_one.rows.rows()
    assert together.faults.rows() == one_by_one.faults.rows()


def test_whole_numbers_keep_all_their_digits() -> None:
    text = json.dumps(RIGHT, separators=(",", ":"))
    numbers = ["9007199254740993", "18446744073709551617", "123456789012345678901234567890"]
    rows = decode(pl.Series([text.replace('"TRX-1"', number).encode() for number in numbers]), CONTRACT).rows
    assert rows["transaction_id"].to_list() == numbers


def test_the_fast_way_is_taken_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freight.streaming.messages._decode_strictly", None)
    text = json.dumps(RIGHT, separators=(",", ":")).encode()
    assert decode(pl.Series([text] * 3, dtype=pl.Binary), CONTRACT).rows.height == 3


def test_one_broken_message_does_not_send_its_neighbours_the_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    strict = decode.__globals__["_decode_strictly"]

    def count(numbered: pl.DataFrame, fields: object) -> object:
        seen.append(numbered.height)
        return strict(numbered, fields)

    monkeypatch.setattr("freight.streaming.messages._decode_strictly", count)
    text = json.dumps(RIGHT, separators=(",", ":")).encode()
    decode(pl.Series([text] * 50 + [text[:-1] + b",}"] + [text] * 50, dtype=pl.Binary), CONTRACT)
    assert seen == [1]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (None, "tombstone"),
        (b"", "not_json"),
        (b"{} {}", "not_json"),
        (b'{"a":', "not_json"),
        (b'{"a":NaN}', "not_json"),
        (b"\xff{}", "bad_encoding"),
        (b"[1]", "not_object"),
        (b"null", "not_object"),
        (json.dumps({**RIGHT, "more": 1}).encode(), "unknown_field"),
        (json.dumps({k: v for k, v in RIGHT.items() if k != "volume_transferred"}).encode(), "missing_field"),
        (json.dumps({**RIGHT, "transaction_at": "2026-03-01"}).encode(), "doubled_field"),
        (json.dumps(RIGHT).replace('"date"', '"machine_id"', 1).encode(), "doubled_field"),
        (json.dumps({**RIGHT, "schema_version": 99}).encode(), "schema_version"),
        (json.dumps({**RIGHT, "status_code": ["OK"]}).encode(), "nested_value"),
        (b"[" * 100_000, "not_json"),
        (json.dumps({**RIGHT, "volume_transferred": "1,5"}).encode(), "wrong_type"),
        (json.dumps({**RIGHT, "date": "2099-01-01 00:00:00"}).encode(), "future"),
        (json.dumps({**RIGHT, "status_code": "x" * 1_000_000}).encode(), "not_allowed"),
    ],
)
def test_every_fault_has_its_reason(message: bytes | None, reason: str) -> None:
    right = json.dumps(RIGHT).encode()
    first, middle, last = outcomes([right, message, right])
    assert middle[1] == reason
    assert first == last
    assert first[0] == "TRX-1"
