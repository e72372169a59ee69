"""The password of the Prefect server of this machine: made once, kept for its owner alone, told to shells by a file."""

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

OURS = "PREFECT_SERVER_API_AUTH_STRING"  # which Prefect knows as the server's, and a user may set
THEIRS = "PREFECT_API_AUTH_STRING"  # which Prefect's clients read


def own_login() -> str:
    """Return what the user has set as `user:password`, empty if that is nothing.

    Raises:
        ConfigurationError: Prefect's server would refuse everybody.
    """
    login = os.environ.get(OURS, "")
    if login and not re.fullmatch(r"[!-9;-~]+:[ -~]+", login):
        raise ConfigurationError(
            f"{OURS} has to be user:password, of ASCII characters that can be printed: correct it, or unset it and one"
            " is made"
        )
    return login


def kept_login(here: Settings) -> str:
    """Return the one that was made for this installation, empty if there is none."""
    path = _password_path(here)
    return path.read_text(encoding="ascii").strip() if path.exists() else ""


def chosen_login(here: Settings, show: Callable[[str], None]) -> str:
    """Return the user's own, else the one that is kept; if there is none, one is made and shown.

    What is kept is what is in force, so the user's own takes its place.
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

    On Windows the folder's own list decides, as for everything of a user.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    handle, draft = tempfile.mkstemp(dir=path.parent)  # nobody else can read it at any time
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    Path(draft).replace(path)


# --- The file for shells -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shell:
    """How a shell says things.

    Attributes:
        reads: the lines of a file as its own.
        sets: a variable to a value.
        takes: the value of a variable.
        needs: a variable, or says why it does not go on.
        quotes: a text.
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
    needs=': "${{{}:?has to be what the Prefect server was started with}}"',
    quotes=shlex.quote,
)
POWERSHELL = Shell(
    reads="Get-Content -Raw -Encoding UTF8 {} | Invoke-Expression",  # as Windows forbids scripts unless told otherwise
    sets="$env:{} = {}",
    takes="$env:{}",
    needs="if (-not $env:{0}) {{ throw '{0} has to be what the Prefect server was started with' }}",
    quotes=lambda text: "'" + re.sub("(['\u2018-\u201b])", r"\1\1", text) + "'",  # each of them would end the text
)


def tell_shells(here: Settings, ui: str, variables: Mapping[str, str]) -> None:
    """Write the file that a shell sources to talk to the server, and that `dpa prefect-login` shows.

    Args:
        here: the installation.
        ui: where people open the server.
        variables: The environment variables that its clients need.
    """
    shell, secret = _shell(here), variables[THEIRS]
    values = {name: shell.quotes(value) for name, value in variables.items()}
    needed, about = [], f"the login {secret}"
    if secret != kept_login(here):  # a user keeps it elsewhere, so it is not written down here
        values[THEIRS] = shell.takes.format(OURS)
        needed, about = [shell.needs.format(OURS)], f"the login in {OURS}"
    comments = f"Prefect at {ui} asks for {about}", f"A shell knows it after: {source_line(here)}"
    told = [f"# {' '.join(comment.splitlines())}" for comment in comments]  # a path may have a line end in it
    assigned = [shell.sets.format(name, value) for name, value in values.items()]
    write_for_us_alone(here.prefect_login, "\n".join([*told, *needed, *assigned, ""]))


def source_line(here: Settings) -> str:
    """Return the line that tells a shell in the project's folder."""
    path = here.prefect_login
    near = path.relative_to(PROJECT_ROOT) if path.is_relative_to(PROJECT_ROOT) else path
    shell = _shell(here)
    return shell.reads.format(shell.quotes(str(near)))


def _shell(here: Settings) -> Shell:
    return POWERSHELL if here.prefect_login.suffix == ".ps1" else SH
