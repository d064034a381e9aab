"""Text columns as numpy bytes, and the way a column version falls back on its plain function.

Promises: NULL stays NULL; slices, chunks and large strings are accepted; distinct odd values are judged once.
Refuses:  nothing; odd bytes go to the plain function, which judges them.
Not here: any rule about an identifier.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


def normalised(text: str) -> tuple[str, bool]:
    """NFKC, stripped, upper case (DOMAIN E1); and whether anything full-width was in it."""
    stripped = text.strip()
    folded = unicodedata.normalize("NFKC", stripped).strip()
    return folded.upper(), folded != stripped


def one_array(column: Any) -> Any:
    """Any text column as one pyarrow StringArray."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if not pa.types.is_string(column.type):
        column = column.cast(pa.string())
    return column


def buffers(array: Any) -> tuple[Bytes, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(all bytes, start of each value, length of each value); NULL has length -1."""
    _, offsets_buffer, data_buffer = array.buffers()
    rows = len(array)
    if rows == 0:
        return np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0, np.int64)
    offsets = np.frombuffer(offsets_buffer, np.int32)[array.offset : array.offset + rows + 1].astype(np.int64)
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.empty(0, np.uint8)
    lengths = np.diff(offsets)
    if array.null_count:
        lengths = np.where(is_null(array), -1, lengths)
    return data, offsets[:-1], lengths


def is_null(array: Any) -> Mask:
    return np.asarray(pc.is_null(array).to_numpy(zero_copy_only=False))


def matrix(data: Bytes, starts: npt.NDArray[np.int64], width: int) -> Bytes:
    """The values that begin at `starts` and are all `width` bytes long, one per row."""
    rows = len(starts)
    if rows == 0 or width == 0:
        return np.empty((rows, width), np.uint8)
    first, last = int(starts[0]), int(starts[-1])
    if last - first == (rows - 1) * width and bool(np.all(np.diff(starts) == width)):
        return data[first : first + rows * width].reshape(rows, width)
    return windows(data, width)[starts].view(np.uint8).reshape(rows, width)


def windows(data: Bytes, width: int) -> npt.NDArray[np.void]:
    """Every run of `width` bytes as one item, without a copy: picking rows is then one memcpy each."""
    count = max(len(data) - width + 1, 0)
    return np.ndarray((count,), dtype=f"V{width}", buffer=np.ascontiguousarray(data).data, strides=(1,))


def digits(rows: Bytes) -> Mask:
    """Which rows of a byte matrix are ASCII digits throughout."""
    return np.asarray(((rows - np.uint8(48)) <= 9).all(axis=1))


def zeros(rows: int) -> Any:
    """The index that repeats a vocabulary's first word for every row."""
    return pa.array(np.zeros(rows, np.int8))


def fixed_strings(rows: Bytes) -> Any:
    """A (n, width) byte matrix of ASCII as a StringArray without NULLs."""
    count, width = rows.shape
    offsets: Any = np.arange(0, (count + 1) * width, width, dtype=np.int32)
    data: Any = np.ascontiguousarray(rows)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(data))


def words(codes: npt.NDArray[np.integer[Any]], vocabulary: tuple[str, ...], null: Mask | None = None) -> Any:
    """Codes into a small vocabulary as a plain string column."""
    index: Any = pa.array(codes.astype(np.int8), mask=null)
    return pc.take(pa.array(vocabulary, pa.string()), index)


def merge(rows: int, fast: Mask, fast_table: Any, slow_table: Any) -> Any:
    """Put the fast rows (in order) and the other rows (in order) back into one table of `rows` rows."""
    if len(slow_table) == 0:
        return fast_table
    if len(fast_table) == 0:
        return slow_table
    position = np.empty(rows, np.int64)
    position[fast] = np.arange(len(fast_table))
    position[~fast] = np.arange(len(slow_table)) + len(fast_table)
    both: Any = pa.concat_tables([fast_table, slow_table]).combine_chunks()
    return both.take(pa.array(position))


def each_distinct(array: Any, judge: Callable[[str], tuple[Any, ...]], schema: Any) -> Any:
    """Judge every distinct value once with the plain function; NULL gives a row of NULLs."""
    encoded = array.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    judged = [judge(value) for value in encoded.dictionary.to_pylist()]
    columns = list(zip(*judged, strict=True)) if judged else [() for _ in schema]
    table = pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )
    return table.take(encoded.indices)
