"""Settings of an installation. The only module that reads the environment."""

import getpass
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from freight.errors import ConfigurationError

AzureCloud = Literal["public", "china", "usgov"]

# The secrets that Azure's library reads by itself, and might repeat in a message.
AZURE_SECRETS = ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_PASSWORD")

PROJECT_ROOT = Path(__file__).resolve().parent.parent
PRIVATE = 0o077  # only the user may access the files and folders of DPA
OF_THE_USER = 0o700


@dataclass(frozen=True)
class Settings:
    """The places of an installation. Relative paths start at the home folder: `DPA_HOME`, or else the project's folder.

    Attributes:
        umask: The rights that new files and folders of DPA do not get, as in the system call.
        prefect_home: The folder of this user's own Prefect, which also runs without `make up`.
    """

    home: Path
    warehouse_url: str
    catalog: Path
    kafka_bootstrap: str | None = None
    umask: int = PRIVATE
    prefect_home: Path | None = None
    kafka_insecure: bool = False

    @property
    def logs(self) -> Path:
        """The folder of the log files."""
        return self.home / "logs"

    @property
    def reports(self) -> Path:
        """The folder of the workbook."""
        return self.home / "reports"

    @property
    def spool(self) -> Path:
        """The folder of the Arrow files that pass between tasks, with one sub-folder per run."""
        return self.home / "spool"

    @property
    def processes(self) -> Path:
        """The folder of the files that show which processes of this installation are alive."""
        return self.home / "run"

    @property
    def access(self) -> Path:
        """The folder of the Java libraries that read MS Access."""
        return self.home / ".access"

    @property
    def prefect(self) -> Path:
        """The folder of this machine's Prefect: its database, and its password."""
        return self.home / ".prefect"

    @property
    def prefect_login(self) -> Path:
        """The script that a shell sources to talk to this machine's Prefect."""
        return self.prefect / ("login.ps1" if os.name == "nt" else "login.sh")

    @property
    def landing(self) -> Path:
        """The folder that the simulator fills."""
        return self.home / "landing"


def load_settings() -> Settings:
    """Read the variables `DPA_…`.

    All but `DPA_KAFKA_BOOTSTRAP` have a default that works on a laptop; an installation that listens to Kafka must set
    that one.

    Raises:
        ConfigurationError: The home folder does not exist, or a variable has an invalid value.
    """
    home = Path(os.environ.get("DPA_HOME", PROJECT_ROOT)).resolve()
    if not home.is_dir():
        raise ConfigurationError(f"DPA_HOME names {home}, which is not a folder: create it or correct the variable")
    embedded = f"sqlite:///{(home / 'database' / 'supply_chain_dwh.sqlite').as_posix()}"
    return Settings(
        home=home,
        warehouse_url=os.environ.get("DPA_WAREHOUSE_URL") or embedded,
        catalog=home / os.environ.get("DPA_CATALOG", "catalog.yaml"),
        kafka_bootstrap=os.environ.get("DPA_KAFKA_BOOTSTRAP") or None,
        umask=load_umask(),
        prefect_home=_prefect_home(),
        kafka_insecure=_is_set("DPA_KAFKA_INSECURE"),
    )


def _prefect_home() -> Path | None:
    """Return the user's Prefect folder; None for a user without a home, such as a bare number in a container."""
    try:
        return Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    except RuntimeError:
        return None


def _is_set(variable: str) -> bool:
    """Return the value of a boolean variable."""
    value = os.environ.get(variable) or "false"
    if value not in ("true", "false"):
        raise ConfigurationError(f"{variable} must be true or false: correct the variable, or unset it")
    return value == "true"


def scales_listeners() -> bool:
    """Whether listeners are to be scaled, from `DPA_SCALING`; by default not.

    An embedded warehouse allows one listener, and a laptop may have no Kafka.

    Raises:
        ConfigurationError: The value is neither true nor false.
    """
    return _is_set("DPA_SCALING")


def azure_cloud() -> AzureCloud:
    """Return the Azure cloud whose hosts may receive this process's identity, from `DPA_AZURE_CLOUD`.

    Raises:
        ConfigurationError: There is no such cloud.
    """
    named = os.environ.get("DPA_AZURE_CLOUD") or "public"
    for known in get_args(AzureCloud):
        if named == known:
            return known  # type: ignore[no-any-return]
    raise ConfigurationError(f"DPA_AZURE_CLOUD names no cloud: use one of {', '.join(get_args(AzureCloud))}")


def azure_secrets() -> list[str]:
    """Return the secrets that Azure's library reads from the environment."""
    return [os.environ[name] for name in AZURE_SECRETS if name in os.environ]


def load_umask() -> int:
    """Read `DPA_UMASK`: octal, such as 0027 to let the group read; 0077 by default.

    Raises:
        ConfigurationError: The value is not a umask, or would lock the user out.
    """
    mask = os.environ.get("DPA_UMASK") or f"{PRIVATE:o}"
    if not re.fullmatch("0{0,2}[0-7]{1,3}", mask) or int(mask, 8) & OF_THE_USER:
        raise ConfigurationError(
            f"DPA_UMASK is {mask[:20]!r}: write 0077 for files of this user alone, 0027 to let the group read them"
        )
    return int(mask, 8)


def environment_with(**defaults: str) -> dict[str, str]:
    """Return the environment for a program that this process starts, with defaults for variables that are not set."""
    return {**defaults, **os.environ}


def started_by() -> str:
    """Return the user that runs this process, as user@machine; a user without a name is a number."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())  # never on Windows, where each user has a name
    return f"{user}@{platform.node()}"
