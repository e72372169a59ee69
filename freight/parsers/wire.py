"""The wire format from a parser to its reader: frames on standard output, each with a kind, a length and a payload."""

import struct
from typing import IO, Literal, NamedTuple

Kind = Literal["progress", "header", "remark", "rows", "faults", "failed", "done"]

KINDS: tuple[Kind, ...] = ("progress", "header", "remark", "rows", "faults", "failed", "done")
START = struct.Struct(">BQ")
FRAME_LIMIT_BYTES = 384 << 20  # a full batch plus the longest row, in characters of four bytes each


class Frame(NamedTuple):
    """One message of a parser.

    Attributes:
        kind: The kind: `progress` (number of bytes read), `header` (JSON: cells, sheets), `remark` (JSON text),
            `rows` and `faults` (Arrow stream), `failed` (JSON: fault, message, remedy, row, column), `done` (the end).
        payload: The content, in the format of the kind.
    """

    kind: Kind
    payload: bytes


def write_frame(stream: IO[bytes], frame: Frame) -> None:
    """Write a frame and flush it, so that its reader never waits for the rest."""
    stream.write(START.pack(KINDS.index(frame.kind), len(frame.payload)) + frame.payload)
    stream.flush()


def read_frame(stream: IO[bytes]) -> Frame | None:
    """Read a frame; None if the parser has ended."""
    start = stream.read(START.size)
    if len(start) < START.size:
        return None
    kind, length = START.unpack(start)
    if kind >= len(KINDS) or length > FRAME_LIMIT_BYTES:
        return None
    payload = stream.read(length)
    return Frame(KINDS[kind], payload) if len(payload) == length else None
