"""Appends the entry of a new source to a catalog as text, so that comments stay."""

import re
from collections.abc import Mapping
from glob import escape
from pathlib import Path
from typing import Any

import yaml

from freight import strict_yaml
from freight.catalog import Source, read_catalog
from freight.errors import ConfigurationError
from freight.readers.stated import DATE_IN_NAME
from freight.scaffold.render import catalog_entry
from freight.scaffold.sample import Sample

OTHER_DIGITS = re.compile(r"[0-9]{4,}")  # times and serial numbers; shorter numbers are part of a name
EMPTY = "sources:\n"


def entry_of(name: str, dataset: str, sample: Sample, path: Path, catalog: Path) -> dict[str, Any]:
    """Return the entry of a source whose files are named like its sample.

    Args:
        name: The name of the source.
        dataset: The dataset of its rows.
        sample: The sample, with its reader and options.
        path: The path of the sample.
        catalog: The catalog, whose folder is the start of relative paths.
    """
    entry: dict[str, Any] = {
        "name": name,
        "dataset": dataset,
        "reader": sample.reader,
        "location": _location(path, catalog.parent),
    }
    if sample.options:
        entry["options"] = dict(sample.options)
    Source(**entry)
    return entry


def _location(path: Path, folder: Path) -> str:
    """Return the location of the sample and of all files that differ from it only by a date in their name."""
    whole, base = path.resolve(), folder.resolve()
    within = whole.relative_to(base) if whole.is_relative_to(base) else whole
    parent = "" if within.parent == Path() else f"{escape(within.parent.as_posix()).rstrip('/')}/"
    return parent + _of_any_day(within.name)


def _of_any_day(name: str) -> str:
    dates = list(DATE_IN_NAME.finditer(name))
    if not dates:
        return escape(name)
    day = dates[-1]  # the day that the file stands for
    form = f"%Y{name[day.end(1) : day.start(2)]}%m{name[day.end(2) : day.start(3)]}%d"
    return f"{_any_digits(name[: day.start()])}{{day:{form}}}{_any_digits(name[day.end() :])}"


def _any_digits(part: str) -> str:
    return OTHER_DIGITS.sub("*", escape(part))


def with_entry(catalog: Path, entry: Mapping[str, Any]) -> str:
    """Return the text of a catalog with one more entry.

    Raises:
        ConfigurationError: The catalog has a layout to which no entry can be added as text.
    """
    text = catalog.read_bytes().decode() if catalog.exists() else EMPTY
    end = "\r\n" if "\r\n" in text else "\n"
    indent = found[1] if (found := re.search(r"^( *)- ", text, re.MULTILINE)) else "  "
    lines = [f"{indent}{'  ' if number else '- '}{line}" for number, line in enumerate(catalog_entry(entry))]
    gap = "" if text == EMPTY else end
    whole = end.join([text.rstrip() + gap, *lines, ""])
    if _sources(whole) != [*(_sources(text) or []), entry]:
        shown = "\n".join(lines)
        raise ConfigurationError(f"{catalog.name} is not written as a list of entries: make it one, or add\n{shown}")
    return whole


def refuse_unfit(catalog: Path, name: str) -> None:
    """Check that a catalog, if it exists, can take a source of a name.

    Raises:
        ConfigurationError: The file is not a catalog, has simulated sources, or already has a source of that name.
    """
    if not catalog.exists():
        return
    known = read_catalog(catalog)
    if known.simulated:
        raise ConfigurationError(
            f"{catalog.name} has simulated sources, which cannot mix with real ones: name a catalog of your own in "
            "DPA_CATALOG, such as my-catalog.yaml; it is created if it does not exist"
        )
    if any(source.name == name for source in known.sources):
        raise ConfigurationError(f"{catalog.name} already has a source {name!r}: choose another name")


def _sources(text: str) -> Any:
    try:
        return strict_yaml.load(text)["sources"]
    except (yaml.YAMLError, TypeError):
        return None
