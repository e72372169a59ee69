"""What people read: the Excel workbook."""
