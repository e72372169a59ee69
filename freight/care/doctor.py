"""Checks the machine that DPA runs on, and names what to change."""

import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

from freight.care.open_places import open_places
from freight.parsers.confinement import Confinement
from freight.settings import PROJECT_ROOT, Settings

CONFINEMENT_LIMIT_S = 60.0


class Finding(NamedTuple):
    """Something about the machine.

    Attributes:
        text: The finding in one line.
        remedy: The command or change that fixes it; empty if all is well, or if this system has no remedy.
    """

    text: str
    remedy: str = ""


def examine(here: Settings) -> Iterator[Finding]:
    """Check who can read DPA's files, and how far parsers are confined."""
    places = open_places(here, here.warehouse_url)
    yield from (Finding(str(place), place.remedy) for place in places)
    if sys.platform == "win32":
        yield Finding("file permissions are not checked: Windows keeps them in access lists")
    elif not places:
        yield Finding(f"files are closed to other users (umask {here.umask:04o})")
    yield about_confinement(confinement_here())


def confinement_here() -> Confinement:
    """Return how parsers are confined on this machine; a separate process tries it."""
    if sys.platform != "linux":
        return Confinement(0, seccomp=False)
    done = subprocess.run(
        [sys.executable, "-m", "freight.parsers.confinement"],
        cwd=PROJECT_ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CONFINEMENT_LIMIT_S,
        check=False,
    )
    version, _, seccomp = done.stdout.strip().partition(" ")
    return Confinement(int(version or 0), seccomp == "True")


def about_confinement(confinement: Confinement) -> Finding:
    """Describe how far a parser is confined once a hostile file has taken it over."""
    if all(confinement):
        return Finding(f"parsers are confined to their file (Landlock {confinement.landlock}, seccomp)")
    if sys.platform != "linux":
        return Finding(
            "parsers are not confined on this machine, only Linux can: a compromised parser can do whatever you can"
        )
    lacking, remedy = (
        ("files", "run a kernel of 5.13 or newer that lists landlock in /sys/kernel/security/lsm")
        if not confinement.landlock
        else ("network and processes", "run a kernel with seccomp filters on x86_64 or aarch64")
    )
    return Finding(
        f"parsers are not confined on this machine: a compromised parser reaches {lacking} as you do", remedy
    )
