"""Archive: files whose content is in the warehouse make way for new ones."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from freight.catalog import Source
from freight.errors import SourceError
from freight.pipeline.units import UnitOutcome
from freight.readers import SourceFile, below
from freight.types import instant_of

log = logging.getLogger("freight")

IN_THE_WAREHOUSE = ("loaded", "unchanged")


def archive_loaded(source: Source, files: Sequence[SourceFile], outcomes: Sequence[UnitOutcome]) -> list[UnitOutcome]:
    """Move the files of a source that are completely in the warehouse into its archive.

    If a run ends before it moves a file, the next run moves it, since the file is then unchanged. The archived name
    contains the version: repeating or interrupting a move does no harm, and a later file of the same name replaces
    nothing.

    Args:
        source: The source of the files.
        files: Its files, as they were when they were planned.
        outcomes: The outcomes of a run, including those of other sources.

    Returns:
        The outcomes, each with the reason if its file could not be moved.
    """
    states = {outcome.location: outcome.state for outcome in outcomes if outcome.source == source.name}
    stay = {file.address for file in files if states.get(file.path) not in IN_THE_WAREHOUSE}
    stored = {file.address: file for file in files if file.address not in stay}
    reasons = _Archive(source).take([*stored.values()])
    return [
        replace(outcome, unarchived=reasons.get(outcome.location, "")) if outcome.source == source.name else outcome
        for outcome in outcomes
    ]


class _Archive:
    """The archive of a source."""

    def __init__(self, source: Source) -> None:
        self._source, self._folder = source, str(source.archive)
        self._taken: set[str] = set()  # the former addresses of the archived files

    def take(self, files: Sequence[SourceFile]) -> dict[str, str]:
        """Move files into the archive; return by path why a file is not there, or "" if nobody needs to know."""
        # Links come last: they break when their target moves. Each address is read before anything moves.
        in_order = sorted(((file, file.real_address()) for file in files), key=lambda found: found[0].is_link)
        return {file.path: self._take(file, real_address) for file, real_address in in_order}

    def _take(self, file: SourceFile, real_address: str) -> str:
        name = self._name_of(file)
        try:
            file.move_to(self._folder, name, self._source.folder)
        except SourceError as error:
            if error.fault == "changed_while_reading":
                return ""  # the file has changed, and the next run loads it
            if error.fault != "missing":
                return _reported(error)
            if not self._has(file, real_address, name):
                return _reported(_gone(file))
        else:
            log.info("archived %s as %s/%s", file.path, self._folder, name)
        self._taken.add(real_address)
        return ""

    def _has(self, file: SourceFile, real_address: str, name: str) -> bool:
        """Whether the archive has a file: as the target of a link, or from an earlier attempt at this step."""
        return real_address in self._taken or file.lies_in(self._folder, name, self._source.folder)

    def _name_of(self, file: SourceFile) -> str:
        path, slash, name = below(self._source.of_all_days, file, self._source.folder).rpartition("/")
        return f"{path}{slash}{name_of_version(file, name)}"


def _reported(error: SourceError) -> str:
    log.warning("not archived: %s", error)
    return str(error)


def _gone(file: SourceFile) -> SourceError:
    return SourceError(
        "missing",
        "somebody has removed the file since it was loaded",
        location=file.path,
        remedy="none for its rows, which are in the warehouse; put a copy into the archive if it must be kept",
    )


def name_of_version(file: SourceFile, name: str) -> str:
    """Return the name of a file's version in an archive."""
    return f"{instant_of(file.modified_us):%Y%m%dT%H%M%S.%f}_{name}"
