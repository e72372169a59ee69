"""What reads MS Access is started from jars that the project knows, else the source says what to do."""

import hashlib
import os
from pathlib import Path

import pytest

from freight.errors import SourceError
from freight.readers import access_jars
from freight.readers.access_jars import find_program


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as `dpa fetch-access` makes it, of one jar beside the compiler."""
    listed = tmp_path / "list"
    lines = (f"{hashlib.sha256(name.encode()).hexdigest()}  {name}.jar" for name in ("ecj", "jackcess"))
    listed.write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(access_jars, "LISTED", listed)
    monkeypatch.setattr(access_jars, "why_no_java", lambda: "")
    place = access_jars._jars_in(tmp_path)
    (place / "compiler").mkdir(parents=True)
    (place / "compiler" / "ecj.jar").write_text("ecj")
    (place / "jackcess.jar").write_text("jackcess")
    return place


def test_the_jars_come_before_the_program_which_can_hide_none(place: Path) -> None:
    assert find_program(place.parent).class_path == os.pathsep.join((str(place / "*"), str(place / "program")))


@pytest.mark.parametrize(
    ("jar", "fault"),
    [
        ("jackcess.jar", "jackcess.jar has another SHA-256"),
        ("compiler/ecj.jar", "ecj.jar has another SHA-256"),
        ("a.jar", "a.jar is not listed"),
    ],
    ids=["changed", "compiler", "extra"],
)
def test_a_jar_that_nobody_knows_is_not_started(place: Path, jar: str, fault: str) -> None:
    (place / jar).write_text("evil")
    with pytest.raises(SourceError) as refused:
        find_program(place.parent)
    assert fault in str(refused.value)
    assert refused.value.remedy == f"delete the folder {place}, then run `dpa fetch-access` once"
