"""Read the sealer's Arrow stream, put the outer key on its tokens, and hold it against its trailer.

Promises: nothing of a stream counts until its trailer came and every number in it was counted again here: records,
          hash, rows of each object, fen; memory holds one Arrow batch.
Refuses:  a cut stream (an Arrow stream that ends at a batch boundary reads as complete), another batch's stream,
          columns that were not agreed; totals other than what the sender declared (TotalsDiffer).
Not here: rules and types (checks/); the sealer's own key (sealing/).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.contracts import Contract
from pipelines.errors import Refused, TotalsDiffer
from pipelines.landing.batch import PulledBatch
from pipelines.privacy import encrypt_blocks
from pipelines.privacy.tokens import from_arrow, to_arrow, to_uuid

TRAILER = b"sanche.trailer"
_PLAIN_NAME = re.compile(r"[A-Za-z_]{1,40}[0-9]{0,3}")
_WHOLE_NUMBER = r"^[+-]?[0-9]{1,18}$"  # what contracts/ takes for an amount; anything else is unread


@dataclass(slots=True)
class Arrived:
    """What came of one object, counted here."""

    rows: int = 0
    fen: int = 0
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Trailer:
    """What the sealer says of the stream. fen: None = some amount could not be read."""

    batch_id: str
    feed: str
    objects: list[dict[str, Any]]
    physical_records: int
    control_records: int
    rows: int
    fen: int | None
    hash: str

    @property
    def added_columns(self) -> list[str]:
        """Columns that came and are in no contract; a name that is no plain name is not repeated."""
        names = {str(name) for item in self.objects for name in item.get("unknown_columns", [])}
        return sorted({name if _PLAIN_NAME.fullmatch(name) else "(no plain name)" for name in names})


@dataclass(slots=True)
class SealedStream:
    """One pass over a sealed stream. `reader` first, to its end; then `proven`."""

    contract: Contract
    batch: PulledBatch
    outer_key: bytes = field(repr=False)
    trailer: Trailer | None = None
    failure: BaseException | None = None
    _arrived: dict[int, Arrived] = field(default_factory=dict)
    _hash: Any = field(default_factory=hashlib.sha256)

    def reader(self, stream: BinaryIO) -> pa.RecordBatchReader:
        """The agreed columns with the outer key on every token, key and hash (as UUIDs), batch by batch.

        What goes wrong while DuckDB reads is kept in `failure`: the engine would turn it into text.
        """
        try:
            pipe: Any = stream
            source = pa.ipc.open_stream(pipe)
        except (pa.ArrowException, OSError):
            source = None
        if source is None:
            raise self._refused("the sealed stream did not begin")
        agreed = self.contract.sealed_schema()
        missing = [name for name in agreed.names if source.schema.names.count(name) != 1]
        other = [f.name for f in agreed if f.name not in missing and source.schema.field(f.name).type != f.type]
        if missing or other:
            raise self._refused(f"column {[*missing, *other][0]} is not as agreed")
        shape = pa.schema([(f.name, pa.uuid() if _is_block(f) else f.type) for f in agreed])
        return pa.RecordBatchReader.from_batches(shape, self._guarded(source, shape))

    def proven(self) -> Trailer:
        """The trailer, once all of it holds. Raises Refused, TotalsDiffer, or what failed while reading."""
        if self.failure is not None:
            raise self.failure
        trailer = self.trailer
        if trailer is None:
            raise self._refused("the sealed stream ended without its trailer")
        if (trailer.batch_id, trailer.feed) != (self.batch.batch_id, self.batch.feed):
            raise self._refused("the sealed stream is another batch's")
        addresses = [(item["object_no"], item["address"]) for item in trailer.objects]
        if addresses != list(enumerate(item.address for item in self.batch.objects)):
            raise self._refused("the sealed stream holds other objects than were pulled")
        arrived = [self._arrived.get(number, Arrived()) for number in range(len(addresses))]
        self._prove_counts(trailer, arrived)
        self._prove_declared(trailer, arrived)
        return trailer

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self._arrived.values())

    @property
    def fen(self) -> int:
        """Sum of the amounts that could be read, counted from their text."""
        return sum(one.fen for one in self._arrived.values())

    @property
    def fen_unread(self) -> int:
        return sum(one.unread for one in self._arrived.values())

    # --- reading ------------------------------------------------------------------------------------------

    def _guarded(self, source: pa.RecordBatchReader, shape: pa.Schema) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._batches(source, shape)
        except BaseException as error:
            self.failure = error if not isinstance(error, pa.ArrowException | OSError) else None
            if self.failure is None:
                self.failure = self._refused("the sealed stream was cut")
        if self.failure is not None:
            raise self.failure from None

    def _batches(self, source: pa.RecordBatchReader, shape: pa.Schema) -> Iterator[pa.RecordBatch]:
        while True:
            try:
                batch, metadata = source.read_next_batch_with_custom_metadata()
            except StopIteration:
                return
            if self.trailer is not None:
                raise self._refused("the sealed stream goes on after its trailer")
            if metadata is not None and TRAILER in metadata:
                self.trailer = self._read_trailer(metadata[TRAILER])
            if batch.num_rows:
                self._count(batch)
                yield pa.record_batch([self._outer(batch.column(f.name), f) for f in shape], schema=shape)

    def _outer(self, column: Any, shaped: Any) -> Any:
        if shaped.type != pa.uuid():
            return column
        null = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
        return to_uuid(to_arrow(encrypt_blocks(self.outer_key, from_arrow(column)), null))

    def _read_trailer(self, text: bytes) -> Trailer:
        try:
            told = json.loads(text)
            return Trailer(**{name: told[name] for name in Trailer.__slots__})
        except (ValueError, KeyError, TypeError):
            raise self._refused("the sealed stream's trailer cannot be read") from None

    def _count(self, batch: pa.RecordBatch) -> None:
        """Rows and fen by object, and the hash: of the sealer's bytes, before the outer key."""
        self._hash.update(from_arrow(batch.column("record_hash")).tobytes())
        numbers = batch.column("object_no").to_numpy(zero_copy_only=False)
        fen, unread = self._amounts(batch)
        for number in np.unique(numbers):
            here, one = numbers == number, self._arrived.setdefault(int(number), Arrived())
            one.rows += int(here.sum())
            one.fen += sum(int(amount) for amount in _sums(fen[here]))
            one.unread += int(unread[here].sum())

    def _amounts(self, batch: pa.RecordBatch) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Each row's amount (0 where there is none), and whether there is one that cannot be read."""
        if self.contract.money_field is None:
            return np.zeros(batch.num_rows, np.int64), np.zeros(batch.num_rows, bool)
        text: Any = batch.column(self.contract.money_field)
        given: Any = pc.fill_null(pc.not_equal(text, pa.scalar("")), False)
        whole: Any = pc.fill_null(pc.match_substring_regex(text, _WHOLE_NUMBER), False)
        digits: Any = pc.if_else(whole, text, "0")
        plain = pc.utf8_ltrim(digits, characters="+")
        amounts = pc.cast(plain, pa.int64()).to_numpy(zero_copy_only=False)
        unreadable: Any = pc.or_(pc.and_(given, pc.invert(whole)), batch.column("parse_error").is_valid())
        return amounts, unreadable.to_numpy(zero_copy_only=False)

    # --- proving ------------------------------------------------------------------------------------------

    def _prove_counts(self, trailer: Trailer, arrived: list[Arrived]) -> None:
        """The sealer's numbers are ours, and physical = rows + control in every object."""
        if trailer.hash != self._hash.hexdigest():
            raise self._refused("the records that came are not those that were sealed")
        for item, here in zip(trailer.objects, arrived, strict=True):
            if item["rows"] != here.rows or item["physical_records"] != here.rows + item["control_records"]:
                raise self._refused(f"object {item['object_no']}: a record is missing or came twice")
        sums = {
            name: sum(item[name] for item in trailer.objects) for name in ("physical_records", "control_records")
        }
        if trailer.rows != self.rows or any(getattr(trailer, name) != value for name, value in sums.items()):
            raise self._refused("the sealed stream's totals do not add up")
        if self._arrived.keys() - set(range(len(arrived))):
            raise self._refused("the sealed stream holds an object that was not asked for")
        if trailer.fen is not None and (self.fen_unread or trailer.fen != self.fen):
            raise self._refused("the sealer's sum of the amounts is not the landing's")

    def _prove_declared(self, trailer: Trailer, arrived: list[Arrived]) -> None:
        """What the sender declared, at the source or in the object itself, is what came."""
        for pulled, item, here in zip(self.batch.objects, trailer.objects, arrived, strict=True):
            for records in (pulled.declared_records, item.get("declared_records")):
                if records not in (None, here.rows):
                    raise self._differs(pulled.source_name, f"{records} records declared, {here.rows} came")
            for fen in (pulled.declared_fen, item.get("declared_fen")):
                if fen not in (None, here.fen) and not here.unread:
                    raise self._differs(pulled.source_name, f"{fen} fen declared, {here.fen} came")

    def _refused(self, why: str) -> Refused:
        return Refused(
            f"{self.batch.feed} {self.batch.business_date}: nothing landed",
            where=f"batch {self.batch.batch_id}",
            why=why,
            do=f"sanche land {self.batch.feed} --date {self.batch.business_date}; see what the sealer says",
        )

    def _differs(self, source_name: str, why: str) -> TotalsDiffer:
        return TotalsDiffer(
            f"{self.batch.feed} {self.batch.business_date}: nothing landed, other feeds go on",
            where=f"batch {self.batch.batch_id}, {source_name}",
            why=why,
            do="ask the agency for the file or page again, then pull and land",
        )


def _is_block(column: Any) -> bool:
    return bool(column.type == pa.binary(16))


def _sums(amounts: np.ndarray[Any, Any], step: int = 8) -> Iterator[int]:
    """Sums of few enough amounts not to overflow: 18 digits each, 9.2 of them fit."""
    if len(amounts) and np.abs(amounts).max() < 2**63 // max(len(amounts), 1):
        yield int(amounts.sum())
        return
    for start in range(0, len(amounts), step):
        yield int(amounts[start : start + step].sum())
