"""A reader or an option that does not exist is told when the catalog is read, never ignored."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from freight.catalog import read_catalog
from freight.errors import ConfigurationError
from freight.readers import reader_for


def catalog_with(folder: Path, **changes: Any) -> Path:
    entry = {"name": "erp", "dataset": "transactions", "reader": "csv", "location": "*.csv", **changes}
    path = folder / "catalog.yaml"
    path.write_text(yaml.safe_dump({"sources": [entry]}), encoding="utf-8")
    return path


EVERY = (
    "day_first, decimal, false_values, formats, ignore, members, null_values, skip_rows_where, thousands, true_values"
)
WITH_LIST = (
    "absent_keys, day_first, decimal, false_values, formats, ignore, members, null_values, pages, records, "
    "skip_rows_where, thousands, total_key, true_values"
)
WITH_SHEET = (
    "day_first, decimal, encoding, false_values, formats, header_row, header_rows, ignore, members, null_values, "
    "sheet, shown_units, skip_rows_where, skip_sheets, thousands, true_values"
)


@pytest.mark.parametrize(
    ("reader", "options", "told"),
    [
        (
            "csv",
            {"delimeter": ";"},
            "delimeter: unknown to this reader, which knows columns, day_first, decimal, delimiter, encoding, escape, "
            "false_values, formats, ignore, members, null_values, quote, skip_lines, skip_rows_where, thousands, "
            "true_values",
        ),
        ("csv", {"delimiter": 5}, "delimiter: Input should be a valid string, not 5"),
        ("csv", {"delimiter": ";;"}, 'delimiter: write one sign in quotes, such as ";" or "\\t" for a tab, not \';;\''),
        ("csv", {"delimiter": ""}, 'delimiter: write one sign in quotes, such as ";" or "\\t" for a tab, not \'\''),
        ("csv", {"decimal": None}, 'decimal: it has no value; a comma needs quotes, as in `decimal: ","`'),
        ("csv", {"encoding": "cp9999"}, "encoding: there is no such encoding, not 'cp9999'"),
        ("csv", {"encoding": "base64"}, "encoding: there is no such encoding, not 'base64'"),
        ("csv", {"decimal": ";"}, "decimal: Input should be '.' or ',', not ';'"),
        ("excel", {"sheets": "A"}, f"sheets: unknown to this reader, which knows {WITH_SHEET}"),
        ("excel", {"sheet": 2026}, "sheet: Input should be a valid string, not 2026"),
        ("excel", {"header_row": "4"}, "header_row: Input should be a valid integer, not '4'"),
        ("excel", {"header_row": 0}, "header_row: Input should be greater than or equal to 1, not 0"),
        ("json", {"encoding": "utf-8"}, f"encoding: unknown to this reader, which knows {WITH_LIST}"),
        ("jsonl", {"encoding": "utf-8"}, f"encoding: unknown to this reader, which knows {EVERY}"),
    ],
)
def test_a_wrong_option_names_the_entry_and_what_is_right(
    tmp_path: Path, reader: str, options: dict[str, object], told: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_catalog(catalog_with(tmp_path, reader=reader, options=options))
    assert str(caught.value) == f"catalog.yaml: sources > erp > options > {told}"


def test_right_options_are_taken(tmp_path: Path) -> None:
    options = {"delimiter": "\t", "encoding": "latin-1", "decimal": ","}
    assert read_catalog(catalog_with(tmp_path, options=options)).sources[0].options == options


@pytest.mark.parametrize("tab", ["tab", r"\t", "\t"])
def test_a_tab_may_be_written_as_people_write_it(tab: str) -> None:
    options = reader_for("csv").options
    for given in (options.of({"delimiter": tab}), options.of_texts({"delimiter": tab})):
        assert given.model_dump()["delimiter"] == "\t"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"formats": {"transaction_at": "dd/mm/yyyy"}}, "'dd/mm/yyyy' is no format of a day or an instant: write one"),
        ({"formats": {"transaction_at": ["%d/%m/%Y", "%d"]}}, "'%d' is no format"),
        ({"formats": {"transaction_at": []}}, "it needs a format, such as"),
        (
            {"formats": {"volume": "%Y%m%d"}},
            "formats > volume_transferred_t: transactions have no such time: transaction_at",
        ),
        ({"decimal": ",", "thousands": ","}, "thousands: the decimal mark cannot separate thousands"),
        ({"true_values": ["o"], "false_values": ["O"]}, "'o' cannot mean true and false"),
        ({"true_values": [True]}, 'put yes, no, on, off, true and false in quotes, such as "yes"'),
    ],
)
def test_options_of_values_that_mean_nothing_are_refused(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_catalog(catalog_with(tmp_path, options=options))
    assert words in str(caught.value)


def test_a_day_and_a_number_of_yaml_are_texts(tmp_path: Path) -> None:
    options = {"null_values": [date(9999, 12, 31), 0, "n/a"]}
    (source,) = read_catalog(catalog_with(tmp_path, options=options)).sources
    assert source.forms.null_values == ("9999-12-31", "0", "n/a")


def test_a_reader_that_does_not_exist_is_named_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match="erp > reader: there is no reader 'xml'; the readers are csv, excel, json"
    ):
        read_catalog(catalog_with(tmp_path, reader="xml"))


@pytest.mark.parametrize(
    ("reader", "name", "text", "value"),
    [
        ("csv", "null_values", '["-", n/a]', ["-", "n/a"]),
        ("csv", "columns", "[id, machine]", ["id", "machine"]),
        ("excel", "sheet", "[Janvier, Mars]", ["Janvier", "Mars"]),
        ("excel", "sheet", "Janvier", "Janvier"),
        ("excel", "header_row", "4", 4),
        ("csv", "formats", "{date: [epoch_s, epoch_ms]}", {"date": ["epoch_s", "epoch_ms"]}),
        ("fixed_width", "columns", "[{name: id, width: 8}]", [{"name": "id", "width": 8, "start": None, "end": None}]),
        ("csv", "quote", "[", "["),
    ],
)
def test_a_command_line_gives_lists_and_mappings_as_yaml(reader: str, name: str, text: str, value: object) -> None:
    assert reader_for(reader).options.of_texts({name: text}).model_dump()[name] == value


def test_a_value_that_yaml_takes_for_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="sources > None > name: Input should be a valid string, not None"):
        read_catalog(catalog_with(tmp_path, name=None))
