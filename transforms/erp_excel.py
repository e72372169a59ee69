"""What the catalog's source erp_excel lets be done with its workbooks: docs/reshape.md."""

import pandas as pd


def without_total(frame: pd.DataFrame) -> pd.DataFrame:
    """Drop the line that sums up the day, which people add by hand; the ledger counts it as dropped."""
    return frame[frame["ID Transaction"] != "TOTAL"]
