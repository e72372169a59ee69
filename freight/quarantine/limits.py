"""The numbers of quarantined rows in a workbook."""

MOST_ROWS = 1_000_000  # slightly below the limit of a sheet
USUAL_ROWS = 20_000
