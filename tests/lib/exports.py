"""Exports of transactions as programs of four countries write them, byte by byte: text files and workbooks by hand."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
from openpyxl.styles import Font

FRENCH_CSV = (
    "Société des Terminaux du Littoral;;;;;\r\n"
    "Édité le 28/02/2026 à 18:02;;;;;\r\n"
    ";;;;;\r\n"
    "N° transaction;Code machine;Date heure;Tonnage;Statut;\r\n"
    "TRX-1001;MCH-001;03/02/2026 08:05;1\u00a0250,500;OK;\r\n"
    "TRX-1002;MCH-002;03/02/2026 17:40;87,250;WARN;\r\n"
    "TRX-1003;MCH-001;14/02/2026 06:15;2\u00a0400,000;OK;\r\n"
    "TRX-1004;MCH-002;27/02/2026 23:59;-;ERR;\r\n"
    "TOTAL;;;3\u00a0737,750;;\r\n"
).encode("cp1252")

US_CSV = (
    "\ufeffTransaction ID,Machine,Date,Volume (t),Status\r\n"
    'TRX-2001,MCH-001,02/03/2026 08:05:00 AM,"1,250.50",OK\r\n'
    "TRX-2002,MCH-002,02/03/2026 05:40:00 PM,87.25,WARN\r\n"
    'TRX-2003,MCH-001,02/14/2026 06:15:00 AM,"2,400.00",OK\r\n'
    "TRX-2004,MCH-002,02/27/2026 12:00:00 PM,N/A,ERR\r\n"
    'Grand Total,,,"3,737.75",\r\n'
).encode()

GERMAN_CSV = (
    "Transaktion\tMaschine\tZeitpunkt\tMenge (t)\tStatus\r\n"
    "TRX-3001\tMCH-001\t03.02.2026 08:05:00\t1.250,500\tOK\r\n"
    "TRX-3002\tMCH-002\t03.02.2026 17:40:00\t87,250\tWARN\r\n"
    "TRX-3003\tMCH-001\t14.02.2026 06:15:00\t2.400,000\tOK\r\n"
    "TRX-3004\tMCH-002\t27.02.2026 23:59:00\t\tERR\r\n"
    "Gesamtsumme\t\t\t3.737,750\t\r\n"
).encode("utf-16")

SWISS_CSV = (
    "No transaction;Machine;Date;Tonnage;Statut\n"
    "TRX-4001;MCH-001;03.02.2026 08:05;1\u2019250.500;OK\n"
    "TRX-4002;MCH-002;03.02.2026 17:40;87.250;WARN\n"
    "TRX-4003;MCH-001;14.02.2026 06:15;2\u2019400.000;OK\n"
    "TRX-4004;MCH-002;27.02.2026 23:59;–;ERR\n"
    "Total général;;;3\u2019737.750;\n"
).encode()

Cells = Sequence[Sequence[object]]


def _at(day: int, hour: int, minute: int) -> datetime:
    return datetime(2026, 2, day, hour, minute)


# Somebody typed the cells of text; the others are numbers and dates of the program.
FRENCH_BOOK: Mapping[str, Cells] = {
    "Février 1": [
        ["Société des Terminaux du Littoral"],
        [],
        ["N° transaction", "Code machine", "Date heure", "Tonnage", "Statut"],
        ["TRX-1101", "MCH-001", _at(3, 8, 5), 1250.5, "OK"],
        ["TRX-1102", "MCH-002", "03/02/2026 17:40", "87,250", "WARN"],
        ["TOTAL", None, None, "=SUM(D4:D5)", None],
    ],
    "Février 2": [
        ["N° transaction", "Code machine", "Date heure", "Tonnage", "Statut"],
        ["TRX-1103", "MCH-001", "14/02/2026 06:15", "2\u202f400,000", "OK"],
        ["TRX-1104", "MCH-002", _at(27, 23, 59), "-", "ERR"],
    ],
    "Lisez-moi": [["Chiffres provisoires, voir M. Mbarga."]],
}
US_BOOK: Mapping[str, Cells] = {
    "Moves": [
        ["Transaction ID", "Machine", "Date", "Volume (t)", "Status"],
        ["TRX-2101", "MCH-001", _at(3, 8, 5), "1,250.50", "OK"],
        ["TRX-2102", "MCH-002", "02/03/2026 5:40 PM", 87.25, "WARN"],
        ["TRX-2103", "MCH-001", "02/14/2026 6:15 AM", 2400, "OK"],
        ["TRX-2104", "MCH-002", _at(27, 12, 0), "N/A", "ERR"],
        ["Grand Total", None, None, 3737.75, None],
    ]
}
GERMAN_BOOK: Mapping[str, Cells] = {
    "Bewegungen": [
        ["Auswertung Waagen", None, None, "Stand: 28.02.2026"],
        [],
        ["Transaktion", "Maschine", "Zeitpunkt", "Menge (t)", "Status"],
        ["TRX-3101", "MCH-001", "03.02.2026 08:05", "1.250,500", "OK"],
        ["TRX-3102", "MCH-002", _at(3, 17, 40), 87.25, "WARN"],
        ["TRX-3103", "MCH-001", "14.02.2026 06:15", "2.400,000", "OK"],
        ["TRX-3104", "MCH-002", _at(27, 23, 59), None, "ERR"],
        ["Gesamtsumme", None, None, "3.737,750", None],
    ],
    "Summe": [["Maschine", "Menge (t)"], ["MCH-001", 3650.5], ["MCH-002", 87.25]],
}
SWISS_BOOK: Mapping[str, Cells] = {
    "Mouvements": [
        ["No transaction", "Machine", "Date", "Tonnage", "Statut"],
        ["TRX-4101", "MCH-001", _at(3, 8, 5), "1'250.500", "OK"],
        ["TRX-4102", "MCH-002", "03.02.2026 17:40", 87.25, "WARN"],
        ["TRX-4103", "MCH-001", "14.02.2026 06:15", "2'400.000", "OK"],
        ["TRX-4104", "MCH-002", _at(27, 23, 59), "–", "ERR"],
        ["Total général", None, None, "3'737.750", None],
    ]
}


def _book(sheets: Mapping[str, Cells]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        book = openpyxl.Workbook()
        del book["Sheet"]
        for name, rows in sheets.items():
            sheet: Any = book.create_sheet(name)
            for row in rows:
                sheet.append(row)
            sheet["A1"].font = Font(bold=True)
        book.save(path)

    return write


def _text(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


EXPORTS: Mapping[str, Callable[[Path], None]] = {
    "france/export_20260228.csv": _text(FRENCH_CSV),
    "france/export_20260228.xlsx": _book(FRENCH_BOOK),
    "usa/export_20260228.csv": _text(US_CSV),
    "usa/export_20260228.xlsx": _book(US_BOOK),
    "germany/export_20260228.csv": _text(GERMAN_CSV),
    "germany/export_20260228.xlsx": _book(GERMAN_BOOK),
    "switzerland/export_20260228.csv": _text(SWISS_CSV),
    "switzerland/export_20260228.xlsx": _book(SWISS_BOOK),
}
