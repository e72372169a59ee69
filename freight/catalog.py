"""The catalog: which sources there are, where they lie and how they are read."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from freight.contracts import LOCAL_ZONE, Contract, contract_for
from freight.errors import ConfigurationError
from freight.readers import reader_for

DEFAULT_QUARANTINE_LIMIT = 0.3  # share of a file's rows; above it the file is wrong, not the rows


class Source(BaseModel):
    """One entry of the catalog."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Name of the source in reports and in the ledger.")
    dataset: str = Field(description="Which contract its rows keep.")
    reader: str = Field(description="csv, excel, json or jsonl.")
    location: str = Field(description="Path, glob or URL; a relative path counts from the catalog's folder.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the reader.")
    time_zone: str = Field(default=LOCAL_ZONE, description="Zone of times that have no offset.")
    quarantine_limit: float = Field(
        default=DEFAULT_QUARANTINE_LIMIT, ge=0, le=1, description="Largest share of bad rows."
    )
    simulated: bool = Field(default=False, description="Whether the simulator makes these files.")

    @property
    def contract(self) -> Contract:
        """The contract of the dataset."""
        return contract_for(self.dataset)


class Catalog(BaseModel):
    """All sources, references before facts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: tuple[Source, ...] = Field(min_length=1)
    folder: Path = Field(exclude=True)

    @property
    def simulated(self) -> bool:
        """Whether the sources are the simulator's."""
        return any(source.simulated for source in self.sources)


def read_catalog(path: Path) -> Catalog:
    """Read a catalog.

    Raises:
        ConfigurationError: the file cannot be read or an entry is wrong; the message names the entry and the field.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        catalog = Catalog(**{**content, "folder": path.resolve().parent})
    except OSError as error:
        raise ConfigurationError(f"the catalog cannot be read: {error}") from None
    except (yaml.YAMLError, TypeError) as error:
        raise ConfigurationError(f"{path.name} is not a catalog: {error}") from None
    except ValidationError as error:
        raise ConfigurationError(f"{path.name}: {_first_fault(error, content)}") from None
    return _checked(catalog, path)


def _checked(catalog: Catalog, path: Path) -> Catalog:
    names = [source.name for source in catalog.sources]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled:
        raise ConfigurationError(f"{path.name}: the source {doubled!r} is there twice")
    for source in catalog.sources:
        _check_reader(source, path)
        if source.contract.immutable:
            raise ConfigurationError(f"{path.name}: {source.name}: {source.dataset} come by a stream, not by files")
    if len({source.simulated for source in catalog.sources}) > 1:
        raise ConfigurationError(f"{path.name}: simulated and real sources never mix; keep a catalog for each")
    ordered = sorted(catalog.sources, key=lambda source: source.contract.load_order)
    return catalog.model_copy(update={"sources": tuple(ordered)})


def _check_reader(source: Source, path: Path) -> None:
    """Check the reader's name and options here: found only when its turn comes, a mistake would cost half a run."""
    try:
        reader_for(source.reader).options.of(source.options)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path.name}: sources > {source.name} > {error}") from None


def _first_fault(error: ValidationError, content: dict[str, Any]) -> str:
    fault = error.errors()[0]
    place = list(fault["loc"])
    if len(place) > 1 and place[0] == "sources" and isinstance(place[1], int):
        entry = content["sources"][place[1]]
        place[1] = entry.get("name", place[1]) if isinstance(entry, dict) else place[1]
    return f"{' > '.join(map(str, place))}: {fault['msg']}"
