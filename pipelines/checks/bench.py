"""Hold one sealed batch against its contract: every row gets exactly one fate, with all its reasons.

Promises: accepted + quarantined + duplicates = rows, disjoint, and so for every fen; nothing a cell, a name or a
          rule says can reach a file, the network or the session's settings.
Refuses:  a stream that is not the contract's sealed stream; contracts with references that nobody answered (Bug).
Not here: tokens' outer key, windows, commits (landing/); whether the batch is held (gate.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from pipelines.checks import fates
from pipelines.checks.connection import discard, locked
from pipelines.contracts.row_checks import quoted
from pipelines.contracts.shapes import field_columns
from pipelines.errors import Bug, ContractBroken

if TYPE_CHECKING:
    from pipelines.checks.gate import Gate
    from pipelines.contracts import Contract
    from pipelines.settings import Settings

ROWS_OUT = 65_536  # rows per Arrow batch handed to the landing


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows and fen by fate. fen: None = unprovable, since some row's amount could not be read."""

    rows: int
    accepted: int
    quarantined: int
    duplicates: int
    warned: int
    fen: int | None
    fen_accepted: int | None
    fen_quarantined: int | None
    fen_duplicates: int | None
    fen_unparsed: int
    broken: dict[str, int] = field(default_factory=dict)
    noted: dict[str, int] = field(default_factory=dict)


class Bench:
    """load, then mark_known and mark_reference, then scan; after that judge and the three readers.

    window_end: the instant at which the batch's window ends. first_load: a new feed's history, which may be empty.
    usual_rows: what the feed brings on a usual night, if known; then a batch that is far off is held.
    """

    def __init__(
        self,
        contract: Contract,
        settings: Settings,
        window_end: datetime,
        business_date: date,
        first_load: bool = False,
        usual_rows: int | None = None,
    ) -> None:
        if window_end.tzinfo is None:
            raise Bug("a window ends at an instant", why="the time has no zone", do="use calendar.Window.end")
        self.contract, self.business_date = contract, business_date
        self.window_end, self.first_load, self.usual_rows = window_end, first_load, usual_rows
        self._con, self._spill = locked(settings)
        self._con.execute(fates.CREATE_KNOWN)
        self._answered: set[str] = set()
        self._cursors: list[duckdb.DuckDBPyConnection] = []
        self._counts: Counts | None = None

    def __enter__(self) -> Bench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for cursor in self._cursors:
            cursor.close()
        discard(self._con, self._spill)

    # --- in

    def load(self, reader: pa.RecordBatchReader | pa.Table) -> int:
        """Type and judge the rows as they stream in; returns how many. Columns the contract lacks are left out."""
        stream = _Sealed(reader, self.contract)
        instant = self.window_end.isoformat()
        sql = self.contract.checks_sql("sealed", f"TIMESTAMPTZ '{instant}'")
        self._con.register("sealed", stream.reader())
        try:
            self._con.execute(f"CREATE OR REPLACE TABLE judged AS {sql}")
        except duckdb.BinderException:
            raise ContractBroken(
                f"{self.contract.feed}: a rule compares what cannot be compared",
                where=f"{self.contract.feed}.odcs.yaml: quality",
                why="the engine refuses the types of one of its expressions",
                do="compare like with like, or cast",
            ) from None
        except duckdb.Error as error:
            if stream.fault is not None:
                raise stream.fault from None
            raise _engine_failed("checking the rows", self.contract.feed, error) from None
        finally:
            self._con.unregister("sealed")
        self._counts = None
        return self._one("SELECT count(*) FROM judged")

    def keys(self) -> pa.Table:
        """Distinct record_key (uuid) of the rows that no row rule has broken: what the landing looks up."""
        return self._table("SELECT DISTINCT record_key FROM judged WHERE len(_reasons) = 0")

    def references(self, name: str) -> pa.Table:
        """Distinct token (uuid) that the field points at: what the landing looks up for mark_reference."""
        column = quoted(name + "_token")
        return self._table(f"SELECT DISTINCT {column} AS token FROM judged WHERE {column} IS NOT NULL")

    def mark_known(self, known: pa.Table | pa.RecordBatchReader) -> None:
        """Versions landed before for these keys: record_key, source_updated_at, record_hash, batch_id,
        object_address, row_no. Keys may be uuid, 16 bytes or text; versions of other keys do no harm."""
        self._take("known_arrow", known, fates.CREATE_KNOWN, fates.INSERT_KNOWN)

    def mark_reference(self, name: str, known_keys: pa.Table | pa.RecordBatchReader) -> None:
        """Tokens of the referenced field that are landed already: the table's first column."""
        reference = self.contract.by_name.get(name)
        if reference is None or reference.references is None:
            raise Bug(f"{self.contract.feed}.{name} references nothing", do="see Contract.reference_fields")
        table, column = fates.known_table(reference), quoted(known_keys.schema.names[0])
        self._take(
            "known_arrow",
            known_keys,
            f"CREATE OR REPLACE TABLE {table} (token UUID)",
            f"INSERT INTO {table} SELECT DISTINCT CAST({column} AS UUID) FROM known_arrow\n"
            f"WHERE {column} IS NOT NULL",
        )
        self._answered.add(name)

    def scan(self) -> Counts:
        """Settle every row's fate and count. Raises Bug if a reference was not answered (mark_reference)."""
        for missing in (f.name for f in self.contract.reference_fields if f.name not in self._answered):
            raise Bug(
                f"{self.contract.feed}.{missing}: nobody said which referenced records exist",
                why="a reference that is not looked up would pass or fail for everybody",
                do="call mark_reference before scan, with an empty table if nothing is landed yet",
            )
        self._run(f"CREATE OR REPLACE TABLE unreferenced AS {fates.unreferenced_sql(self.contract)}")
        self._run(fates.CONTESTED)
        self._run(fates.FATES)
        self._counts = self._count()
        return self._counts

    # --- out

    def accepted(self) -> pa.RecordBatchReader:
        """Rows to land: the contract's columns, source_updated_at, op, object_no, row_no, record_key, record_hash,
        warnings. Tokens, key and hash are uuid."""
        columns = ", ".join(f"j.{quoted(name)}" for name, _ in field_columns(self.contract))
        return self._reader(
            f"SELECT {columns}, j.source_updated_at, j.op, j.object_no, j.row_no, j.record_key, j.record_hash,\n"
            "  j._warnings AS warnings\nFROM judged j\n"
            "ANTI JOIN contested c ON c.object_no = j.object_no AND c.row_no = j.row_no\n"
            "ANTI JOIN unreferenced u ON u.object_no = j.object_no AND u.row_no = j.row_no\n"
            "WHERE len(j._reasons) = 0"
        )

    def quarantined(self) -> pa.RecordBatchReader:
        """object_no, row_no, record_key, reasons (all of them), money_fen (NULL = unreadable or none)."""
        return self._reader(
            "SELECT object_no, row_no, record_key, reasons, _money_fen AS money_fen FROM fates\n"
            "WHERE fate = 'quarantined'"
        )

    def duplicates(self) -> pa.RecordBatchReader:
        """object_no, row_no, record_key, and the original: original_batch_id and original_object_address for a
        landed one, NULL and original_object_no for one in this batch; original_row_no; money_fen."""
        return self._reader(
            "SELECT object_no, row_no, record_key, original_batch_id, original_object_address,\n"
            "  original_object_no, original_row_no, _money_fen AS money_fen FROM fates WHERE fate = 'duplicate'"
        )

    def verdict_counts(self) -> dict[str, int]:
        """Rows that break each rule, warnings too; rules that nobody breaks are left out."""
        counts = self.counts
        return dict(sorted((counts.broken | counts.noted).items()))

    @property
    def counts(self) -> Counts:
        if self._counts is None:
            raise Bug("the batch was not scanned", do="call scan first")
        return self._counts

    def judge(self, gx: bool = True) -> Gate:
        """Whether the batch is held. gx=False asks plain SQL, not Great Expectations: same answer, no docs."""
        from pipelines.checks.gate import judge

        return judge(self, self._con, gx=gx)

    # --- within

    def _count(self) -> Counts:
        rows = {fate: rest for fate, *rest in self._all(fates.COUNTS)}
        unread = sum(r[2] for r in rows.values())
        fen = {fate: None if unproved else int(total) for fate, (_, total, unproved, _) in rows.items()}
        return Counts(
            rows=sum(r[0] for r in rows.values()),
            accepted=rows.get("accepted", [0])[0],
            quarantined=rows.get("quarantined", [0])[0],
            duplicates=rows.get("duplicate", [0])[0],
            warned=rows["accepted"][3] if "accepted" in rows else 0,
            fen=None if unread else sum(int(r[1]) for r in rows.values()),
            fen_accepted=fen.get("accepted", 0),
            fen_quarantined=fen.get("quarantined", 0),
            fen_duplicates=fen.get("duplicate", 0),
            fen_unparsed=unread,
            broken=self._listed("reasons"),
            noted=self._listed("_warnings"),
        )

    def _listed(self, column: str) -> dict[str, int]:
        sql = (
            f"SELECT rule, count(*) FROM (SELECT unnest({column}) AS rule FROM fates WHERE len({column}) > 0)\n"
            "GROUP BY rule ORDER BY rule"
        )
        return {str(rule): int(count) for rule, count in self._all(sql)}

    def _take(self, name: str, arrow: pa.Table | pa.RecordBatchReader, create: str, insert: str) -> None:
        table = arrow.read_all() if isinstance(arrow, pa.RecordBatchReader) else arrow
        self._con.register(name, pa.table([_as_uuid(c) for c in table.columns], names=table.schema.names))
        try:
            self._run(create)
            self._run(insert)
        finally:
            self._con.unregister(name)
        self._counts = None

    def _run(self, sql: str, on: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyConnection:
        try:
            return (on or self._con).execute(sql)
        except duckdb.Error as error:
            raise _engine_failed("settling fates", self.contract.feed, error) from None

    def _all(self, sql: str) -> list[tuple[Any, ...]]:
        return self._run(sql).fetchall()

    def _one(self, sql: str) -> int:
        return int(self._all(sql)[0][0])

    def _table(self, sql: str) -> pa.Table:
        return self._run(sql).to_arrow_table()

    def _reader(self, sql: str) -> pa.RecordBatchReader:
        if self._counts is None:
            raise Bug("the batch was not scanned", do="call scan first")
        # A cursor each: a second query on one connection would empty the first reader without a word.
        cursor = self._con.cursor()
        self._cursors.append(cursor)
        return _plain(self._run(sql, cursor).to_arrow_reader(ROWS_OUT))


def _engine_failed(doing: str, feed: str, error: duckdb.Error) -> Bug:
    # The engine's text quotes cells (STYLE 11): only the kind of the failure is told.
    return Bug(
        f"{feed}: the engine failed while {doing}",
        why=type(error).__name__ + " (text withheld)",
        do="OutOfMemoryException: raise SANCHE_MEMORY_LIMIT; else report it with `sanche doctor`",
    )


def _as_uuid(column: Any) -> Any:
    """16 bytes relabelled as a UUID, big-endian; nothing is copied."""
    if column.type != pa.binary(16):
        return column
    if isinstance(column, pa.ChunkedArray):
        chunks = [pa.ExtensionArray.from_storage(pa.uuid(), chunk) for chunk in column.chunks]
        return pa.chunked_array(chunks, pa.uuid())  # type: ignore[call-overload]
    return pa.ExtensionArray.from_storage(pa.uuid(), column)


def _plain(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """Booleans as one bit and lists as everybody names them; keeping UUIDs whole makes DuckDB spell both oddly."""
    kinds = [_PLAIN.get(str(f.type), f.type) for f in reader.schema]
    schema = pa.schema([pa.field(f.name, kind) for f, kind in zip(reader.schema, kinds, strict=True)])

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            columns = [_fitted(column, kind) for column, kind in zip(batch.columns, kinds, strict=True)]
            yield pa.record_batch(columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


_PLAIN: dict[str, pa.DataType] = {
    "extension<arrow.bool8>": pa.bool_(),
    "list<l: string>": pa.list_(pa.string()),
}


class _Sealed:
    """The contract's columns of a sealed stream, picked by name. Keeps the reader's own error for the caller."""

    def __init__(self, source: pa.RecordBatchReader | pa.Table, contract: Contract) -> None:
        self._source = source.to_reader() if isinstance(source, pa.Table) else source
        self._agreed = contract.sealed_schema()
        self.fault: BaseException | None = None
        names = self._source.schema.names
        for name in self._agreed.names:
            if names.count(name) != 1:
                raise Bug(
                    f"{contract.feed}: the sealed stream is not the contract's",
                    where=name,
                    why=f"the column is there {names.count(name)} times",
                    do="sealer and landing must read the same schemas/ folder",
                )

    def reader(self) -> pa.RecordBatchReader:
        fields = [pa.field(f.name, pa.uuid() if f.type == pa.binary(16) else f.type) for f in self._agreed]
        return pa.RecordBatchReader.from_batches(pa.schema(fields), self._batches(pa.schema(fields)))

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._source:
                columns = [_fitted(batch.column(f.name), f.type) for f in self._agreed]
                yield pa.record_batch([_as_uuid(c) for c in columns], schema=schema)
        except BaseException as fault:
            self.fault = fault
            raise


def _fitted(column: Any, kind: pa.DataType) -> Any:
    if column.type == kind:
        return column
    if isinstance(column, pa.ExtensionArray) and column.type.storage_type == kind:
        return column.storage
    return (column.storage if isinstance(column, pa.ExtensionArray) else column).cast(kind)
