"""Leaves an embedded warehouse as one whole file: people copy and mail the file alone.

SQLite writes changes to a log beside the file (`-wal`), and merges it when the last connection closes; but not while
another program has the file open. So a command or flow merges the log at its end, however it ends.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, QueuePool

from freight.exits import at_the_end

LOG_SUFFIX = "-wal"
BUSY_S = 1.0  # for a commit under way elsewhere; a reader may stay for hours

_opened: WeakKeyDictionary[Engine, Path] = WeakKeyDictionary()


def leave_whole_later(engine: Engine, path: Path) -> None:
    """Let `leave_whole` close the connections of an engine and merge the log of its file."""
    _opened[engine] = path
    at_the_end(leave_whole)


def leave_whole() -> list[str]:
    """Close this process's connections to embedded warehouses, and merge each log into its file.

    Returns:
        A note for each file whose log is still needed, because another program uses the warehouse.
    """
    used = {engine: path for engine, path in [*_opened.items()] if _is_used(engine)}
    for engine in used:
        engine.dispose()
    return [_note(path) for path in sorted({*used.values()}) if not _merge_log(path)]


def _is_used(engine: Engine) -> bool:
    pool = engine.pool
    return isinstance(pool, QueuePool) and pool.checkedin() + pool.checkedout() > 0


def _merge_log(path: Path) -> bool:
    """Merge the log into the file; return whether nothing is left in it."""
    if not path.with_name(path.name + LOG_SUFFIX).exists():
        return True
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_S)) as connection:
            (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error:  # such as a full disk: what is committed stays in the log
        return False
    return not is_busy


def _note(path: Path) -> str:
    return (
        f"Another program uses the warehouse, so {path.name} alone is not up to date: the newest rows are in "
        f"{path.name}{LOG_SUFFIX} beside it. For a whole copy: dpa backup FILE"
    )
