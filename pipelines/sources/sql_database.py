"""A social-insurance window from PostgreSQL, as Arrow, in one snapshot.

Promises: all of a window is read in one repeatable-read, read-only transaction, ordered by (updated_at, key),
          cut into objects of OBJECT_ROWS; the database itself counts and sums each object in the same snapshot;
          the same rows give the same bytes.
Refuses:  columns that the contract does not name (they are not asked for), plain connections to other machines.
Not here: reading a value; the Arrow bytes go to the vault.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

import adbc_driver_postgresql.dbapi as postgres
import pyarrow as pa

from pipelines.errors import Refused, SancheError, SourceBroken, SourceBusy, TotalsDiffer
from pipelines.sources.window_request import SourceObject, Totals, WindowRequest

OBJECT_ROWS = 200_000  # some 30 MB of Arrow: one object in memory at a time
BATCH_ROWS = 50_000
STATEMENT_TIMEOUT_S = 1800  # a first load of 13 months; the nightly window takes seconds
CONNECT_TIMEOUT_S = 10
_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_TRANSIENT = ("08", "53", "55", "57")  # connection, resources, in use, shut down or cancelled
_CREDENTIAL = ("28",)


class SqlDatabase:
    """One feed's window of a database table."""

    may_resend = False

    def __init__(self, request: WindowRequest) -> None:
        self._request = request
        self._connection = request.connection
        self.totals = Totals()
        self._columns = [field.name for field in request.contract.fields]
        self._table = self._quoted_table(request.contract.source.path)

    def objects(self) -> Iterator[SourceObject]:
        """The window's rows as Arrow streams. Raises SourceBusy, SourceBroken, TotalsDiffer, Refused."""
        with self._door(), self._snapshot() as cursor:
            declared = self._declared(cursor)
            cursor.execute(self._select(), self._window())
            number = 0
            for number, rows in enumerate(_cut(cursor.fetch_record_batch()), start=1):
                records, fen = declared.get(number, (0, None))
                if rows.num_rows != records:
                    self._totals_differ(number, rows.num_rows, records)
                yield SourceObject(_arrow_bytes(rows), f"part {number}", records, fen)
            if number < len(declared):
                self._totals_differ(number + 1, 0, declared[number + 1][0])
        self.totals.declared_records = sum(records for records, _ in declared.values())
        if self._request.contract.money_field:
            self.totals.declared_fen = sum(fen or 0 for _, fen in declared.values())

    # --- SQL (names come from the contract, are checked and quoted; values are parameters) ---------------

    def _order(self) -> str:
        # Keys as bytes ("C"): the database's own collation may change with its operating system.
        keys = ", ".join(f'"{_plain(name)}"::text collate "C"' for name in self._request.contract.key)
        return f"order by updated_at, {keys}, op"

    def _select(self) -> str:
        columns = ", ".join(f'"{_plain(name)}"' for name in self._columns)
        return f"select {columns} from {self._table} where {_WITHIN} {self._order()}"

    def _declared(self, cursor: Any) -> dict[int, tuple[int, int | None]]:
        """Object number -> (records, fen), counted by the database."""
        money = self._request.contract.money_field
        fen = f'sum("{_plain(money)}")::bigint' if money else "null::bigint"
        value = f', "{_plain(money)}"' if money else ""
        cursor.execute(
            f"select part, count(*), {fen} from (select (row_number() over ({self._order()}) - 1) / {OBJECT_ROWS} "
            f"+ 1 as part{value} from {self._table} where {_WITHIN}) numbered group by part order by part",
            self._window(),
        )
        counted: dict[int, tuple[int, int | None]] = {}
        for part, records, total in cursor.fetchall():
            counted[int(part)] = (int(records), None if money is None else int(total or 0))
        return counted or {1: (0, None if money is None else 0)}

    def _window(self) -> tuple[Any, Any]:
        return self._request.window.start, self._request.window.end

    def _quoted_table(self, path: str) -> str:
        schema, _, table = path.partition(".")
        return f'"{_plain(schema)}"."{_plain(table)}"'

    # --- the connection -----------------------------------------------------------------------------------

    @contextmanager
    def _snapshot(self) -> Iterator[Any]:
        with self._connected() as connection, connection.cursor() as cursor:
            # ADBC has begun a transaction; these must be its first statements.
            cursor.execute("set transaction isolation level repeatable read, read only")
            cursor.execute(f"set local statement_timeout = '{STATEMENT_TIMEOUT_S}s'")
            cursor.execute("set local lock_timeout = '10s'")
            yield cursor
            cursor.execute("rollback")

    def _connected(self) -> Any:
        """A connection, tried as often as the settings say."""
        for attempt in range(1, self._request.settings.source_attempts + 1):
            try:
                return postgres.connect(self._uri())
            except postgres.Error as error:
                if self._is_for_good(error) or attempt == self._request.settings.source_attempts:
                    raise
                time.sleep(min(0.5 * 2.0 ** (attempt - 1), 30.0))
        raise SourceBusy(f"{self._connection.conn_id} was not tried")

    def _uri(self) -> str:
        extra = self._connection.extra
        mode = str(extra.get("sslmode", "prefer" if self._connection.is_loopback else "verify-full"))
        if not self._connection.is_loopback and mode != "verify-full":
            raise Refused(
                f"{self._connection.conn_id} would be asked without a checked certificate",
                where=self._request.where,
                do='remove "sslmode" from its extra in connections.json: verify-full is the default',
            )
        options = {"sslmode": mode, "connect_timeout": str(CONNECT_TIMEOUT_S), "application_name": "sanche"}
        if "sslrootcert" in extra:
            options["sslrootcert"] = str(extra["sslrootcert"])
        login, password = quote(self._connection.login, safe=""), quote(self._connection.password, safe="")
        database = quote(str(extra.get("database", "postgres")), safe="")
        place = f"{self._connection.host}:{self._connection.port}"
        return f"postgresql://{login}:{password}@{place}/{database}?{urlencode(options)}"

    # --- errors -------------------------------------------------------------------------------------------

    @contextmanager
    def _door(self) -> Iterator[None]:
        """The driver's texts quote addresses and values: only the kind of the error passes."""
        try:
            yield
        except SancheError:
            raise
        except (postgres.Error, pa.ArrowException, OSError) as error:
            ours = self._ours(error)
        else:
            return
        raise ours from None

    def _is_for_good(self, error: Exception) -> bool:
        return _credential_refused(error) or (_state(error) != "" and not _state(error).startswith(_TRANSIENT))

    def _ours(self, error: Exception) -> SancheError:
        state, conn_id = _state(error), self._connection.conn_id
        if _credential_refused(error):
            return Refused(
                f"{conn_id} does not accept our credential",
                where=self._request.where,
                do=f"check login and password of {conn_id} in connections.json with the agency",
            )
        if state and not state.startswith(_TRANSIENT):
            return SourceBroken(
                f"{conn_id} did not answer as agreed",
                where=self._request.where,
                why=f"SQLSTATE {state} {_STATES.get(state, '')}".strip(),
                do="nothing was recorded; ask the agency what changed in its tables",
            )
        return SourceBusy(
            f"{conn_id} does not answer",
            where=self._request.where,
            why=f"SQLSTATE {state}" if state else "no connection, or it broke",
            do="run it again later; nothing was recorded, the next window covers this one",
        )

    def _totals_differ(self, part: int, came: int, declared: int) -> NoReturn:
        raise TotalsDiffer(
            f"{self._connection.conn_id} did not send what it counted",
            where=f"{self._request.where}, part {part}",
            why=f"{came} rows came, {declared} were counted in the same snapshot",
            do="nothing was recorded; run it again, and if it stays so tell the agency",
        )


_WITHIN = "updated_at >= $1 and updated_at < $2"
_STATES = {
    "42P01": "(no such table)",
    "42703": "(a column of the contract is not there)",
    "42501": "(we may not read it)",
    "3D000": "(no such database)",
    "22003": "(a sum beyond 64 bits)",
}


def _plain(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise SourceBroken("a name in the contract is no plain SQL name", where=name[:60])
    return name


def _state(error: Exception) -> str:
    return str(getattr(error, "sqlstate", None) or "").strip("\0")


def _credential_refused(error: Exception) -> bool:
    # While connecting libpq gives no SQLSTATE, only a text; it is looked at, never shown.
    return _state(error).startswith(_CREDENTIAL) or "authentication failed" in str(error)


def _cut(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Tables of OBJECT_ROWS (the last one shorter; one empty table if there is no row at all)."""
    schema = reader.schema.remove_metadata()
    schema = pa.schema([field.remove_metadata() for field in schema])
    waiting: list[pa.RecordBatch] = []
    rows, any_came = 0, False
    for batch in reader:
        taken = 0
        while batch.num_rows - taken:
            part = batch.slice(taken, min(OBJECT_ROWS - rows, batch.num_rows - taken))
            taken, rows = taken + part.num_rows, rows + part.num_rows
            waiting.append(pa.record_batch(part.columns, schema=schema))
            if rows == OBJECT_ROWS:
                yield pa.Table.from_batches(waiting, schema)
                waiting, rows, any_came = [], 0, True
    if rows or not any_came:
        yield pa.Table.from_batches(waiting, schema)


def _arrow_bytes(table: pa.Table) -> bytes:
    """An Arrow stream whose bytes depend on the rows alone, not on how they came over the wire."""
    sink = io.BytesIO()
    whole = table.combine_chunks()
    with pa.ipc.new_stream(sink, whole.schema) as stream:
        stream.write_table(whole, max_chunksize=BATCH_ROWS)
    return sink.getvalue()
