"""What others have written does nothing in a terminal, a log or an error."""

import io
import logging
from pathlib import Path

import polars as pl
import pytest

from freight.console.progress import progress
from freight.console.summary import frame_table
from freight.errors import ConfigurationError, SourceError
from freight.log import log_to_file
from freight.pipeline import UnitOutcome
from freight.terminal import PlainConsole

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egpj.exe\u2066 [link=http://evil.example]x[/link] [/nothing]"
SEEN = r"\x1b[2J\x1b]0;owned\x07\x9b31m\u202egpj.exe\u2066 [link=http://evil.example]x[/link] [/nothing]"


def test_a_line_in_a_terminal_is_text() -> None:
    out = io.StringIO()
    PlainConsole(file=out, force_terminal=True, width=200).print(HOSTILE, markup=False, highlight=False)
    assert out.getvalue().rstrip() == SEEN


def test_a_cell_in_a_terminal_is_text_and_no_markup() -> None:
    out = io.StringIO()
    PlainConsole(file=out, force_terminal=True, width=300).print(frame_table(pl.DataFrame({"a": [HOSTILE]})))
    assert SEEN in out.getvalue()


def test_a_name_of_a_file_cannot_end_the_bar_of_a_run() -> None:
    """As markup of rich, `[/nothing]` was an error that ended the load."""
    out = io.StringIO()
    console = PlainConsole(file=out, force_terminal=True, width=200)
    with progress(1, console) as advance:
        advance(UnitOutcome("erp", "erp_[/nothing]_[link=http://evil.example]x.csv", "loaded"))
    assert "erp_[/nothing]" in out.getvalue()


@pytest.mark.parametrize(
    "error",
    [ConfigurationError(HOSTILE), SourceError("corrupt", HOSTILE, remedy="none", location=HOSTILE, column=HOSTILE)],
    ids=["setting", "source"],
)
def test_an_error_shows_what_nobody_sees(error: Exception) -> None:
    assert SEEN in str(error)
    assert not set(str(error)) & set("\x1b\x07\x9b\u202e\u2066")


def test_a_line_of_the_log_is_text(tmp_path: Path) -> None:
    path = log_to_file(tmp_path)
    logging.getLogger("freight").warning("quarantined %s", HOSTILE)
    assert path.read_text(encoding="utf-8").rstrip().endswith(f"quarantined {SEEN}")
