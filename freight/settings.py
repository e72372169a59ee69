"""Settings of an installation. The only module that reads the environment."""

import getpass
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from freight.errors import ConfigurationError

AzureCloud = Literal["public", "china", "usgov"]

# What the library of Azure takes by itself, and might repeat.
AZURE_SECRETS = ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_PASSWORD")

PROJECT_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """Where things are. Relative paths count from the home folder, which is the project's unless `DPA_HOME` is set."""

    home: Path
    warehouse_url: str
    catalog: Path
    kafka_bootstrap: str | None = None

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
    def run(self) -> Path:
        """Folder of the files by which probes see that processes work."""
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
    """Read `DPA_HOME`, `DPA_WAREHOUSE_URL`, `DPA_CATALOG` and `DPA_KAFKA_BOOTSTRAP`.

    All but the last have a default that works on a laptop: a Kafka has to be named by those who listen to one.

    Raises:
        ConfigurationError: the home folder does not exist.
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
    )


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


def started_by() -> str:
    """Return who runs this process, as user@machine."""
    return f"{getpass.getuser()}@{platform.node()}"
