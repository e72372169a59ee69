"""What becomes of one file: the rows that load and those that are quarantined, or nothing if it is refused."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from freight.catalog import Source
from freight.errors import SourceError
from freight.frames import ROW_NUMBER
from freight.pipeline.extract import extract_unit
from freight.pipeline.plan import first_unit
from freight.pipeline.transform import transform_unit
from freight.readers import FILES_ONLY
from freight.spool import read_spool

NOW = datetime(2026, 6, 1, tzinfo=UTC)
READERS = {"csv": "csv", "txt": "csv", "json": "json", "xlsx": "excel", "xls": "excel", "ods": "excel", "xlsb": "excel"}
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """The rows of a file, by their numbers.

    Attributes:
        loaded: The rows that load, as columns of their contract.
        quarantined: The numbers of the bad rows.
    """

    loaded: Mapping[int, Row]
    quarantined: frozenset[int]


def outcome_of(
    name: str, content: bytes, options: Mapping[str, object], dataset: str = "transactions"
) -> Outcome | None:
    """Return what becomes of a file; None if it is refused.

    Args:
        name: The name of the file; its ending chooses the reader.
        content: Its bytes.
        options: The options of its source.
        dataset: The dataset of its source.
    """
    reader = READERS[name.rpartition(".")[2]]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(content)
        source = Source(name="erp", dataset=dataset, reader=reader, location=name, options=dict(options))
        try:
            planned = first_unit(source.in_folder(Path(folder)), NOW, FILES_ONLY, Path(folder))
            spool = transform_unit(planned, extract_unit(planned, Path(folder) / "unit"), NOW)
        except SourceError:
            return None
        loaded = [row for frame in read_spool(spool.conformed_path) for row in frame.iter_rows(named=True)]
        bad = [number for frame in spool.bad_rows() for number in frame[ROW_NUMBER]]
    return Outcome({row[ROW_NUMBER]: row for row in loaded}, frozenset(bad))
