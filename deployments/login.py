"""The password of this machine's Prefect server: created once, readable by its owner alone, and sourced by shells."""

import os
import re
import shlex
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from freight.errors import ConfigurationError
from freight.settings import PROJECT_ROOT, Settings
from tasks.temporary_server import new_login

OURS = "PREFECT_SERVER_API_AUTH_STRING"  # Prefect's setting for the server; a user may set it
THEIRS = "PREFECT_API_AUTH_STRING"  # Prefect's setting for its clients


def own_login() -> str:
    """Return the `user:password` that the user has set; empty if there is none.

    Raises:
        ConfigurationError: Prefect's server would refuse everybody.
    """
    login = os.environ.get(OURS, "")
    if login and not re.fullmatch(r"[!-9;-~]+:[ -~]+", login):
        raise ConfigurationError(
            f"{OURS} has to be user:password, in printable ASCII characters: correct it, or unset it and one is made"
        )
    return login


def kept_login(here: Settings) -> str:
    """Return the login that was created for this installation; empty if there is none."""
    path = _password_path(here)
    return path.read_text(encoding="ascii").strip() if path.exists() else ""


def chosen_login(here: Settings, show: Callable[[str], None]) -> str:
    """Return the user's own login, else the stored one; without either, create one and show it.

    The stored login is always the one in force, so the user's own replaces it.
    """
    own = own_login()
    if own:
        _password_path(here).unlink(missing_ok=True)
    elif not kept_login(here):
        write_for_us_alone(_password_path(here), new_login())
        show(kept_login(here))
    return own or kept_login(here)


def _password_path(here: Settings) -> Path:
    return here.prefect / "password"


def write_for_us_alone(path: Path, text: str) -> None:
    """Write a file that only its owner can read, in a folder that only its owner can enter.

    On Windows the access list of the folder decides, as for all of a user's files.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    handle, draft = tempfile.mkstemp(dir=path.parent)  # never readable by others
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    Path(draft).replace(path)


# --- The file for shells -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shell:
    """The syntax of a shell.

    Attributes:
        reads: The command that sources a file.
        sets: The command that sets a variable.
        takes: The value of a variable.
        needs: The command that requires a variable, and otherwise stops with a reason.
        quotes: The function that quotes a text.
    """

    reads: str
    sets: str
    takes: str
    needs: str
    quotes: Callable[[str], str]


SH = Shell(
    reads=". {}",
    sets="export {}={}",
    takes='"${}"',
    needs=': "${{{}:?must be the login that the Prefect server was started with}}"',
    quotes=shlex.quote,
)
POWERSHELL = Shell(
    reads="Get-Content -Raw -Encoding UTF8 {} | Invoke-Expression",  # since Windows forbids scripts by default
    sets="$env:{} = {}",
    takes="$env:{}",
    needs="if (-not $env:{0}) {{ throw '{0} must be the login that the Prefect server was started with' }}",
    quotes=lambda text: "'" + re.sub("(['\u2018-\u201b])", r"\1\1", text) + "'",  # each of them ends a text
)


def tell_shells(here: Settings, ui: str, variables: Mapping[str, str]) -> None:
    """Write the file that a shell sources to reach the server, and that `dpa prefect-login` shows.

    Args:
        here: The settings of the installation.
        ui: The URL of the server for people.
        variables: The environment variables that its clients need.
    """
    shell, secret = _shell(here), variables[THEIRS]
    values = {name: shell.quotes(value) for name, value in variables.items()}
    needed, about = [], f"the login {secret}"
    if secret != kept_login(here):  # the user keeps it elsewhere, so it is not stored here
        values[THEIRS] = shell.takes.format(OURS)
        needed, about = [shell.needs.format(OURS)], f"the login in {OURS}"
    comments = f"Prefect at {ui} asks for {about}", f"To use it in a shell: {source_line(here)}"
    header = [f"# {' '.join(comment.splitlines())}" for comment in comments]  # a path may contain a line end
    assigned = [shell.sets.format(name, value) for name, value in values.items()]
    write_for_us_alone(here.prefect_login, "\n".join([*header, *needed, *assigned, ""]))


def source_line(here: Settings) -> str:
    """Return the command that sources it, for a shell in the project's folder."""
    path = here.prefect_login
    near = path.relative_to(PROJECT_ROOT) if path.is_relative_to(PROJECT_ROOT) else path
    shell = _shell(here)
    return shell.reads.format(shell.quotes(str(near)))


def _shell(here: Settings) -> Shell:
    return POWERSHELL if here.prefect_login.suffix == ".ps1" else SH
