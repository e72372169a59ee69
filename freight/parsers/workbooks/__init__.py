"""Workbooks of all kinds, recognised by their content and not by their names."""

import codecs
import re
import zipfile
from typing import BinaryIO

from freight.errors import SourceError
from freight.parsers.workbooks.cells import Block, Row, Workbook
from freight.parsers.workbooks.package import behind_a_password, folded, refuse_bomb

__all__ = ["Block", "Row", "Workbook", "open_workbook"]

OLE_START = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # of an .xls, and of a password-protected workbook
BARE_XLS_START = re.compile(rb"\x09[\x00\x02\x04\x08][\x04-\x14]\x00")  # of versions 2 to 5, which may lack OLE
ENCRYPTED_PART = "EncryptedPackage".encode("utf-16-le")
LOOK_BYTES = 4_096
REMEDY = "open it in the program that made it and save it as `Excel Workbook (*.xlsx)`"
NO_WORKBOOKS = {  # pattern in the lower-case start of a file, to the kind of the file
    rb"urn:oasis:names:tc:opendocument": "a flat OpenDocument (.fods)",
    rb"^\s*mime-version:": "a web archive (MHTML)",
    rb"^\s*<\?xml": "XML",
    rb"^%pdf": "a PDF",
}
XML_OF_2003 = re.compile(rb"^\s*<.*urn:schemas-microsoft-com:office:spreadsheet", re.DOTALL)
HTML = re.compile(rb"^\s*<(?:.*<)?(?:!doctype html|html|table|meta)\b", re.DOTALL)
OTHER_PACKAGES = {
    "word/document.xml": "a Word document",
    "ppt/presentation.xml": "a PowerPoint presentation",
    "index/document.iwa": "an Apple Numbers document",
}


def open_workbook(content: BinaryIO, encoding: str | None = None) -> Workbook:
    """Open a workbook of any kind.

    Args:
        content: The file, at its start.
        encoding: The encoding of a page of HTML that does not name it.

    Raises:
        SourceError: The file is not a workbook, is protected by a password, or is a ZIP bomb. A damaged file can raise
        any other error.
    """
    start = content.read(LOOK_BYTES)
    content.seek(0)
    if start.startswith(b"PK"):
        return _open_package(content)
    if start.startswith(OLE_START) or BARE_XLS_START.match(start):
        return _open_xls(content.read())
    return _open_text(content, start, encoding)


def _open_xls(content: bytes) -> Workbook:
    from freight.parsers.workbooks.xls import XlsWorkbook

    if ENCRYPTED_PART in content:
        raise behind_a_password()
    try:
        return XlsWorkbook(content)
    except (SourceError, MemoryError):
        raise
    except Exception:  # xlrd may raise anything over a damaged file
        from freight.parsers.workbooks.second import SecondOpinion

        return SecondOpinion(content)


def _open_text(content: BinaryIO, start: bytes, encoding: str | None) -> Workbook:
    """Open what many a program calls .xls, and Excel opens: XML of 2003, or a page of HTML."""
    folded_start = _as_utf8(start).lower()
    if XML_OF_2003.match(folded_start):
        from freight.parsers.workbooks.xml2003 import XmlWorkbook

        return XmlWorkbook(content)
    if HTML.match(folded_start):
        from freight.parsers.workbooks.html import HtmlWorkbook

        return HtmlWorkbook(content.read(), encoding)
    raise _no_workbook(folded_start)


def _as_utf8(start: bytes) -> bytes:
    """Return the start of a text without its byte order mark, with ASCII characters as single bytes."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return start.decode("utf-16", "replace").encode()
    return start.removeprefix(codecs.BOM_UTF8)


def _open_package(content: BinaryIO) -> Workbook:
    parts = _parts(content)
    for part, kind in OTHER_PACKAGES.items():
        if part in parts:
            raise SourceError("unsupported", f"the file is {kind}, not a workbook", remedy=REMEDY)
    if any(part.endswith("workbook.bin") for part in parts):
        from freight.parsers.workbooks.xlsb import XlsbWorkbook

        return XlsbWorkbook(content)
    if "content.xml" in parts:
        from freight.parsers.workbooks.ods import OdsWorkbook

        return OdsWorkbook(content)
    from freight.parsers.workbooks.xlsx import XlsxWorkbook

    return XlsxWorkbook(content)


def _parts(content: BinaryIO) -> set[str]:
    try:
        with zipfile.ZipFile(content) as archive:
            refuse_bomb(archive.infolist())
            return {folded(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise SourceError(
            "corrupt", f"the workbook is damaged: {error}", remedy="deliver the whole file again"
        ) from None


def _no_workbook(start: bytes) -> SourceError:
    if not start:
        return SourceError("empty", "the file is empty", remedy="deliver the file again")
    for marks, kind in NO_WORKBOOKS.items():
        if re.search(marks, start):
            return SourceError("unsupported", f"the file is {kind}, whatever its name says", remedy=REMEDY)
    return SourceError(
        "unsupported",
        "the file is not a workbook, whatever its name says",
        remedy="if it is text, set `reader: csv` for it; else export it as .xlsx again",
    )
