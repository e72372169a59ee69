"""`dpa reconcile`: checks the ledger against the tables, and every stored row against its own content hash."""

import polars as pl

from freight.contracts import Contract, contracts
from freight.transforms import derive
from freight.transforms.versions import CONTENT_HASH, with_content_hash
from freight.warehouse.connect import Engine, reading
from freight.warehouse.reconcile import Discrepancy, check_ledger, stored_frames

FROM_ELSEWHERE = ("site_location", "installation_year", "is_late")  # joined by the warehouse, or set by the stream
AGREE = "The ledger and the tables agree"
SHOWN = 20  # findings of one kind; more would hide those of other kinds


def reconcile(engine: Engine) -> list[Discrepancy]:
    """Return the contradictions in one consistent state of the warehouse; an empty list is the proof."""
    with reading(engine) as connection:
        findings = check_ledger(connection)
        for contract in contracts().values():
            tampered = (_tampered(frame, contract) for frame in stored_frames(connection, contract))
            findings += [finding for part in tampered for finding in part][:SHOWN]
    return findings


def _tampered(frame: pl.DataFrame, contract: Contract) -> list[Discrepancy]:
    """Find rows whose stored columns have changed since their load: compare the hash, and derive the columns anew."""
    fresh = with_content_hash(derive(frame.drop(CONTENT_HASH), contract), contract)
    names = [CONTENT_HASH, *(column.name for column in contract.derived if _is_derived(column.name, frame))]
    differs = pl.any_horizontal(fresh[name].ne_missing(frame[name]).alias(name) for name in names)
    keys = frame.filter(frame.select(differs).to_series()).select(contract.business_key).rows()
    return [
        Discrepancy(
            "a stored row is the row that was loaded",
            f"{contract.table} {'/'.join(map(str, key))}",
            "its hash",
            "another content",
        )
        for key in keys
    ]


def _is_derived(name: str, frame: pl.DataFrame) -> bool:
    return name in frame.columns and name not in FROM_ELSEWHERE
