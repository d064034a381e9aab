"""One batch through the sealer: vault object, parse, identify, Arrow stream, trailer.

Promises: one stretch of one object in memory (and the next one being read); every physical record is a row or a
          control record; the last message is a trailer with the totals that the landing compares.
Refuses:  to end the stream in good order after anything went wrong: without a trailer nothing lands. No error
          carries a value: engines' own errors, which quote cells, end here.
Not here: how a format is read (formats/), what becomes of a field (identify).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import vault
from pipelines.contracts import Contract
from pipelines.errors import Bug, SancheError, SourceBroken, TotalsDiffer
from pipelines.privacy import Keyring, roles
from pipelines.sealing.formats import Reader, Reading, reader_of
from pipelines.sealing.identify import Identifier, SealingKeys
from pipelines.sealing.parsed import Rows, Tally
from pipelines.sealing.request import ObjectRequest, SealRequest
from pipelines.settings import Settings

TRAILER = b"sanche.trailer"
_BATCH_ROWS = 100_000
_WHOLE = r"^[+-]?[0-9]{1,18}$"  # fits an int64 whatever its digits


def seal(request: SealRequest, *, settings: Settings, keyring: Keyring, contract: Contract, out: BinaryIO) -> None:
    """Write the batch's sealed records to `out`. Raises SancheError; the stream then has no trailer.

    keyring: the open seal keyring.
    """
    if contract.feed != request.feed:
        raise Bug("a request and a contract of two feeds", where=f"{request.feed}, {contract.feed}")
    try:
        _Sealing(request, settings, keyring, contract).write(out)
    except (SancheError, BrokenPipeError):
        raise
    except (duckdb.OutOfMemoryException, MemoryError, pa.ArrowMemoryError):
        raise SourceBroken(
            f"{request.feed}: an object needs more memory than sealing may use",
            where=request.batch_id,
            why=f"the limit is {settings.memory_limit}, and raw records are never written to a disk",
            do="raise SANCHE_MEMORY_LIMIT, or ask the source for smaller pages",
        ) from None
    except Exception as error:  # whatever it says may quote a record: only its kind and place are told
        raise Bug(
            f"{request.feed}: sealing failed",
            where=f"{request.batch_id}, {_place(error)}",
            why=f"{type(error).__name__} (its text is withheld, it may quote a record)",
            do="report this line; the batch stays in the vault and can be landed later",
        ) from None


@dataclass(slots=True)
class _Totals:
    """Running sums of a batch."""

    physical: int = 0
    control: int = 0
    rows: int = 0
    fen: int = 0
    fen_unparsed: int = 0
    digest: Any = field(default_factory=hashlib.sha256)


@dataclass(frozen=True, slots=True)
class _Read:
    """A stretch of an object's rows, or (rows = None) its end. written: rows so far."""

    object_no: int
    item: ObjectRequest
    reading: Reading
    written: int
    rows: Rows | None = None


class _Sealing:
    def __init__(self, request: SealRequest, settings: Settings, keyring: Keyring, contract: Contract) -> None:
        self._request, self._settings, self._contract = request, settings, contract
        self._keyring = keyring
        self._totals = _Totals()
        self._read: Reader = reader_of(contract.source.format)
        self._identifier = Identifier(contract, _sealing_keys(settings, keyring), request.business_date)

    def write(self, out: BinaryIO) -> None:
        schema = self._contract.sealed_schema()
        sink: Any = out
        told = []
        with pa.ipc.new_stream(sink, schema) as stream:
            for read in _one_ahead(self._objects(), threads=self._settings.threads):
                if read.rows is not None:
                    self._write_rows(read.object_no, read.rows, stream)
                else:
                    told.append(self._object_totals(read))
            stream.write_batch(
                pa.RecordBatch.from_pylist([], schema=schema),
                custom_metadata={TRAILER: json.dumps(self._trailer(told), sort_keys=True).encode()},
            )

    def _objects(self) -> Iterator[_Read]:
        """Every object's stretches of rows, and after each object an end without rows."""
        con = _connection(self._settings)
        try:
            for object_no, item in enumerate(self._request.objects):
                where = f"{self._request.batch_id}, object {object_no} ({item.address[:12]}…)"
                reading = Reading(self._contract, con, Tally(), where)
                written = 0
                for rows in self._stretches(self._open(item), reading):
                    written += len(rows)
                    yield _Read(object_no, item, reading, written, rows)
                yield _Read(object_no, item, reading, written)
        finally:
            con.close()

    def _open(self, item: ObjectRequest) -> bytes:
        key = self._keyring.key(roles.VAULT_DAY, item.business_date.isoformat())
        path = vault.object_path(self._settings, self._request.feed, item.business_date, item.address)
        return vault.open_object(path, roles.as_identity(key))

    def _stretches(self, data: bytes, reading: Reading) -> Iterator[Rows]:
        try:
            yield from self._read(data, reading)
        except UnicodeError:
            raise SourceBroken(
                f"{self._request.feed}: an object does not decode",
                where=reading.where,
                why="its byte order mark names an encoding that it is not in",
                do="ask the source for it again",
            ) from None

    def _write_rows(self, object_no: int, rows: Rows, stream: Any) -> None:
        for at in range(0, len(rows), _BATCH_ROWS):
            part = rows if len(rows) <= _BATCH_ROWS else _part(rows, at, at + _BATCH_ROWS)
            batch = self._identifier.sealed(object_no, part)
            self._totals.digest.update(batch.column("record_hash").buffers()[1])
            self._count_fen(part)
            self._totals.rows += len(part)
            stream.write_batch(batch)

    def _count_fen(self, rows: Rows) -> None:
        name = self._contract.money_field
        if name is None:
            return
        raw = rows.fields[name]
        whole = pc.fill_null(pc.match_substring_regex(raw, _WHOLE), False)
        fen = raw.filter(whole).cast(pa.int64()).to_numpy(zero_copy_only=False)
        self._totals.fen += int(fen.sum(dtype=object)) if len(fen) and _may_overflow(fen) else int(fen.sum())
        # a NULL is no money; a broken record may hold any sum
        broken = 0 if rows.parse_error is None else len(rows) - rows.parse_error.null_count
        self._totals.fen_unparsed += len(rows) - raw.null_count - len(fen) + broken

    def _object_totals(self, read: _Read) -> dict[str, Any]:
        tally, item = read.reading.tally, read.item
        if tally.physical != read.written + tally.control:
            raise TotalsDiffer(
                f"{self._request.feed}: records were lost or invented while an object was read",
                where=read.reading.where,
                why=f"{tally.physical:,} physical, but {read.written:,} rows and {tally.control} control records",
                do="nothing lands; the object stays in the vault: report it, with its address",
            )
        self._totals.physical += tally.physical
        self._totals.control += tally.control
        return {
            "object_no": read.object_no,
            "address": item.address,
            "physical_records": tally.physical,
            "control_records": tally.control,
            "rows": read.written,
            **self._declared(read, "declared_records", tally.declared_records, item.declared_records),
            **self._declared(read, "declared_fen", tally.declared_fen, item.declared_fen),
            **({"unknown_columns": tally.unknown_columns} if tally.unknown_columns else {}),
        }

    def _declared(self, read: _Read, name: str, by_file: int | None, by_source: int | None) -> dict[str, int]:
        if by_file is not None and by_source is not None and by_file != by_source:
            raise TotalsDiffer(
                f"{self._request.feed}: an object declares two different totals",
                where=read.reading.where,
                why=f"{name}: {by_file:,} in the file, {by_source:,} when it was pulled",
                do="pull the window again",
            )
        declared = by_file if by_file is not None else by_source
        return {} if declared is None else {name: declared}

    def _trailer(self, objects: list[dict[str, Any]]) -> dict[str, Any]:
        totals = self._totals
        provable = self._contract.money_field is not None and totals.fen_unparsed == 0
        return {
            "batch_id": self._request.batch_id,
            "feed": self._request.feed,
            "objects": objects,
            "physical_records": totals.physical,
            "control_records": totals.control,
            "rows": totals.rows,
            "fen": totals.fen if provable else None,
            "fen_unparsed": totals.fen_unparsed,
            "sealed_withheld": self._identifier.withheld,
            "hash": totals.digest.hexdigest(),
        }


def _sealing_keys(settings: Settings, keyring: Keyring) -> SealingKeys:
    return SealingKeys(
        block=keyring.key(roles.IDENTIFIER_BLOCK).material,
        cmac=keyring.key(roles.IDENTIFIER_CMAC).material,
        record_hash=keyring.key(roles.RECORD_HASH).material,
        release_recipient=roles.read_recipient(roles.release_recipient_path(settings)),
    )


def _connection(settings: Settings) -> duckdb.DuckDBPyConnection:
    """A DuckDB that has no place to spill to, and may open nothing but this process's own memory files."""
    con = duckdb.connect(
        config={
            "threads": settings.threads,
            "memory_limit": settings.memory_limit,
            "temp_directory": "",
            "autoinstall_known_extensions": "false",
        }
    )
    con.execute("set enable_progress_bar = false")  # it would be drawn on standard output, into the stream
    return con


def _one_ahead(reads: Iterator[_Read], *, threads: int) -> Iterator[_Read]:
    """The same items, the next one being read (on a thread of its own) while this one is sealed."""
    if threads < 2:
        yield from reads
        return
    with ThreadPoolExecutor(max_workers=1) as reader:
        waiting = reader.submit(next, reads, None)
        try:
            while (read := waiting.result()) is not None:
                waiting = reader.submit(next, reads, None)
                yield read
        finally:
            waiting.cancel()


def _part(rows: Rows, first: int, last: int) -> Rows:
    def cut(column: Any) -> Any:
        return None if column is None else column.slice(first, last - first)

    return Rows(
        rows.row_no[first:last],
        {name: cut(column) for name, column in rows.fields.items()},
        cut(rows.parse_error),
        cut(rows.broken),
    )


def _may_overflow(fen: Any) -> bool:
    return bool(np.abs(fen).max() > 2**62 // len(fen))


def _place(error: BaseException) -> str:
    """The innermost line of ours that the error passed."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if re.search(r"pipelines/", file):
            place = f"{file.rsplit('pipelines/', 1)[1]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
