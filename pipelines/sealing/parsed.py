"""What a format's reader hands on: rows of text columns, and how many physical records it stood before.

Promises: a broken record is a row too (its fields NULL, its error named, its bytes kept for the hash only).
Refuses:  nothing.
Not here: reading (formats/), judging (identify).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

RAGGED, BAD_JSON, BAD_ENCODING = "ragged", "bad_json", "bad_encoding"


@dataclass(frozen=True, slots=True)
class Rows:
    """A stretch of one object's rows.

    row_no: 1-based physical record within the object; fields: one string array per contract field;
    parse_error, broken: error word and bytes of broken rows, NULL for the others; None = no row is broken.
    """

    row_no: npt.NDArray[np.int64]
    fields: dict[str, Any]
    parse_error: Any = None
    broken: Any = None

    def __len__(self) -> int:
        return len(self.row_no)


@dataclass(slots=True)
class Tally:
    """Counted while an object is read, by looking at its bytes and not at what the parser gave."""

    physical: int = 0
    control: int = 0
    declared_records: int | None = None
    declared_fen: int | None = None
    unknown_columns: list[str] = field(default_factory=list)


def with_broken(
    names: list[str],
    good: dict[str, Any],
    row_no: npt.NDArray[np.int64],
    errors: npt.NDArray[np.object_],
    lines: list[bytes],
) -> Rows:
    """Good rows (in order) and broken lines (errors[i] names the error, None = good) in one stretch.

    lines: the bytes of the broken records, in order.
    """
    is_good = errors == None  # noqa: E711  elementwise
    position = np.cumsum(is_good) - 1
    index = pa.array(position, mask=~is_good)
    fields = {name: good[name].take(index) for name in names}
    broken: list[bytes | None] = [None] * len(errors)
    for row, line in zip(np.flatnonzero(~is_good), lines, strict=True):
        broken[int(row)] = line
    return Rows(row_no, fields, pa.array(errors, pa.string()), pa.array(broken, pa.binary()))
