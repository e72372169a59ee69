"""Isolate the faults of one source from the rest of the run."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from freight.errors import DpaError, SourceError, TransientError

log = logging.getLogger("freight")


@contextmanager
def contained(reader: str, location: str) -> Iterator[None]:
    """Convert whatever a reader raises, so that broken input fails its unit and not the run.

    Raises:
        SourceError: The input cannot be used.
        TransientError: This machine failed, for instance because its disk is full.
    """
    try:
        yield
    except DpaError:
        raise
    except OSError as error:
        raise TransientError(f"{location} cannot be extracted: {error}") from error
    except Exception as error:
        log.exception("reader %s failed over %s", reader, location)
        raise SourceError(
            "corrupt",
            f"the reader {reader!r} cannot read it: {type(error).__name__}: {error}",
            location=location,
            remedy="deliver the file again, or in another format",
        ) from error
