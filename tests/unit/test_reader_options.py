"""Options that a reader does not know are told, never ignored."""

from pathlib import Path

import pytest

from freight.contracts import contract_for
from freight.errors import ConfigurationError
from freight.readers import READERS, find_files


@pytest.mark.parametrize(
    ("reader", "options", "told"),
    [
        ("csv", {"delimeter": ";"}, "no option 'delimeter': it has decimal, delimiter, encoding"),
        ("csv", {"delimiter": 5}, "the option delimiter must be a text (put it in quotes), not 5"),
        ("csv", {"encoding": None}, "the option encoding must be a text (put it in quotes), not None"),
        ("excel", {"sheets": "A"}, "no option 'sheets': it has header_row, sheet"),
        ("excel", {"sheet": 2026}, "the option sheet must be a text (put it in quotes), not 2026"),
        ("excel", {"header_row": "4"}, "the option header_row must be a whole number, not '4'"),
        ("json", {"encoding": "utf-8"}, "no option 'encoding': it has none"),
        ("jsonl", {"encoding": "utf-8"}, "no option 'encoding': it has none"),
    ],
)
def test_a_wrong_option_names_the_file_and_what_to_correct(
    tmp_path: Path, reader: str, options: dict[str, object], told: str
) -> None:
    path = tmp_path / "delivery"
    path.touch()
    with pytest.raises(ConfigurationError) as caught:
        READERS[reader](find_files(str(path), tmp_path)[0], contract_for("transactions"), options)
    assert str(caught.value).startswith("delivery: ")
    assert told in str(caught.value)
    assert str(caught.value).endswith("correct `options` in the catalog")
