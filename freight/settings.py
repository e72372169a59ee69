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

# What the library of Azure takes by itself, and might repeat.
AZURE_SECRETS = ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_PASSWORD")

PROJECT_ROOT = Path(__file__).resolve().parent.parent
PRIVATE = 0o077  # files and folders of DPA are its user's alone
OF_THE_USER = 0o700


@dataclass(frozen=True)
class Settings:
    """Where things are. Relative paths count from the home folder, which is the project's unless `DPA_HOME` is set.

    Attributes:
        umask: The rights that are taken away from files and folders that DPA makes, as the system call has them.
        prefect_home: folder of the Prefect of this user, which also runs without `make up`.
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
        """Folder of the log files."""
        return self.home / "logs"

    @property
    def reports(self) -> Path:
        """Folder of the workbook."""
        return self.home / "reports"

    @property
    def spool(self) -> Path:
        """Folder of the Arrow files that pass between tasks, one sub-folder per run."""
        return self.home / "spool"

    @property
    def processes(self) -> Path:
        """Folder of the files that tell which processes of this installation live."""
        return self.home / "run"

    @property
    def access(self) -> Path:
        """Folder of the Java libraries that read MS Access."""
        return self.home / ".access"

    @property
    def prefect(self) -> Path:
        """Folder of the Prefect of this machine: its database, and its password."""
        return self.home / ".prefect"

    @property
    def prefect_login(self) -> Path:
        """What a shell sources to talk to that Prefect."""
        return self.prefect / ("login.ps1" if os.name == "nt" else "login.sh")

    @property
    def landing(self) -> Path:
        """Folder that the simulator fills."""
        return self.home / "landing"


def load_settings() -> Settings:
    """Read the variables `DPA_…`.

    All but `DPA_KAFKA_BOOTSTRAP` have a default that works on a laptop: a Kafka has to be named by those who listen to
    one.

    Raises:
        ConfigurationError: the home folder does not exist, or a variable has a value that it does not know.
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
    """Return where Prefect keeps what is the user's; None for one without a home, such as a number in a container."""
    try:
        return Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    except RuntimeError:
        return None


def _is_set(variable: str) -> bool:
    """Return whether a variable that is true or false is true."""
    value = os.environ.get(variable) or "false"
    if value not in ("true", "false"):
        raise ConfigurationError(f"{variable} is true or false: correct the variable, or unset it")
    return value == "true"


def azure_cloud() -> AzureCloud:
    """Return the cloud of Azure whose hosts may see who this process is, from `DPA_AZURE_CLOUD`.

    Raises:
        ConfigurationError: there is no such cloud.
    """
    named = os.environ.get("DPA_AZURE_CLOUD") or "public"
    for known in get_args(AzureCloud):
        if named == known:
            return known  # type: ignore[no-any-return]
    raise ConfigurationError(f"DPA_AZURE_CLOUD names no cloud: use one of {', '.join(get_args(AzureCloud))}")


def azure_secrets() -> list[str]:
    """Return the secrets that the library of Azure takes from the environment."""
    return [os.environ[name] for name in AZURE_SECRETS if name in os.environ]


def load_umask() -> int:
    """Read `DPA_UMASK`: octal, such as 0027 for a group that may read; 0077 unless it is set.

    Raises:
        ConfigurationError: it is no umask, or one that would lock the user out.
    """
    said = os.environ.get("DPA_UMASK") or f"{PRIVATE:o}"
    if not re.fullmatch("0{0,2}[0-7]{1,3}", said) or int(said, 8) & OF_THE_USER:
        raise ConfigurationError(
            f"DPA_UMASK is {said[:20]!r}: write 0077 for files of this user alone, 0027 for a group that may read them"
        )
    return int(said, 8)


def started_by() -> str:
    """Return who runs this process, as user@machine; a user that the system does not name is a number."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())  # Windows always has a name
    return f"{user}@{platform.node()}"
