"""One batch through the sealer: vault object, parse, identify, Arrow stream, trailer.

Promises: one object in memory at a time (and the next one being opened); every physical record is a row or a
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


class _Sealing:
    def __init__(self, request: SealRequest, settings: Settings, keyring: Keyring, contract: Contract) -> None:
        self._request, self._settings, self._contract = request, settings, contract
        self._keyring = keyring
        self._totals = _Totals()
        self._read: Reader = reader_of(contract.source.format)
        self._identifier = Identifier(contract, _sealing_keys(settings, keyring), request.business_date)

    def write(self, out: BinaryIO) -> None:
        schema = self._contract.sealed_schema()
        con = _connection(self._settings)
        try:
            sink: Any = out
            with pa.ipc.new_stream(sink, schema) as stream:
                told = []
                for object_no, (item, data) in enumerate(self._opened()):
                    told.append(self._write_object(object_no, item, data, con, stream))
                stream.write_batch(
                    pa.RecordBatch.from_pylist([], schema=schema),
                    custom_metadata={TRAILER: json.dumps(self._trailer(told), sort_keys=True).encode()},
                )
        finally:
            con.close()

    def _opened(self) -> Iterator[tuple[ObjectRequest, bytes]]:
        """Each object's bytes; the next one is being decrypted while this one is sealed."""
        with ThreadPoolExecutor(max_workers=1) as ahead:
            waiting = [ahead.submit(self._open, item) for item in self._request.objects[:1]]
            for number, item in enumerate(self._request.objects):
                data = waiting.pop(0).result()
                waiting += [ahead.submit(self._open, n) for n in self._request.objects[number + 1 : number + 2]]
                yield item, data

    def _open(self, item: ObjectRequest) -> bytes:
        key = self._keyring.key(roles.VAULT_DAY, item.business_date.isoformat())
        path = vault.object_path(self._settings, self._request.feed, item.business_date, item.address)
        return vault.open_object(path, roles.as_identity(key))

    def _write_object(
        self, object_no: int, item: ObjectRequest, data: bytes, con: duckdb.DuckDBPyConnection, stream: Any
    ) -> dict[str, Any]:
        tally = Tally()
        where = f"{self._request.batch_id}, object {object_no} ({item.address[:12]}…)"
        reading = Reading(self._contract, con, tally, where)
        written = 0
        for stretch in self._stretches(data, reading):
            written += self._write_rows(object_no, stretch, stream)
        if tally.physical != written + tally.control:
            raise TotalsDiffer(
                f"{self._request.feed}: records were lost or invented while an object was read",
                where=where,
                why=f"{tally.physical:,} physical, but {written:,} rows and {tally.control} control records",
                do="nothing lands; the object stays in the vault: report it, with its address",
            )
        self._totals.physical += tally.physical
        self._totals.control += tally.control
        return self._object_totals(object_no, item, tally, written, where)

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

    def _write_rows(self, object_no: int, rows: Rows, stream: Any) -> int:
        for at in range(0, len(rows), _BATCH_ROWS):
            part = rows if len(rows) <= _BATCH_ROWS else _part(rows, at, at + _BATCH_ROWS)
            batch = self._identifier.sealed(object_no, part)
            self._totals.digest.update(batch.column("record_hash").buffers()[1])
            self._count_fen(part)
            self._totals.rows += len(part)
            stream.write_batch(batch)
        return len(rows)

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

    def _object_totals(
        self, object_no: int, item: ObjectRequest, tally: Tally, rows: int, where: str
    ) -> dict[str, Any]:
        declared: dict[str, int | None] = {}
        for name in ("declared_records", "declared_fen"):
            by_file, by_source = getattr(tally, name), getattr(item, name)
            if None not in (by_file, by_source) and by_file != by_source:
                raise TotalsDiffer(
                    f"{self._request.feed}: an object declares two different totals",
                    where=where,
                    why=f"{name}: {by_file:,} in the file, {by_source:,} when it was pulled",
                    do="pull the window again",
                )
            declared[name] = by_file if by_file is not None else by_source
        return {
            "object_no": object_no,
            "address": item.address,
            "physical_records": tally.physical,
            "control_records": tally.control,
            "rows": rows,
            **{name: value for name, value in declared.items() if value is not None},
            **({"unknown_columns": tally.unknown_columns} if tally.unknown_columns else {}),
        }

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
    return duckdb.connect(
        config={
            "threads": settings.threads,
            "memory_limit": settings.memory_limit,
            "temp_directory": "",
            "autoinstall_known_extensions": "false",
        }
    )


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
