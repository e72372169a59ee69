"""A catalog is what it looks like: nothing in it counts twice, or as another number than its text."""

from pathlib import Path

import pytest

from freight.catalog import read_catalog
from freight.errors import ConfigurationError

ENTRY = """sources:
  - name: erp
    dataset: transactions
    reader: csv
    location: erp*.csv
"""


def refusal(folder: Path, more: str) -> str:
    (folder / "catalog.yaml").write_text(ENTRY + more, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        read_catalog(folder / "catalog.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ('    options: {decimal: ","}\n    options: {day_first: true}\n', "'options' stands twice: make one of them"),
        ('    options: {decimal: ".", decimal: ","}\n', "'decimal' stands twice"),
        ("    location: other.csv\n", "'location' stands twice"),
        ("    options: {null_values: [0000]}\n", "0000 would be the number 0: write it in quotes"),
        ("    options: {null_values: [010]}\n", "010 would be the number 8"),
        ("    options: {null_values: [12:30]}\n", "12:30 would be the number 750"),
        ("    options: {null_values: [1_000]}\n", "1_000 would be the number 1000"),
        ("    options: {null_values: [1.250]}\n", 'put numbers with a point in quotes, such as "1.250"'),
    ],
)
def test_what_yaml_would_change_in_silence_is_refused(tmp_path: Path, more: str, told: str) -> None:
    assert told in refusal(tmp_path, more)


def test_plain_numbers_and_quoted_ones_are_texts(tmp_path: Path) -> None:
    (tmp_path / "catalog.yaml").write_text(ENTRY + '    options: {null_values: [0, 9999, "0000", 2026-12-31]}\n')
    (source,) = read_catalog(tmp_path / "catalog.yaml").sources
    assert source.forms.null_values == ("0", "9999", "0000", "2026-12-31")


def test_a_format_is_of_any_header_of_its_column(tmp_path: Path) -> None:
    (tmp_path / "catalog.yaml").write_text(ENTRY + '    options: {formats: {Date: "%d.%m.%y %H:%M"}}\n')
    (source,) = read_catalog(tmp_path / "catalog.yaml").sources
    assert source.forms.formats == {"transaction_at": ("%d.%m.%y %H:%M",)}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("    options: {decimal: ,}\n", 'decimal: it has no value; a comma needs quotes, as in `decimal: ","`'),
        (
            "    options:\n      decimal: ,\n",
            "line 7, column 16: expected the node content, but found ','",
        ),
        ("    options:\n      decimal: ,\n", 'a sign needs quotes: `decimal: ","`'),
        ("    options: {decimal: , , thousands: .}\n", 'a sign needs quotes: `decimal: ","`'),
        ("    options: {delimiter: |}\n", 'a sign needs quotes: `delimiter: "|"`'),
        ("    options: {thousands: '}\n", """a sign needs quotes: `thousands: "'"`"""),
        ("    options: {null_values: [a}\n", "line 6, column 30: expected ',' or ']', but got '}'"),
    ],
)
def test_a_sign_that_needs_quotes_is_told_with_them(tmp_path: Path, more: str, told: str) -> None:
    refused = refusal(tmp_path, more)
    assert told in refused
    assert "\n" not in refused
