"""LibreOffice, as a person who opens a workbook and saves it."""

import shutil
import subprocess
from pathlib import Path

import pytest


def convert(path: Path, kind: str, folder: Path, *options: str) -> None:
    """Let LibreOffice write a file in another way; skip the test, aloud, where there is none.

    Args:
        path: of the file.
        kind: as `--convert-to` of LibreOffice takes it.
        folder: where it goes, by the same name; also keeps the profile of LibreOffice.
        options: further ones of LibreOffice.
    """
    office = shutil.which("soffice") or shutil.which("libreoffice")
    if office is None:
        pytest.skip("LibreOffice is NOT INSTALLED: what it makes of a workbook is not tested (apt: libreoffice-calc)")
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    command = [office, profile, "--headless", *options, "--convert-to", kind, "--outdir", str(folder), str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
