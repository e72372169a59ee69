"""How a parser tells its reader what it finds: frames on its standard output, each a kind, a length and a payload."""

import struct
from typing import IO, Literal, NamedTuple

Kind = Literal["progress", "header", "rows", "faults", "failed", "done"]

KINDS: tuple[Kind, ...] = ("progress", "header", "rows", "faults", "failed", "done")
START = struct.Struct(">BQ")
FRAME_LIMIT_BYTES = 384 << 20  # a full batch with the longest row behind it, of characters of four bytes each


class Frame(NamedTuple):
    """One message of a parser.

    Attributes:
        kind: `progress` (so many bytes were read), `header` (JSON list), `rows` and `faults` (Arrow stream),
            `failed` (JSON: fault, message, remedy, row, column), `done` (nothing follows).
        payload: the rest, as the kind says.
    """

    kind: Kind
    payload: bytes


def write_frame(stream: IO[bytes], frame: Frame) -> None:
    """Write a frame at once, so that its reader never waits for the rest of it."""
    stream.write(START.pack(KINDS.index(frame.kind), len(frame.payload)) + frame.payload)
    stream.flush()


def read_frame(stream: IO[bytes]) -> Frame | None:
    """Read a frame; None if the parser ended without one."""
    start = stream.read(START.size)
    if len(start) < START.size:
        return None
    kind, length = START.unpack(start)
    if kind >= len(KINDS) or length > FRAME_LIMIT_BYTES:
        return None
    payload = stream.read(length)
    return Frame(KINDS[kind], payload) if len(payload) == length else None
