"""A copy of the repository, like a fresh clone, in which tests run the commands of the documents."""

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path

from freight.settings import PROJECT_ROOT

MADE_BY_DPA = {"database", "landing", "logs", "reports", "run", "spool"}


class Checkout:
    """A copy of the repository whose virtual environment uses the packages of this one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for entry in PROJECT_ROOT.iterdir():
            if entry.name not in MADE_BY_DPA and not entry.name.startswith("."):
                copy = shutil.copytree if entry.is_dir() else shutil.copy2
                copy(entry, folder / entry.name)
        self._borrow_packages()

    def _borrow_packages(self) -> None:
        venv.create(self.folder / ".venv", symlinks=True)
        (packages,) = (self.folder / ".venv").glob("lib/python3*/site-packages")
        (packages / "borrowed.pth").write_text(next(path for path in sys.path if path.endswith("site-packages")))
        prefect = self.folder / ".venv" / "bin" / "prefect"
        prefect.write_text(f"#!/bin/sh\nexec '{prefect.with_name('python')}' -m prefect \"$@\"\n")
        prefect.chmod(0o755)
        base = getattr(sys, "_base_executable", sys.executable)
        finish = f"b._link_project(b.DEV); b._write_stamp(b.DEV, {base!r})"
        subprocess.run([sys.executable, "-c", f"import bootstrap as b; {finish}"], cwd=self.folder, check=True)

    def write(self, files: Mapping[str, str]) -> None:
        """Write files, by their paths."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a shell without variables of DPA or Prefect, or of the make that started these tests."""
        ours = ("DPA_", "PREFECT_", "PYTEST", "VIRTUAL_ENV", "PYTHONPATH", "MAKE", "MFLAGS", "ARGS")
        plain = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return {**plain, "PREFECT_HOME": str(self.folder.with_name("prefect")), **more}

    def run(self, lines: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run shell lines in the copy; returns output and errors together."""
        return subprocess.run(
            ["sh", "-e", "-c", lines],
            cwd=self.folder,
            env=self.environment(**environment),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def run_on_terminal(self, line: str, interrupt_at: str = "", **environment: str) -> tuple[int, str]:
        """Run a shell line on a pseudo-terminal; return its exit code and its output.

        Ctrl-C is sent once, after the terminal has shown what the regular expression `interrupt_at` matches.
        """
        ours, theirs = pty.openpty()
        shell = self.environment(TERM="xterm", COLUMNS="100", **environment)
        shown = b""
        with subprocess.Popen(
            ["sh", "-c", line],
            cwd=self.folder,
            env=shell,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,  # as in a terminal, whose Ctrl-C reaches all its processes
        ) as process:
            os.close(theirs)
            for part in _read_all(ours):
                shown += part
                if interrupt_at and re.search(interrupt_at.encode(), shown):
                    interrupt_at = ""
                    os.killpg(process.pid, signal.SIGINT)
        os.close(ours)
        return process.returncode, shown.decode()


def _read_all(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # Linux raises it once the other side has closed
            return
        if not part:
            return
        yield part
