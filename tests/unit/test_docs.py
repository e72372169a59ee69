"""The documents say what is true: commands exist, links lead somewhere, the dictionary is that of the contracts."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import bootstrap
from freight.console.cli import app
from freight.contracts import contracts
from freight.settings import PROJECT_ROOT
from freight.warehouse.dictionary import render

DOCUMENTS = sorted(
    [*PROJECT_ROOT.glob("*.md"), *(PROJECT_ROOT / "docs").rglob("*.md"), PROJECT_ROOT / "deployments/aks/README.md"]
)
WRITTEN_BY_PEOPLE = r"deployments|flows|tasks|blocks|freight|sql|tests|docs|benchmarks"

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)


@every_document
def test_links_lead_to_files(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []


@every_document
def test_files_that_are_named_exist(document: Path) -> None:
    text = re.sub(r"^### .*$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE)  # files to be written
    named = re.findall(rf"`((?:{WRITTEN_BY_PEOPLE})/[^`<>*:]*)(?:::\w+)?`", text)
    assert [path for path in named if not (PROJECT_ROOT / path).exists()] == []


def options_of_dpa(command: Any = None, name: str = "") -> dict[str, set[str]]:
    """Return the options of each `dpa` command, also of those that have a group's name before their own."""
    command = command or typer.main.get_command(app)
    options = {name: {option for parameter in command.params for option in parameter.opts}}
    for part, below in getattr(command, "commands", {}).items():
        options |= options_of_dpa(below, f"{name} {part}".strip())
    return options


@every_document
def test_dpa_commands_and_their_options_exist(document: Path) -> None:
    known = options_of_dpa()
    shown = re.findall(
        r"(?:^ *|`)(?:\.venv/bin/)?dpa ([a-z][a-z-]*(?: [a-z]+)?)([^`\n]*)", document.read_text("utf-8"), re.M
    )
    for command, rest in shown:
        name = command if command in known else command.partition(" ")[0]
        assert name in known, f"dpa {command}{rest}"
        assert set(re.findall(r"--[a-z-]+", rest)) <= known[name], f"dpa {command}{rest}"


@every_document
def test_make_targets_and_bootstrap_commands_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (PROJECT_ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)) <= targets
    assert set(re.findall(r"bootstrap\.py ([a-z]+)", text)) <= bootstrap.COMMANDS.keys()


def test_decisions_are_numbered_and_each_is_in_the_architecture() -> None:
    names = [path.name for path in DOCUMENTS if path.parent.name == "decisions"]
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    text = (PROJECT_ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\(decisions/([^)]+)\)", text) == names


@pytest.mark.parametrize("part", ["Context", "Decision", "Consequences", "Measured"])
@pytest.mark.parametrize("decision", [d for d in DOCUMENTS if d.parent.name == "decisions"], ids=lambda path: path.stem)
def test_a_decision_has_each_part(decision: Path, part: str) -> None:
    assert f"\n**{part}.** " in decision.read_text(encoding="utf-8")


def outputs(text: str) -> set[str]:
    """Return the files and folders that the commands of a document leave in the project's folder."""
    exports = re.findall(r"dpa export \w+ (\S+\.\w+)", text)
    others = re.findall(r'dpa (?:backup|quarantine export) "?([\w/]+[^\s`"]*\.\w+|\w+/[^"`\n]*)', text)
    return {*exports, *others, *re.findall(r"--dest (\w+)", text), *re.findall(r"--from-file=(auth-\w+)", text)}


def test_git_ignores_what_the_documented_commands_leave() -> None:
    left = set().union(*(outputs(path.read_text(encoding="utf-8")) for path in DOCUMENTS))
    assert left >= {
        "transactions.csv",
        "stations.xlsx",
        "corrections.xlsx",
        "backup/dwh.sqlite",
        "wheels",
        "auth-string",
    }
    paths = sorted(f"{name}/x" if "." not in name and name != "auth-string" else name for name in left)
    ignored = subprocess.run(["git", "check-ignore", *paths], cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert ignored.stdout.splitlines() == paths


def test_the_french_document_names_every_deployment_with_its_time() -> None:
    text = (PROJECT_ROOT / "docs" / "exploitation.fr.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| .* \| ([^|]+) \|$", text.partition("| déploiement |")[2], re.MULTILINE))
    deployments = yaml.safe_load((PROJECT_ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    assert rows.keys() == {deployment["name"] for deployment in deployments}
    for deployment in deployments:
        has_schedule = bool(deployment.get("schedules"))
        assert rows[deployment["name"]].startswith("à la demande") is not has_schedule, deployment["name"]


def test_the_french_document_names_every_setting() -> None:
    text = (PROJECT_ROOT / "docs" / "exploitation.fr.md").read_text(encoding="utf-8")
    read = (PROJECT_ROOT / "freight" / "settings.py").read_text(encoding="utf-8")
    assert set(re.findall(r'"(DPA_\w+)"', read)) <= set(re.findall(r"^\| `(DPA_\w+)` \|", text, re.MULTILINE))


def test_folders_that_the_architecture_names_exist() -> None:
    text = (PROJECT_ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([a-z_/.]+)` \|", text, re.MULTILINE)
    assert named
    assert [path for path in named if not (PROJECT_ROOT / path).exists()] == []


def attacks(text: str) -> list[list[str]]:
    """Return the rows of the security model: threat, what stops it, tests."""
    tables = text.partition("\n## What stops them\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in tables.splitlines() if line.startswith("| ")]
    return [row for row in rows if row[0].strip() != "threat"]


def missing_tests(row: list[str]) -> list[str]:
    """Return the tests that a row names and that do not exist; the row itself if it names none."""
    named = re.findall(r"`(tests/[^`:]+)::([^`]+)`", row[-1])
    found = [path for path, name in named if f"def {name}(" not in (PROJECT_ROOT / path).read_text(encoding="utf-8")]
    return found if named else row


def test_each_attack_of_the_security_model_has_a_test_that_tries_it() -> None:
    rows = attacks((PROJECT_ROOT / "docs" / "security.md").read_text(encoding="utf-8"))
    assert len(rows) > 40
    assert [missing for row in rows for missing in missing_tests(row)] == []


def test_the_dictionary_is_that_of_the_contracts() -> None:
    assert (PROJECT_ROOT / "docs" / "data-dictionary.md").read_text(encoding="utf-8") == render(contracts().values())


def test_a_header_of_a_supplier_is_text_in_the_dictionary() -> None:
    stations, *_ = contracts().values()
    hostile = replace(stations.columns[0], aliases=("<img src=http://evil.example>|[x](http://evil.example)",))
    written = render([replace(stations, columns=(hostile, *stations.columns[1:]))])
    assert "‹img src=http://evil.example›¦［x］(http://evil.example)" in written


def test_a_missing_command_would_be_found(tmp_path: Path) -> None:
    document = tmp_path / "wrong.md"
    document.write_text("`dpa migrate --fast` and `dpa fly`, `make haste`, `tests/no_such_test.py`", encoding="utf-8")
    for test in (
        test_dpa_commands_and_their_options_exist,
        test_make_targets_and_bootstrap_commands_exist,
        test_files_that_are_named_exist,
    ):
        with pytest.raises(AssertionError):
            test(document)
    assert missing_tests(["a", "b", "`tests/unit/test_docs.py::test_of_nothing`"])
    assert missing_tests(["a", "b", "none"])
