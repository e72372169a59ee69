"""Numbers under a decimal comma: read exactly, or refused."""

from datetime import UTC, datetime

import polars as pl
import pytest

from freight.contracts import contract_for
from freight.notation.evidence import Notation
from freight.notation.numbers import Reading
from freight.validation import Locale, split


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12,5", 12.5),
        ("1 234,5", 1_234.5),
        ("1\u00a0234", 1_234.0),
        ("1\u202f234,25", 1_234.25),
        ("12", 12.0),
        ("1 2", None),
        ("12 34,5", None),
        ("1.5", None),
        ("1,5,5", None),
    ],
)
def test_a_number_under_a_decimal_comma_is_read_exactly_or_refused(text: str, value: float | None) -> None:
    row = {
        "row_number": 2,
        "transaction_id": "TRX-1",
        "machine_id": "MCH-001",
        "transaction_at": "2026-02-01 10:00:00",
        "volume_transferred_t": text,
        "status_code": "OK",
    }
    halves = split(
        pl.DataFrame([row]),
        contract_for("transactions"),
        Locale(Notation(Reading(","))),
        datetime(2026, 3, 1, tzinfo=UTC),
    )
    assert halves.valid["volume_transferred_t"].to_list() == ([] if value is None else [value])
    assert halves.quarantined["reason"].to_list() == (["wrong_type"] if value is None else [])
