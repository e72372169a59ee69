"""LibreOffice, in place of a person who opens and saves a workbook."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lib.waiting import LIMIT_S


def convert(path: Path, kind: str, folder: Path, *options: str) -> None:
    """Convert a file with LibreOffice; skip the test, with a message, if it is missing.

    Args:
        path: The path of the file.
        kind: The format, as in LibreOffice's `--convert-to`.
        folder: The folder for the result, under the same name, and for LibreOffice's profile.
        options: Further options of LibreOffice.
    """
    office = shutil.which("soffice") or shutil.which("libreoffice")
    if office is None:
        pytest.skip("LibreOffice is NOT INSTALLED: what it makes of a workbook is not tested (apt: libreoffice-calc)")
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    command = [office, profile, "--headless", *options, "--convert-to", kind, "--outdir", str(folder), str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=LIMIT_S)
