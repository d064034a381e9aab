"""Bytes into lines, and lines into UTF-8, before any parser sees them.

Promises: a physical record is what ends in a newline, or at the end; chunks end at newlines: bounded memory.
Refuses:  nothing: a line that does not decode is told apart from those that do.
Not here: fields.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

CHUNK_BYTES = (
    32 * 2**20
)  # a page of 20,000 orders has 15 MB; a chunk costs some five times its size while it is read
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)


def unmarked(data: bytes, declared: str) -> tuple[bytes, str]:
    """The bytes without a byte order mark, and their encoding: a mark says more than a declaration.

    UTF-16 is the one encoding in which a newline is not one byte, so it is decoded here (strictly).
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            rest = data[len(mark) :]
            if encoding.startswith("utf-16"):
                return rest.decode(encoding).encode(), "utf-8"
            return rest, encoding
    return data, declared


def count(data: bytes) -> int:
    """Physical records: newlines, and a last line without one."""
    newlines = int(
        np.count_nonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    )  # bytes.count takes thrice as long
    return newlines + (1 if data and not data.endswith(b"\n") else 0)


def chunks(data: bytes, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Stretches that end at a newline; a longer line is not cut."""
    at = 0
    while at < len(data):
        end = len(data)
        if end - at > size:
            end = (data.rfind(b"\n", at, at + size) + 1) or (data.find(b"\n", at + size) + 1) or len(data)
        yield data if end - at == len(data) else data[at:end]
        at = end


def bounds(data: bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where each line begins and ends (without its newline)."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")).astype(np.int64)
    if data and not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    starts = np.zeros(len(ends), np.int64)
    starts[1:] = ends[:-1] + 1
    return starts, ends


def decoded(data: bytes, encoding: str) -> tuple[bytes, list[bytes] | None]:
    """(text, None): the same lines in UTF-8; or (b"", every line), UNDECODABLE before those that do not decode."""
    try:
        if codecs.lookup(encoding).name == "utf-8":
            codecs.utf_8_decode(data, "strict", True)
            return data, None
        return data.decode(encoding).encode(), None
    except UnicodeError:
        return b"", [_line(line, encoding) for line in data.removesuffix(b"\n").split(b"\n")]


UNDECODABLE = b"\xff"  # no UTF-8 text begins with it


def _line(line: bytes, encoding: str) -> bytes:
    try:
        return line.decode(encoding).encode()
    except UnicodeError:
        return UNDECODABLE + line
