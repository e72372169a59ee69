"""Names and shapes of frames that pass between readers, validation and the warehouse."""

from typing import Literal

import polars as pl

ROW_NUMBER = "row_number"
PARTITION = "partition_number"  # of a topic

# A row that cannot be used: its position, column and reason code, all reasons, and its text as bytes.
BAD_ROWS_SCHEMA = pl.Schema(
    {ROW_NUMBER: pl.Int64, "column_name": pl.String, "reason": pl.String, "detail": pl.String, "raw": pl.Binary}
)

DecimalMark = Literal[".", ","]
