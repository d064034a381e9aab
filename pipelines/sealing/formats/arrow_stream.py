"""Arrow IPC streams, as the database source stores them: typed columns into canonical text.

Promises: times as ISO 8601 in UTC with their offset, dates as YYYY-MM-DD, booleans as true and false.
Refuses:  a stream without its end mark (a cut stream reads as complete), a column that the contract does not
          know how to read, a column that is missing (SourceBroken).
Not here: the query that made it (sources/).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import SourceBroken
from pipelines.sealing.formats import Reading
from pipelines.sealing.parsed import Rows

_PLAIN = (pa.types.is_boolean, pa.types.is_date32, pa.types.is_integer, pa.types.is_large_string, pa.types.is_null)
_END_MARK = struct.pack("<II", 0xFFFFFFFF, 0)


def read(data: bytes, reading: Reading) -> Iterator[Rows]:
    """Rows of one object, batch by batch."""
    if not data.endswith(_END_MARK):
        raise _broken(reading, "its Arrow stream has no end mark: it was cut")
    with pa.ipc.open_stream(data) as batches:
        known = set(reading.names)
        reading.tally.unknown_columns = [name for name in batches.schema.names if name not in known]
        missing = known - set(batches.schema.names)
        if missing:
            raise _broken(reading, f"columns are missing: {', '.join(sorted(missing))}")
        for batch in batches:
            reading.tally.physical += batch.num_rows
            fields = {name: as_text(batch.column(name), name, reading) for name in reading.names}
            last = reading.tally.physical
            yield Rows(np.arange(last - batch.num_rows + 1, last + 1, dtype=np.int64), fields)


def as_text(column: Any, name: str, reading: Reading) -> Any:
    """A typed column as text. Raises SourceBroken for a type that no contract speaks of."""
    kind = column.type
    types = pa.types
    if isinstance(column, pa.ExtensionArray):  # PostgreSQL's numeric and uuid come as text or bytes of their own
        return as_text(column.storage, name, reading)
    if types.is_string(kind):
        return column
    if types.is_timestamp(kind) and kind.tz is not None:
        utc = column.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us")).cast(pa.string())
        with_t = pc.utf8_replace_slice(utc, 10, 11, "T")
        return pc.binary_join_element_wise(with_t, pa.scalar("+00:00"), "")
    if any(is_kind(kind) for is_kind in _PLAIN):
        return column.cast(pa.string())
    if types.is_decimal(kind) and kind.scale == 0:
        return column.cast(pa.string())
    raise _broken(reading, f"column {name} has the type {kind}, which its contract cannot mean")


def _broken(reading: Reading, why: str) -> SourceBroken:
    return SourceBroken(
        f"{reading.contract.feed}: an object is not what its contract says",
        where=reading.where,
        why=why,
        do="compare the source's table with schemas/feeds, then pull the window again",
    )
