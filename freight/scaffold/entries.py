"""The entry of a new source in a catalog, put behind the others as text, so that comments stay."""

import re
from collections.abc import Mapping
from glob import escape
from pathlib import Path
from typing import Any

import yaml

from freight.catalog import Source, read_catalog
from freight.errors import ConfigurationError
from freight.readers.files import DATE_IN_NAME
from freight.scaffold.render import catalog_entry
from freight.scaffold.sample import Sample

OTHER_DIGITS = re.compile(r"[0-9]{4,}")  # times and running numbers; shorter ones are part of a name
EMPTY = "sources:\n"


def entry_of(name: str, dataset: str, sample: Sample, path: Path, catalog: Path) -> dict[str, Any]:
    """Return the entry of a source whose files are called like its sample.

    Args:
        name: of the source.
        dataset: of its rows.
        sample: how it is read.
        path: of the sample.
        catalog: in whose folder relative paths begin.
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
    """Return where files are that have another date in their name."""
    whole, base = path.resolve(), folder.resolve()
    within = whole.relative_to(base) if whole.is_relative_to(base) else whole
    parent = "" if within.parent == Path() else f"{escape(within.parent.as_posix()).rstrip('/')}/"
    return parent + _of_any_day(within.name)


def _of_any_day(name: str) -> str:
    dates = list(DATE_IN_NAME.finditer(name))
    if not dates:
        return escape(name)
    day = dates[-1]  # which tells what day a file speaks for
    form = f"%Y{name[day.end(1) : day.start(2)]}%m{name[day.end(2) : day.start(3)]}%d"
    return f"{_any_digits(name[: day.start()])}{{day:{form}}}{_any_digits(name[day.end() :])}"


def _any_digits(part: str) -> str:
    return OTHER_DIGITS.sub("*", escape(part))


def with_entry(catalog: Path, entry: Mapping[str, Any]) -> str:
    """Return the text of a catalog with one more entry.

    Raises:
        ConfigurationError: it is no catalog, is one of simulated sources, has a source of that name, or is written in
            a way to which nothing can be added as text.
    """
    text = EMPTY
    if catalog.exists():
        _refuse_unfit(catalog, entry["name"])
        text = catalog.read_bytes().decode()
    end = "\r\n" if "\r\n" in text else "\n"
    indent = found[1] if (found := re.search(r"^( *)- ", text, re.MULTILINE)) else "  "
    lines = [f"{indent}{'  ' if number else '- '}{line}" for number, line in enumerate(catalog_entry(entry))]
    gap = "" if text == EMPTY else end
    whole = end.join([text.rstrip() + gap, *lines, ""])
    if _sources(whole) != [*(_sources(text) or []), entry]:
        shown = "\n".join(lines)
        raise ConfigurationError(f"{catalog.name} is not written as a list of entries: make it one, or add\n{shown}")
    return whole


def _refuse_unfit(catalog: Path, name: str) -> None:
    known = read_catalog(catalog)
    if known.simulated:
        raise ConfigurationError(
            f"{catalog.name} has simulated sources, which never mix with real ones: name a catalog of yours in "
            "DPA_CATALOG, such as my-catalog.yaml; it is made if it is not there"
        )
    if any(source.name == name for source in known.sources):
        raise ConfigurationError(f"{catalog.name} has a source {name!r} already: choose another name")


def _sources(text: str) -> Any:
    try:
        return yaml.safe_load(text)["sources"]
    except (yaml.YAMLError, TypeError):
        return None
