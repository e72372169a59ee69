"""What commands print for programs."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from freight.console.as_json import print_json


@dataclass(frozen=True)
class Told:
    at: datetime
    text: str


def test_descriptions_are_objects_and_text_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    text = "Ngaoundéré \x1b[2J \x9b2J \u202e txt"
    print_json([Told(datetime(2026, 3, 1, tzinfo=UTC), text)])
    shown = capsys.readouterr().out
    assert json.loads(shown) == [{"at": "2026-03-01T00:00:00+00:00", "text": text}]
    assert "Ngaoundéré" in shown
    assert not {"\x1b", "\x9b", "\u202e"} & set(shown)
