"""Detect files that are not text by their first bytes, whatever their names, before the search for a header."""

from freight.errors import SourceError
from freight.readers.encodings import encoding_of_start

# Offset and magic bytes of each kind of file, and its usual name.
KINDS = (
    (0, b"\x1f\x8b", "packed by gzip"),
    (0, b"BZh", "packed by bzip2"),
    (0, b"\xfd7zXZ", "packed by xz"),
    (0, b"\x28\xb5\x2f\xfd", "packed by zstd"),
    (0, b"PK\x03\x04", "a .zip or an Excel workbook"),
    (0, b"7z\xbc\xaf\x27\x1c", "a .7z archive"),
    (0, b"Rar!", "a .rar archive"),
    (257, b"ustar", "a .tar archive"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook before 2007, or another Office file"),
    (0, b"\x00\x01\x00\x00Standard ", "an MS Access database"),
    (0, b"SQLite format 3\x00", "an SQLite database"),
    (0, b"PAR1", "a Parquet file"),
    (0, b"%PDF", "a PDF"),
)
CONTROLS = bytes({*range(0x20), 0x7F} - set(b"\t\n\v\f\r\x1a\x1b"))
FEW, SHARE = 8, 0.02  # control characters that a damaged text may have


def refuse_no_text(start: bytes) -> None:
    """Check that a file may be text.

    Args:
        start: The first bytes of the file, unpacked.

    Raises:
        SourceError: The file is of another kind, or has bytes that do not occur in text.
    """
    for at, magic, kind in KINDS:
        if start.startswith(magic, at):
            raise SourceError(
                "unsupported",
                f"it is not text but {kind}",
                remedy="give it the extension of its format (.csv.gz, .zip, .xlsx) and name its reader in the catalog, "
                "or deliver text",
            )
    if not start.strip(b"\0"):
        return  # an empty file is a different fault
    controls = len(start) - len(start.translate(None, CONTROLS))
    if controls > max(FEW, SHARE * len(start)) and not encoding_of_start(start):
        raise SourceError(
            "unsupported",
            f"it is not text: {controls} of its first {len(start)} bytes are control characters",
            remedy="check its content, and deliver the table as text",
        )
