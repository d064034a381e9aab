"""Files of `|`-separated lines, as banks drop them: a header record, column names, data, a trailer record.

Promises: columns are found by name; a line with too few or too many separators is a row (ragged), as is one that
          does not decode (bad_encoding); quotes mean nothing; an empty field is NULL.
Refuses:  a file whose header, column names or trailer are missing, doubled or not its own (SourceBroken):
          then nothing of it is read.
Not here: whether the trailer's totals are those of the rows (the landing compares them).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from pipelines.errors import SourceBroken
from pipelines.sealing.formats import Reading, lines
from pipelines.sealing.parsed import BAD_ENCODING, RAGGED, Rows, with_broken

SEPARATOR = "|"
_CONTROL_RECORDS = 3  # header, column names, trailer
_HEADER = re.compile(r"H\|([A-Za-z_]{1,60})\|([A-Za-z0-9]{1,20})\|([0-9]{8})")
_TRAILER = re.compile(r"T\|([0-9]{1,15})\|(-?[0-9]{1,18})")
_LONGEST_HEAD = 64 * 1024


def read(data: bytes, reading: Reading) -> Iterator[Rows]:
    """Rows of one file, chunk by chunk."""
    data, encoding = lines.unmarked(data, reading.contract.source.encoding)
    if b"\r\n" in data:
        data = data.replace(b"\r\n", b"\n")
    reading.tally.physical = lines.count(data)
    reading.tally.control = _CONTROL_RECORDS
    body, columns = _opened(data, encoding, reading)
    before = 2
    for chunk in lines.chunks(body):
        rows = _read_chunk(chunk, encoding, before, columns, reading)
        before += len(rows)
        yield rows


def _opened(data: bytes, encoding: str, reading: Reading) -> tuple[bytes, list[str]]:
    """The data lines, and the names of their columns; header and trailer are proven and their totals kept."""
    first = data.find(b"\n")
    second = data.find(b"\n", first + 1)
    last = data.rstrip(b"\n").rfind(b"\n")
    if not 0 < first < second <= last or second > _LONGEST_HEAD:
        raise _broken(reading, "header record, column names and trailer record are not all there: was it cut?")
    head = _control(data[:first], encoding, _HEADER)
    if head is None or head.group(1).lower() != reading.contract.feed:
        raise _broken(reading, f"its first record is not the header H|{reading.contract.feed}|bank|YYYYMMDD")
    tail = _control(data[last + 1 :].rstrip(b"\n"), encoding, _TRAILER)
    if tail is None or b"\nT|" in data[second:last]:
        raise _broken(reading, "its last record is not the one trailer T|rows|sum: was it cut, or joined?")
    reading.tally.declared_records = int(tail.group(1))
    reading.tally.declared_fen = int(tail.group(2)) if reading.contract.money_field else None
    return data[second + 1 : last + 1], _columns(data[first + 1 : second], encoding, reading)


def _control(line: bytes, encoding: str, pattern: re.Pattern[str]) -> re.Match[str] | None:
    try:
        return pattern.fullmatch(line.decode(encoding))
    except UnicodeError:
        return None


def _columns(line: bytes, encoding: str, reading: Reading) -> list[str]:
    try:
        found = [name.strip() for name in line.decode(encoding).split(SEPARATOR)]
    except UnicodeError:
        raise _broken(reading, "its column names do not decode") from None
    missing = set(reading.names) - set(found)
    if missing:
        raise _broken(reading, f"columns are missing: {', '.join(sorted(missing))}")
    if len(set(found)) != len(found):
        raise _broken(reading, "two columns have one name")
    reading.tally.unknown_columns = [
        name if re.fullmatch(r"[a-z_][a-z0-9_]{0,60}", name) else "(not a plain name)"
        for name in found
        if name not in reading.names
    ]
    return found


def _read_chunk(chunk: bytes, encoding: str, before: int, columns: list[str], reading: Reading) -> Rows:
    text, undecoded = lines.decoded(chunk, encoding)
    if undecoded is None:
        errors = np.full(lines.count(text), None, dtype=object)
        errors[_ragged(text, len(columns))] = RAGGED
    else:
        errors = np.array([_line_error(line, len(columns)) for line in undecoded], dtype=object)
    every = undecoded
    if b"\0" in chunk:
        every = every if every is not None else text.removesuffix(b"\n").split(b"\n")
        errors[[b"\0" in line for line in every]] = BAD_ENCODING
    row_no = np.arange(before + 1, before + 1 + len(errors), dtype=np.int64)
    is_broken = errors != None  # noqa: E711  elementwise
    if not is_broken.any():
        return Rows(row_no, _parse(text, columns, reading))
    every = every if every is not None else text.removesuffix(b"\n").split(b"\n")
    good = b"".join(line + b"\n" for line, bad in zip(every, is_broken, strict=True) if not bad)
    broken = [line for line, bad in zip(every, is_broken, strict=True) if bad]
    return with_broken(reading.names, _parse(good, columns, reading), row_no, errors, broken)


def _ragged(text: bytes, columns: int) -> npt.NDArray[np.bool_]:
    """Which lines do not have exactly columns - 1 separators, or hold a bare carriage return."""
    starts, ends = lines.bounds(text)
    characters = np.frombuffer(text, np.uint8)
    separators = np.flatnonzero(characters == ord(SEPARATOR))
    found = np.searchsorted(separators, ends) - np.searchsorted(separators, starts)
    ragged = found != columns - 1
    for at in np.flatnonzero(characters == ord("\r")):
        ragged[np.searchsorted(ends, at)] = True
    return np.asarray(ragged)


def _line_error(line: bytes, columns: int) -> str | None:
    if line.startswith(lines.UNDECODABLE):
        return BAD_ENCODING
    return RAGGED if line.count(SEPARATOR.encode()) != columns - 1 or b"\r" in line else None


def _parse(text: bytes, columns: list[str], reading: Reading) -> dict[str, Any]:
    """The contract's columns of lines that all have as many fields as there are columns."""
    if not text:
        return {name: pa.array([], pa.string()) for name in reading.names}
    source: Any = pa.py_buffer(text)
    table = arrow_csv.read_csv(
        source,
        read_options=arrow_csv.ReadOptions(
            column_names=columns, use_threads=False, block_size=max(2 * lines.CHUNK_BYTES, len(text) + 1)
        ),
        parse_options=arrow_csv.ParseOptions(
            delimiter=SEPARATOR, quote_char=False, escape_char=False, ignore_empty_lines=False
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types={name: pa.string() for name in reading.names},
            include_columns=reading.names,
            strings_can_be_null=False,
        ),
    )
    fields = {}
    for field in reading.contract.fields:
        column = table.column(field.name).combine_chunks()
        if not field.empty_is_value:
            column = pc.if_else(pc.equal(column, pa.scalar("")), pa.scalar(None, pa.string()), column)
        fields[field.name] = column
    return fields


def _broken(reading: Reading, why: str) -> SourceBroken:
    return SourceBroken(
        f"{reading.contract.feed}: a file is not what its contract says",
        where=reading.where,
        why=why,
        do="ask the bank for the file again; what was pulled stays in the vault",
    )
