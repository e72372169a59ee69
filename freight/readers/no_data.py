"""Files in a folder that no program means as data: traces of file managers, and files that are not complete yet."""

import re

# What Excel, LibreOffice, macOS and Windows leave beside the files of a person who looks at them.
TRACE = re.compile(r"~\$.*|\.~lock\..*#|\._.*|\.ds_store|(?:eh)?thumbs\.db|desktop\.ini", re.IGNORECASE)
INCOMPLETE = (".part", ".partial", ".crdownload", ".filepart", ".tmp")  # of browsers and programs for transfers


def is_trace(name: str, location: str = "") -> bool:
    """Return whether a file is the trace of a program.

    Args:
        name: The name of the file.
        location: The location that found it; a file that it names in full is meant.
    """
    return bool(TRACE.fullmatch(name)) and not location.endswith(name)


def is_incomplete(name: str, location: str) -> bool:
    """Return whether the name of a file says that it is not complete yet, unless its location asks for such names."""
    suffix = next((suffix for suffix in INCOMPLETE if name.lower().endswith(suffix)), None)
    return suffix is not None and not location.lower().endswith(suffix)
