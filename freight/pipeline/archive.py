"""Archive: files whose content is in the warehouse are moved out of the way of those that come."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from freight.catalog import Source
from freight.errors import SourceError
from freight.pipeline.units import UnitOutcome
from freight.readers import SourceFile, below
from freight.types import instant_of

log = logging.getLogger("freight")

IN_THE_WAREHOUSE = ("loaded", "unchanged")


def archive_loaded(
    folder: Path, source: Source, files: Sequence[SourceFile], outcomes: Sequence[UnitOutcome]
) -> list[UnitOutcome]:
    """Move the files of a source that are in the warehouse as a whole into its archive.

    One that a run did not come to move is moved by the next run, since it is unchanged then. A file goes by a name of
    its version: doing it again, or halfway, does no harm, and a later file of the same name takes nobody's place.

    Args:
        folder: of the catalog.
        source: whose files they are.
        files: as they were when they were planned.
        outcomes: of a run; those of other sources, too.

    Returns:
        The outcomes, with why a file could not be moved.
    """
    states = {outcome.location: outcome.state for outcome in outcomes if outcome.source == source.name}
    stay = {file.address for file in files if states.get(file.path) not in IN_THE_WAREHOUSE}
    stored = {file.address: file for file in files if file.address not in stay}
    told = {file.path: _archive(folder, source, file) for file in stored.values()}
    return [
        replace(outcome, unarchived=told.get(outcome.location, "")) if outcome.source == source.name else outcome
        for outcome in outcomes
    ]


def _archive(folder: Path, source: Source, file: SourceFile) -> str:
    """Move a file; return why it stays, if that needs somebody."""
    path, slash, name = below(source.of_all_days, file, folder).rpartition("/")
    name = f"{path}{slash}{name_of_version(file, name)}"
    try:
        file.move_to(str(source.archive), name, folder)
    except SourceError as error:
        if error.fault in ("changed_while_reading", "missing"):
            return ""  # another file by now, for the next run; or a link to one that was archived before it
        log.warning("not archived: %s", error)
        return str(error)
    log.info("archived %s as %s/%s", file.path, source.archive, name)
    return ""


def name_of_version(file: SourceFile, name: str) -> str:
    """Return the name by which a version of a file goes into an archive."""
    return f"{instant_of(file.modified_us):%Y%m%dT%H%M%S.%f}_{name}"
