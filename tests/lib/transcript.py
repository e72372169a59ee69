"""A day on the terminal, as the runbook shows it: real commands on a small installation.

`python -m tests.lib.transcript` writes it into the runbook anew.
"""

import json
import os
import re
import textwrap
from contextlib import chdir
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import yaml

from freight.contracts import LOCAL_ZONE
from freight.settings import PROJECT_ROOT
from tests.lib.corridor import HEADER, MACHINES
from tests.lib.dpa import Dpa
from tests.lib.parsing import parsed_here
from tests.lib.quarantine_books import correct

RUNBOOK = PROJECT_ROOT / "docs" / "runbook.md"
BLOCK = re.compile(r"(?<=\n## A day on the terminal\n)(?P<words>.*?\n```text\n)(?P<shown>.*?)(?=^```$)", re.S | re.M)
WIDTH = 116
SHOWN_HOME, SHOWN_DAY = "/srv/dpa", datetime(2026, 3, 3, 2, tzinfo=UTC)
DELIVERED = datetime(2026, 3, 3, 1, 30, tzinfo=UTC)
SHOWN_RUN = "6f1c2a90-4b7e-4d0a-9a51-0c8f5e2d7b13"
INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)([ T])\d\d:\d\d(:\d\d(?:\.\d+)?)?")
RUN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

CATALOG = [
    {"name": "machines", "dataset": "machines", "reader": "json", "location": "landing/machines_*.json"},
    {"name": "erp", "dataset": "transactions", "reader": "csv", "location": "landing/erp_*.csv"},
    {"name": "scale", "dataset": "transactions", "reader": "csv", "location": "landing/scale_*.csv"},
]
GOOD = [f"TRX-{number},MCH-001,2026-03-02 0{number}:00:00,{20 + number}.5,OK" for number in range(1, 7)]
BAD = "TRX-7,MCH-002,2026-03-02 09:30:00,-28.5,OK"
TWO_WAYS = "\n".join(
    [
        HEADER.replace(",", ";"),
        "TRX-8;MCH-002;2026-03-02 10:00:00;1.250;OK",
        "TRX-9;MCH-002;2026-03-02 11:00:00;2.400;OK",
        "",
    ]
)


def url_in(home: Path) -> str:
    """Return the URL of the warehouse of an installation."""
    return f"sqlite:///{(home / 'database' / 'supply_chain_dwh.sqlite').as_posix()}"


class Session:
    """A terminal in the folder of an installation; it notes what is typed and shown.

    Args:
        home: An empty folder.
    """

    def __init__(self, home: Path) -> None:
        self._home, self._dpa, self._lines = home, Dpa(home, url_in(home)), list[str]()

    def type(self, words: str) -> None:
        """Run a command of `dpa`, and note it with its output and an exit code other than 0."""
        done = self._dpa(*words.split())
        self._lines += [f"$ dpa {words}", *(done.stdout + done.stderr).splitlines()]
        if done.returncode:
            self._lines.append(f"(exit code {done.returncode})")
        self._lines.append("")

    def note(self, words: str) -> None:
        """Note what people do elsewhere."""
        self._lines.append(f"# {words}")

    @property
    def shown(self) -> str:
        """All of it, with the same times, numbers of runs and folder each time."""
        lines = (self._usual(line).rstrip() for line in self._lines)
        return "\n".join(part for line in lines for part in _folded(line)).strip() + "\n"

    def _usual(self, line: str) -> str:
        line = RUN.sub(SHOWN_RUN, line.replace(self._home.as_posix(), SHOWN_HOME))
        line = re.sub(r"\S+@\S+", "dpa@server", line) if "started_by" in line else line
        line = INSTANT.sub(_usual_instant, line)
        local = SHOWN_DAY.astimezone(ZoneInfo(LOCAL_ZONE))
        return line.replace(f"{SHOWN_DAY:%H:%M} in {LOCAL_ZONE}", f"{local:%H:%M} in {LOCAL_ZONE}")


def _usual_instant(found: re.Match[str]) -> str:
    """Return an instant of today as one of the day that the page shows; data keeps its own."""
    if datetime.now(UTC) - datetime.fromisoformat(found[1]).replace(tzinfo=UTC) > timedelta(days=3):
        return found[0]
    return f"{SHOWN_DAY:%Y-%m-%d}{found[2]}{SHOWN_DAY:%H:%M}{':00' if found[3] else ''}"


def _folded(line: str) -> list[str]:
    more = " " * (len(line) - len(line.lstrip()) + 4)
    whole = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.wrap(line, WIDTH, subsequent_indent=more, **whole) if len(line) > WIDTH else [line]  # type: ignore[arg-type]


def day_on_the_terminal(home: Path) -> str:
    """Return what a terminal shows on a day with a bad row, a file that can be read in two ways, and their repair.

    Args:
        home: An empty folder for the installation.
    """
    _make_installation(home)
    with chdir(home):
        return _day(Session(home), home)


def _make_installation(home: Path) -> None:
    _write_catalog(home)
    landing = home / "landing"
    landing.mkdir(mode=0o700)
    (landing / "machines_20260301.json").write_text(json.dumps(MACHINES), encoding="utf-8")
    (landing / "erp_20260303.csv").write_text("\n".join([HEADER, *GOOD, BAD, ""]), encoding="utf-8")
    (landing / "scale_20260303.csv").write_text(TWO_WAYS, encoding="utf-8")
    for file in landing.iterdir():
        os.utime(file, (DELIVERED.timestamp(), DELIVERED.timestamp()))
    (home / "database").mkdir(mode=0o700)
    Dpa(home, url_in(home))("migrate")


def _write_catalog(home: Path, **of_the_scale: object) -> None:
    sources = [*CATALOG[:-1], CATALOG[-1] | of_the_scale]
    (home / "catalog.yaml").write_text(yaml.safe_dump({"sources": sources}), encoding="utf-8")


def _day(session: Session, home: Path) -> str:
    session.type("run")
    session.note("run again: the file is not tried again, and its reason is repeated")
    session.type("run")
    session.type("parked")
    session.type("quarantine list")
    session.type("quarantine export corrections.xlsx")
    session.note("an analyst corrects the coloured cell and saves the workbook")
    correct(home / "corrections.xlsx", {1: {"volume_transferred_t": "28.5"}})
    session.type("quarantine import corrections.xlsx")
    session.type("explain transactions TRX-7")
    session.note("the owner of the scale answers that it writes decimal points: the option goes into the catalog")
    _write_catalog(home, options={"decimal": "."})
    session.type("retry --source scale")
    session.type("run scale")
    session.type("parked")
    session.type("history --last 4")
    session.type("reconcile")
    return session.shown


def main() -> None:
    """Write the transcript into the runbook."""
    with TemporaryDirectory() as home, parsed_here():
        shown = day_on_the_terminal(Path(home).resolve())
    page = RUNBOOK.read_text(encoding="utf-8")
    RUNBOOK.write_text(BLOCK.sub(lambda found: found["words"] + shown, page), encoding="utf-8")


if __name__ == "__main__":
    main()
