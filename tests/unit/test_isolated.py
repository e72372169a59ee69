"""The limits of parsers, and how they speak to their readers."""

import io

import polars as pl
import pytest

from freight.frames import bad_rows
from freight.parsers.output import FAULTS
from freight.parsers.wire import FRAME_LIMIT_BYTES, START, Frame, read_frame, write_frame
from freight.readers.isolated import BYTES_PER_SECOND, PATIENCE_S, ParserTime, cpu_limit_s

MEGABYTE = 1 << 20


def test_a_parser_that_reads_nothing_is_given_up_soon_however_large_its_file() -> None:
    patience = ParserTime(size_bytes=200 * MEGABYTE)
    assert patience.left_s == PATIENCE_S <= 25
    patience.note(PATIENCE_S, read_bytes=0)
    assert patience.left_s == 0


def test_a_parser_that_gets_on_has_time_for_a_large_file() -> None:
    patience = ParserTime(size_bytes=200 * MEGABYTE)
    for _ in range(200):
        assert patience.left_s > 10
        patience.note(10, read_bytes=MEGABYTE)
    assert patience.left_s == PATIENCE_S


def test_a_parser_that_reads_the_same_again_and_again_earns_no_more_than_its_file() -> None:
    patience = ParserTime(size_bytes=BYTES_PER_SECOND)
    for _ in range(26):
        assert patience.left_s > 0
        patience.note(1, read_bytes=100 * MEGABYTE)
    assert patience.left_s == 0


def test_a_parser_that_is_slow_all_the_time_is_given_up() -> None:
    patience, waited_s = ParserTime(size_bytes=200 * MEGABYTE), 0
    while patience.left_s:
        patience.note(10, read_bytes=10 * BYTES_PER_SECOND // 2)
        waited_s += 10
    assert waited_s <= 2 * PATIENCE_S + 10


def test_faults_of_parsers_have_the_columns_of_all_bad_rows() -> None:
    told_by_parsers = bad_rows().drop("broken_rules")  # by these only validation judges
    assert told_by_parsers.to_arrow(compat_level=pl.CompatLevel.oldest()).schema == FAULTS


@pytest.mark.parametrize("lost", [1, 5, 12])
def test_a_frame_that_is_not_whole_is_none(lost: int) -> None:
    stream = io.BytesIO()
    write_frame(stream, Frame("header", b"[1]"))
    assert read_frame(io.BytesIO(stream.getvalue())) == Frame("header", b"[1]")
    assert read_frame(io.BytesIO(stream.getvalue()[:-lost])) is None


def test_a_frame_that_claims_more_than_any_parser_sends_is_none_and_costs_no_memory() -> None:
    assert read_frame(io.BytesIO(START.pack(2, FRAME_LIMIT_BYTES + 1))) is None


def test_bytes_that_are_no_frame_are_none() -> None:
    assert read_frame(io.BytesIO(b"Traceback (most recent call last)")) is None


def test_a_small_file_is_given_up_in_less_than_half_a_minute_and_a_large_one_gets_what_it_needs() -> None:
    assert cpu_limit_s(0) == cpu_limit_s(MEGABYTE) < 30
    assert cpu_limit_s(200 * MEGABYTE) >= 199 * MEGABYTE // BYTES_PER_SECOND
