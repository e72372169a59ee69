"""The runbook shows what the terminal shows."""

from pathlib import Path

from tests.lib.transcript import BLOCK, RUNBOOK, day_on_the_terminal


def test_the_day_on_the_terminal_is_as_the_runbook_shows_it(tmp_path: Path) -> None:
    """After a change that is right, `python -m tests.lib.transcript` writes it into the runbook."""
    (found,) = BLOCK.finditer(RUNBOOK.read_text(encoding="utf-8"))
    assert day_on_the_terminal(tmp_path.resolve()) == found["shown"]
