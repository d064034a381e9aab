"""One JSON object per line, as platforms send it.

Promises: strict and fast if every line is whole; else the broken lines are found first, kept as rows
          (bad_json, bad_encoding), and the rest is parsed as if they were not there. Unknown keys are ignored.
Refuses:  nothing: the worst page is rows that all say bad_json.
Not here: types of values; everything is text here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.identifiers import text as text_columns
from pipelines.privacy.files import memory_file
from pipelines.sealing.formats import Reading, lines
from pipelines.sealing.parsed import BAD_ENCODING, BAD_JSON, Rows, with_broken

_LONGEST_LINE = 16 * 2**20 - 1024  # the parser's own limit; the largest honest record has 4 kB
_BLANK = "blank"
# Each line by itself: an object, with each key once (two values for one key would be a choice of ours).
_JUDGE = f"""
select case
  when regexp_full_match(line, '\\s*') then '{_BLANK}'
  when not json_valid(line) then '{BAD_JSON}'
  when json_type(line) <> 'OBJECT' then '{BAD_JSON}'
  when len(json_keys(line)) <> len(list_distinct(json_keys(line))) then '{BAD_JSON}'
end as error from lines
"""


def read(data: bytes, reading: Reading) -> Iterator[Rows]:
    """Rows of one object, chunk by chunk."""
    data, encoding = lines.unmarked(data, reading.contract.source.encoding)
    for chunk in lines.chunks(data):
        before, records = reading.tally.physical, lines.count(chunk)
        reading.tally.physical += records
        if encoding == "utf-8" and _no_line_too_long(chunk):  # the parser proves the encoding of what it takes
            fields = _parse(chunk, reading)
            if fields is not None and _height(fields) == records and not any(map(_has_nul, fields.values())):
                yield Rows(np.arange(before + 1, before + records + 1, dtype=np.int64), fields)
                continue
        text, undecoded = lines.decoded(chunk, encoding)
        every = undecoded if undecoded is not None else text.removesuffix(b"\n").split(b"\n")
        yield _read_carefully(every, before, reading)


def _no_line_too_long(chunk: bytes) -> bool:
    if len(chunk) <= _LONGEST_LINE:
        return True
    starts, ends = lines.bounds(chunk)
    return int((ends - starts).max()) <= _LONGEST_LINE


def _read_carefully(every: list[bytes], before: int, reading: Reading) -> Rows:
    errors = _judge(every, reading.con)
    kept = errors != _BLANK
    reading.tally.control += int((~kept).sum())
    row_no = np.flatnonzero(kept).astype(np.int64) + before + 1
    every, errors = [line for line, keep in zip(every, kept, strict=True) if keep], errors[kept]
    good = [line for line, error in zip(every, errors, strict=True) if error is None]
    fields = _parse(b"\n".join(good), reading) if good else _none(reading)
    if fields is None or _height(fields) != len(good):
        # What the judge took and the parser did not: no row of this chunk can be trusted to be in its place.
        errors[:] = BAD_JSON
        fields = _none(reading)
    with_nul = _rows_with_nul(fields)
    if with_nul.any():
        errors[np.flatnonzero(errors == None)[with_nul]] = BAD_ENCODING  # noqa: E711  elementwise
        fields = {name: column.filter(pa.array(~with_nul)) for name, column in fields.items()}
    broken = [line for line, error in zip(every, errors, strict=True) if error is not None]
    return with_broken(reading.names, fields, row_no, errors, broken)


def _judge(every: list[bytes], con: duckdb.DuckDBPyConnection) -> npt.NDArray[np.object_]:
    errors = np.full(len(every), None, dtype=object)
    judged = []
    for number, line in enumerate(every):
        if line.startswith(lines.UNDECODABLE):
            errors[number] = BAD_ENCODING
        elif len(line) > _LONGEST_LINE:
            errors[number] = BAD_JSON
        else:
            judged.append(number)
    table = pa.table({"line": pa.array([every[number] for number in judged], pa.binary()).cast(pa.string())})
    con.register("lines", table)
    try:
        errors[judged] = con.execute(_JUDGE).to_arrow_table()["error"].to_pylist()
    finally:
        con.unregister("lines")
    return errors


def _parse(text: bytes, reading: Reading) -> dict[str, Any] | None:
    """The contract's columns as text, or None if any line is not one JSON object."""
    columns = ", ".join(f"{name}: 'VARCHAR'" for name in reading.names)
    with memory_file(text) as path:
        try:
            table = reading.con.execute(
                f"select * from read_json('{path}', format = 'newline_delimited', columns = {{{columns}}})"
            ).to_arrow_table()
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error:
            return None
    return {name: table.column(name).combine_chunks() for name in reading.names}


def _height(fields: dict[str, Any]) -> int:
    return len(next(iter(fields.values())))


def _none(reading: Reading) -> dict[str, Any]:
    return {name: pa.array([], pa.string()) for name in reading.names}


def _has_nul(column: Any) -> bool:
    data, _, _ = text_columns.buffers(column)
    return len(data) > 0 and int(data.min()) == 0


def _rows_with_nul(fields: dict[str, Any]) -> npt.NDArray[np.bool_]:
    found = np.zeros(_height(fields), np.bool_)
    for column in filter(_has_nul, fields.values()):
        found |= np.asarray(pc.fill_null(pc.match_substring(column, "\0"), False).to_numpy(zero_copy_only=False))
    return found
