"""The catalog of sources: where they are, and how they are read."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, ValidationInfo, field_validator

from freight import strict_yaml
from freight.contracts import LOCAL_ZONE, Contract, contract_for, contracts
from freight.contracts.headers import known_headers, normalise
from freight.errors import ConfigurationError
from freight.notation.evidence import Notation, as_stated
from freight.notation.forms import Forms
from freight.readers import Reader, reader_for
from freight.readers.locations import GLOB_SIGN, fixed_part, scheme_of
from freight.readers.stated import DAY, DAY_PARTS, FileNames, NameTells, with_days
from freight.validation import Locale

DEFAULT_QUARANTINE_LIMIT = 0.3  # share of a file's rows; above it the file is wrong, not the rows

# A function of a module beside the catalog; its name leads to no other folder.
FUNCTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*")

BLOBS = "abfs://"
OF_AZURE = ("abfs://", "abfss://", "az://")
IN_A_CONTAINER = re.compile(BLOBS + r"[a-z0-9]([a-z0-9-]{1,61})[a-z0-9]/.+")


class Source(BaseModel):
    """One entry of the catalog."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Name of the source in reports and in the ledger.")
    dataset: str = Field(description="Dataset whose contract its rows must keep.")
    reader: str = Field(description="csv, excel, json, jsonl, fixed_width, access, http_api or sql.")
    location: str = Field(
        default="",
        description="Path, glob or URL, with {day:%Y%m%d} for a day; a relative path starts at the catalog's folder. "
        "For an API, the path below its base_url.",
    )
    connection: str = Field(default="", description="Name of the block that connects to a database or an API.")
    drop: str | None = Field(default=None, description="Block of the storage account that holds abfs://container/….")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of the reader.")
    transform: str | None = Field(
        default=None, description="Function of pandas that reshapes the rows, as module.function of transforms/."
    )
    lookups: tuple[str, ...] = Field(
        default=(), description="Datasets whose rows the function gets, as frames by their names."
    )
    settle_s: float = Field(default=0, ge=0, description="Seconds that a file must stay unchanged before it loads.")
    archive: str | None = Field(default=None, description="Folder in the same storage to which loaded files move.")
    fallbacks: tuple[str, ...] = Field(
        default=(), description="Sources of the same dataset, tried in this order if this one fails or is too old."
    )
    max_age_h: float | None = Field(
        default=None, gt=0, description="Hours after which the newest of its files is too old to use."
    )
    time_zone: str = Field(default=LOCAL_ZONE, description="Zone of times that have no offset, and of days in names.")
    name_tells: NameTells = Field(
        default="time",
        description="What a file name says: the day and, if there is one, the time (time), the day alone (day), or "
        "neither (nothing).",
    )
    quarantine_limit: float = Field(
        default=DEFAULT_QUARANTINE_LIMIT, ge=0, le=1, description="Largest share of bad rows."
    )
    on_jump: Literal["warn", "refuse"] = Field(
        default="warn", description="Reaction to content whose columns look very different from recent content."
    )
    simulated: bool = Field(default=False, description="Whether the simulator makes these files.")

    _folder: Path = PrivateAttr(default=Path())
    _dated: str = PrivateAttr(default="")  # the location with the day, in a source of the files of one day only

    @property
    def folder(self) -> Path:
        """The folder of the catalog, where relative paths start."""
        return self._folder

    def in_folder(self, folder: Path) -> Self:
        """Return this source for a catalog in the given folder."""
        placed = self.model_copy()
        placed._folder = folder
        return placed

    @property
    def contract(self) -> Contract:
        """The contract of the dataset."""
        return contract_for(self.dataset)

    @property
    def forms(self) -> Forms:
        """How its options say that it writes values, with formats by column."""
        return _by_column(reader_for(self.reader).options.of(self.options).forms, self.contract)

    def locale(self, notation: Notation) -> Locale:
        """Return how its text is read, given the notation of a file."""
        return Locale(as_stated(notation, self.forms), self.time_zone, self.forms)

    @property
    def has_day(self) -> bool:
        """Whether its location contains the day of a file."""
        return bool(DAY.search(self.location))

    @property
    def is_of_one_day(self) -> bool:
        """Whether it has only the files of one day."""
        return bool(self._dated)

    @property
    def file_names(self) -> FileNames:
        """What the names of its files tell."""
        return FileNames(self.name, self.time_zone, self.name_tells, self._dated or self.location)

    @property
    def of_all_days(self) -> str:
        """The location as a path, glob or URL of the files of every day."""
        return with_days(self.location, lambda part: "[0-9]" * DAY_PARTS[part])

    def on_day(self, day: date) -> Self:
        """Return this source with the files of one day only."""
        location = with_days(self.location, day.strftime)
        # The archive keeps the sub-folders of the location, whichever run moves a file there.
        deeper = fixed_part(location).removeprefix(fixed_part(self.of_all_days)).strip("/")
        archive = f"{self.archive}/{deeper}" if self.archive and deeper else self.archive
        of_day = self.model_copy(update={"location": location, "archive": archive})
        of_day._dated = self.location
        return of_day

    @field_validator("time_zone")
    @classmethod
    def _needs_a_known_zone(cls, zone: str) -> str:
        try:
            return ZoneInfo(zone).key
        except (KeyError, OSError, ValueError):
            raise ValueError(f"there is no time zone {zone!r}: write one such as {LOCAL_ZONE}") from None

    @field_validator("transform")
    @classmethod
    def _names_a_function(cls, transform: str | None) -> str | None:
        if transform is not None and not FUNCTION.fullmatch(transform):
            raise ValueError(
                "write module.function, such as erp.by_month for the function by_month of transforms/erp.py"
            )
        return transform

    @field_validator("location")
    @classmethod
    def _needs_a_whole_day(cls, location: str) -> str:
        forms = DAY.findall(location)
        if forms and {part for form in forms for part in re.findall("%.?", form)} != DAY_PARTS.keys():
            raise ValueError("a day in a location needs %Y, %m and %d, such as {day:%Y%m%d}")
        return location


class Catalog(BaseModel):
    """All sources, references before facts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path = Field(exclude=True)
    sources: tuple[Source, ...] = Field(min_length=1)

    @field_validator("sources")
    @classmethod
    def _in_its_folder(cls, sources: tuple[Source, ...], others: ValidationInfo) -> tuple[Source, ...]:
        return tuple(source.in_folder(others.data["folder"]) for source in sources)

    @property
    def simulated(self) -> bool:
        """Whether the sources are the simulator's."""
        return any(source.simulated for source in self.sources)

    @property
    def heads(self) -> tuple[Source, ...]:
        """The sources that are tried first: those that are not a fallback of another one."""
        fallbacks = {name for source in self.sources for name in source.fallbacks}
        return tuple(source for source in self.sources if source.name not in fallbacks)

    def chain_of(self, source: Source) -> list[Source]:
        """Return a source and its fallbacks, in the order in which they are tried."""
        known = {known.name: known for known in self.sources}
        return [source, *(known[name] for name in source.fallbacks if name in known)]

    def named(self, name: str) -> Source:
        """Return the source with a name.

        Raises:
            ConfigurationError: There is no such source.
        """
        return next(source for source in self.only([name]).sources if source.name == name)

    def only(self, names: Sequence[str] | None, *, dated: bool = False) -> Self:
        """Return a catalog of some of the sources, and their fallbacks.

        Args:
            names: The names of the sources; None for all.
            dated: Whether to leave out sources without a day in their location; a source that is named must have one.

        Raises:
            ConfigurationError: There is no such source, or no day in a location that needs one.
        """
        known = [source.name for source in self.sources]
        if unknown := next((name for name in names or () if name not in known), None):
            raise ConfigurationError(f"the catalog has no source {unknown!r}: it has {', '.join(known)}")
        named = [source for source in self.sources if names is None or source.name in names]
        wanted = {source.name for source in named}.union(*(source.fallbacks for source in named))
        chosen = [source for source in self.sources if source.name in wanted]
        undated = [source.name for source in named if not source.has_day]
        if dated and undated and (names is not None or len(undated) == len(named)):
            raise ConfigurationError(
                f"the location of {', '.join(undated)} contains no day: write {{day:%Y%m%d}} at its place in the path"
            )
        return self._of(source for source in chosen if source.has_day or not dated)

    def on_day(self, day: date) -> Self:
        """Return a catalog with the files of one day; all its sources must have a day in their location."""
        return self._of(source.on_day(day) for source in self.sources)

    def _of(self, sources: Iterable[Source]) -> Self:
        return self.model_copy(update={"sources": tuple(sources)})


def read_catalog(path: Path) -> Catalog:
    """Read a catalog.

    Raises:
        ConfigurationError: The file cannot be read, or an entry is wrong; the message names the entry and the field.
    """
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        content = strict_yaml.load(text)
        catalog = Catalog(**{**content, "folder": path.resolve().parent})
    except OSError as error:
        raise ConfigurationError(f"the catalog cannot be read: {error}") from None
    except (yaml.YAMLError, TypeError) as error:
        raise ConfigurationError(f"{path.name} is not a catalog: {strict_yaml.fault(error, text)}") from None
    except ValidationError as error:
        raise ConfigurationError(f"{path.name}: {_first_fault(error, content)}") from None
    return _checked(catalog, path)


def _checked(catalog: Catalog, path: Path) -> Catalog:
    names = [source.name for source in catalog.sources]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled:
        raise ConfigurationError(f"{path.name}: the source {doubled!r} is listed twice")
    for source in catalog.sources:
        _check_reader(source, path)
        _check_transform(source, path)
        _check_archive(source, path)
        _check_fallbacks(source, catalog, path)
        if source.contract.immutable:
            raise ConfigurationError(f"{path.name}: {source.name}: {source.dataset} come from a stream, not from files")
    if len({source.simulated for source in catalog.sources}) > 1:
        raise ConfigurationError(f"{path.name}: simulated and real sources cannot mix: keep a catalog for each")
    ordered = sorted(catalog.sources, key=lambda source: source.contract.load_order)
    return catalog.model_copy(update={"sources": tuple(ordered)})


def _check_reader(source: Source, path: Path) -> None:
    """Check the reader's name and options early: a mistake found when the source's turn comes costs half a run."""
    try:
        reader = reader_for(source.reader)
        _check_place(source, reader)
        options = reader.options.of(source.options)
        _check_formats(source)
        if options.is_partial and source.contract.snapshot:
            raise ConfigurationError(
                f"options > watermark: {source.dataset} need the whole list each time, to show removals: remove it"
            )
    except ConfigurationError as error:
        raise ConfigurationError(f"{path.name}: sources > {source.name} > {error}") from None


def _check_formats(source: Source) -> None:
    times = [column.name for column in source.contract.columns if column.dtype in ("date", "instant")]
    if unknown := next((name for name in source.forms.formats if name not in times), None):
        known = ", ".join(times) or "none"
        raise ConfigurationError(f"options > formats > {unknown}: {source.dataset} have no such time: {known}")


def _by_column(forms: Forms, contract: Contract) -> Forms:
    """Return the forms with each format by the name of its column; the catalog may use any header of the contract."""
    known = known_headers(contract)
    return replace(forms, formats={known.get(normalise(name), name): found for name, found in forms.formats.items()})


def _check_transform(source: Source, path: Path) -> None:
    if fault := _fault_of_transform(source):
        raise ConfigurationError(f"{path.name}: sources > {source.name} > {fault}")


def _fault_of_transform(source: Source) -> str | None:
    if source.transform is None:
        return "lookups: only a function gets them: name it in transform" if source.lookups else None
    known = [name for name, contract in contracts().items() if contract.table.startswith("dim_")]
    if unknown := next((name for name in source.lookups if name not in known), None):
        return f"lookups: {unknown!r} is no dataset of reference data, which are {', '.join(known)}"
    if source.reader == "sql" and not source.options.get("columns"):
        return "options > columns: name the columns that the function needs, as the contract does not know them"
    return None


def _check_place(source: Source, reader: Reader) -> None:
    for key in ("location", "connection"):
        if key in reader.needs and not getattr(source, key):
            raise ConfigurationError(f"{key}: the reader {source.reader!r} needs one")
        if key not in reader.needs and getattr(source, key):
            raise ConfigurationError(f"{key}: the reader {source.reader!r} does not use one: remove it")
    if "connection" in reader.needs:
        _refuse_what_files_have(source)
    else:
        _check_drop(source)


def _refuse_what_files_have(source: Source) -> None:
    if source.has_day:
        raise ConfigurationError("location: only file names contain a day")
    for key in ("drop", "archive", "settle_s", "max_age_h"):
        if getattr(source, key):
            raise ConfigurationError(f"{key}: only files have one: remove it")


def _check_drop(source: Source) -> None:
    if source.drop is None and source.location.startswith(OF_AZURE):
        raise ConfigurationError(f"location: {BLOBS} needs drop, the name of a Blob Drop block")
    if source.drop is not None and not IN_A_CONTAINER.fullmatch(source.location):
        raise ConfigurationError(
            f"location: with drop, write {BLOBS}container/ and the path in it: the block names the account"
        )


def _check_fallbacks(source: Source, catalog: Catalog, path: Path) -> None:
    known = {known.name: known for known in catalog.sources}
    for name in source.fallbacks:
        if fault := _fault_of_fallback(source, known.get(name)):
            raise ConfigurationError(f"{path.name}: sources > {source.name} > fallbacks > {name}: {fault}")


def _fault_of_fallback(source: Source, fallback: Source | None) -> str | None:
    if fallback is None:
        return "there is no such source"
    if fallback.dataset != source.dataset:
        return f"its dataset is {fallback.dataset}, not {source.dataset}"
    return "it has fallbacks of its own: name all of them in one list" if fallback.fallbacks else None


def _check_archive(source: Source, path: Path) -> None:
    if source.archive and (fault := _fault_of_archive(source.of_all_days, source.archive, source.folder)):
        raise ConfigurationError(f"{path.name}: sources > {source.name} > archive: {fault}")


def _fault_of_archive(location: str, archive: str, base: Path) -> str | None:
    if GLOB_SIGN.search(archive) or "{" in archive:
        return "it must be one folder, without * ? [ and {day:…}"
    if scheme_of(location) != scheme_of(archive):
        return "it must be in the same storage as the location: begin both alike"
    root, target = (_whole(folder, base) for folder in (fixed_part(location), archive))
    if target == root or ("**" in location and target.startswith(f"{root}/")):
        return "the location would find its files again: name another folder"
    return None


def _whole(folder: str, base: Path) -> str:
    return folder.rstrip("/") if scheme_of(folder) else os.path.normpath(base / folder)


def _first_fault(error: ValidationError, content: dict[str, Any]) -> str:
    fault = error.errors()[0]
    keys = list(fault["loc"])
    if len(keys) > 1 and keys[0] == "sources" and isinstance(keys[1], int):
        entry = content["sources"][keys[1]]
        keys[1] = entry.get("name", keys[1]) if isinstance(entry, dict) else keys[1]
    given = fault["input"]
    # The text of a location may hold a secret; what YAML takes for something else than text does not.
    was = f", not {given!r}" if given is None or isinstance(given, bool | int | float | date) else ""
    return f"{' > '.join(map(str, keys))}: {fault['msg'].removeprefix('Value error, ')}{was}"
