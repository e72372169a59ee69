"""How much of the quarantine a workbook holds."""

MOST_ROWS = 1_000_000  # of a sheet, which has some more
USUAL_ROWS = 20_000
