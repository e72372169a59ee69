"""JSON that is read piece by piece is what a whole parse of it says, and nothing is lost on the way."""

import io
import json
from pathlib import Path
from typing import Any

import orjson
import pyarrow.ipc as ipc
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from freight.errors import SourceError
from freight.frames import NATIVE
from freight.parsers import json_records
from freight.parsers.output import Output
from freight.parsers.wire import read_frame
from tests.lib.examples import examples

KEYS = ("id", "a b", '"},{"')
TRAPS = st.sampled_from(["},{", '"},{"', "[{", "}]", "\\", '"', "\n"])
TEXT = st.text(st.characters(codec="utf-8"), max_size=12) | TRAPS
VALUE = st.none() | st.booleans() | st.integers(-(10**25), 10**25) | TEXT
RECORD = st.tuples(VALUE, VALUE, VALUE).map(lambda values: dict(zip(KEYS, values, strict=True)))
RECORDS = st.lists(RECORD, min_size=1, max_size=30)
NOISE = st.sampled_from([b"", b"}", b"{", b"]", b",", b'"', b"\xff", b"1"])
SPACING = st.sampled_from([None, 1, "\t"])


def parsed(path: Path, parse: Any) -> tuple[list[str], list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Return header, rows and faults that a parser sends."""
    stream = io.BytesIO()
    output = Output(stream)
    parse(path, {}, output)
    output.end()
    stream.seek(0)
    header: list[str] = []
    rows: list[tuple[Any, ...]] = []
    faults: list[tuple[Any, ...]] = []
    while frame := read_frame(stream):
        if frame.kind == "header":
            header = json.loads(frame.payload)["cells"]
        elif frame.kind in ("rows", "faults"):
            table = ipc.open_stream(frame.payload).read_all()
            table = table.select([name for name in table.column_names if name != NATIVE])
            found = zip(*(column.to_pylist() for column in table.columns), strict=True)
            (rows if frame.kind == "rows" else faults).extend(found)
    return header, rows, faults


def text_of(value: Any) -> str:
    return {None: "", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)


def expected(records: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(*map(text_of, record.values()), number) for number, record in enumerate(records, start=1)]


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_records, "PIECE_BYTES", 40)


@pytest.mark.usefixtures("small_pieces")
@examples(80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=RECORDS, indent=SPACING, escaped=st.booleans(), key=st.sampled_from(["", "data", "items"]))
def test_a_list_is_read_as_a_whole_parse_reads_it(
    tmp_path: Path, records: list[dict[str, Any]], indent: Any, escaped: bool, key: str
) -> None:
    document = {"count": len(records), key: records, "next": None} if key else records
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document, indent=indent, ensure_ascii=escaped), encoding="utf-8", newline="")
    assert parsed(path, json_records.parse_list) == ([*KEYS], expected(records), [])


@pytest.mark.usefixtures("small_pieces")
@examples(80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=RECORDS, escaped=st.booleans())
def test_lines_are_read_as_a_whole_parse_reads_them(
    tmp_path: Path, records: list[dict[str, Any]], escaped: bool
) -> None:
    path = tmp_path / "a.jsonl"
    lines = (json.dumps(record, ensure_ascii=escaped) for record in records)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="")
    assert parsed(path, json_records.parse_lines) == ([*KEYS], expected(records), [])


@pytest.mark.usefixtures("small_pieces")
@examples(100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=RECORDS, place=st.floats(0, 1), noise=st.sampled_from([b"", b"}", b"{", b"]", b",", b'"', b"\xff", b"1"])
)
def test_a_list_that_is_broken_anywhere_is_refused(
    tmp_path: Path, records: list[dict[str, Any]], place: float, noise: bytes
) -> None:
    content = json.dumps(records).encode()
    at = int(place * (len(content) - 1))
    broken = content[:at] + noise + content[at + 1 :]
    path = tmp_path / "a.json"
    path.write_bytes(broken)
    try:
        orjson.loads(broken)
    except orjson.JSONDecodeError as error:
        if "infinity" not in error.msg:
            with pytest.raises(SourceError):
                parsed(path, json_records.parse_list)


@pytest.mark.usefixtures("small_pieces")
@examples(80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.binary(max_size=12) | st.sampled_from([b'{"a":1}', b'{"a":1},{"a":2}', b'{"a":"}', b'"}'])))
def test_no_line_is_taken_for_a_part_of_another(tmp_path: Path, lines: list[bytes]) -> None:
    lines = [line.replace(b"\n", b"") for line in lines]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a":0}\n' + b"\n".join(lines))
    _, rows, faults = parsed(path, json_records.parse_lines)
    good = {number for number, line in enumerate(lines, start=2) if line.strip() == b'{"a":1}'}
    assert {number for _, number in rows} - {1} == good
    assert {fault[0] for fault in faults} | good == {n for n, line in enumerate(lines, start=2) if line.strip()}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18446744073709551616", "18446744073709551616"),
        ("12345678901234567890123456789", "12345678901234567890123456789"),
        ("0.1234567890123456789", "0.1234567890123456789"),
        ("1e400", "1e400"),
        ("12.5", 12.5),
    ],
)
def test_a_number_keeps_its_digits(text: str, value: object) -> None:
    assert json_records.loads(f'[{{"a":{text}}}]'.encode()) == [{"a": value}]


@pytest.mark.parametrize("text", ['{"a":1,"a":1}', '{"a":"\\u0022","a":2}', '{"a":{"b":1,"b":2}}'])
def test_an_object_that_names_a_key_twice_is_known(text: str) -> None:
    found = json_records.loads(text.encode())
    assert isinstance(found, dict)
    assert isinstance(found, json_records.Doubled) or isinstance(found["a"], json_records.Doubled)


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "[NaN,1e400]",
        "[1e400,-Infinity]",
        "[1e400" + ",[" * 100_000 + "]" * 100_001,
        "[1e400,\x00]",
        '[1e400,"\\ud800"]',
        "[" * 500 + "]" * 500,
    ],
)
def test_what_is_no_json_stays_none_beside_a_large_number(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each parser words it in its own way
        json_records.loads(text.encode())


def test_a_second_list_under_the_same_key_is_not_taken_for_the_end_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_records, "PIECE_BYTES", 40)
    path = tmp_path / "a.json"
    path.write_text('{"data":[' + ",".join('{"a":1}' for _ in range(50)) + '],"data":[{"a":2}]}', encoding="utf-8")
    with pytest.raises(SourceError, match="names a key twice"):
        parsed(path, json_records.parse_list)
