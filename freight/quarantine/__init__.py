"""The two ways out of quarantine: a contract that now accepts a row, or a person who corrects it in a workbook."""
