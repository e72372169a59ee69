"""The documents say what is true: commands exist, links lead somewhere, the dictionary is that of the contracts."""

import re
from pathlib import Path

import pytest

from freight.cli import app
from freight.dictionary import render
from freight.settings import PROJECT_ROOT

DOCUMENTS = sorted([*PROJECT_ROOT.glob("*.md"), *(PROJECT_ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert set(re.findall(r"`(?:\.venv/bin/)?dpa ([a-z]+)", text)) <= commands
    targets = set(re.findall(r"^([a-z]+):", (PROJECT_ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)) <= targets


def test_folders_that_the_architecture_names_exist() -> None:
    text = (PROJECT_ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([a-z_/.]+)` \|", text, re.MULTILINE)
    assert named
    assert [path for path in named if not (PROJECT_ROOT / path).exists()] == []


def test_the_dictionary_is_that_of_the_contracts() -> None:
    assert (PROJECT_ROOT / "docs" / "data-dictionary.md").read_text(encoding="utf-8") == render()
