"""One judged batch into the lake: landed, quarantined, duplicates, its counts, its window, its ledger entry.

Promises: one commit; a record's pointers lead back to its object and its place in it; what the ledger says are the
          counts that the engine wrote, compared with what the checks counted.
Refuses:  a batch that landed meanwhile, or whose feed landed anything since it was checked (Transient): what was
          known of its records then may not be all.
Not here: judging (checks/), the chain (ledger/).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import rfc8785

from pipelines import ledger
from pipelines.checks import Bench, Gate
from pipelines.contracts import Contract
from pipelines.contracts.shapes import landed_columns
from pipelines.errors import Bug, Transient
from pipelines.lake import Commit, Lake
from pipelines.landing.batch import PulledBatch, windows_landed
from pipelines.landing.sealed_stream import Trailer

# What the landing adds to the contract's own columns. A first load's history is known only by the records' own
# clocks, never later than the night that brought it.
ADDED = {
    "batch_id": "$batch_id",
    "object_address": "list_extract($addresses, object_no + 1)",
    "known_on": "$business_date",
    "known_assumed": "false",
}
FIRST_KNOWN_ON = "least(cast(timezone('Asia/Shanghai', source_updated_at) as date), $business_date)"

QUARANTINE = """
insert into quarantine.record (batch_id, feed, business_date, object_address, row_no, record_key, reasons,
       money_fen)
select $batch_id, $feed, $business_date, list_extract($addresses, object_no + 1), row_no, record_key, reasons,
       money_fen
from incoming
"""
DUPLICATES = """
insert into quarantine.duplicate (batch_id, feed, business_date, object_address, row_no, record_key,
       original_batch_id, original_object_address, original_row_no, money_fen)
select $batch_id, $feed, $business_date, list_extract($addresses, object_no + 1), row_no, record_key,
       coalesce(original_batch_id, $batch_id),
       coalesce(original_object_address, list_extract($addresses, original_object_no + 1)), original_row_no,
       money_fen
from incoming
"""
MOST_FEN = 2**63 - 1  # what control.batch holds; only hostile amounts add up to more (nine trillion times a yuan)
BATCH_COLUMNS = (
    "batch_id", "feed", "feed_version", "business_date", "window_from", "window_to", "kind", "objects",
    "physical", "control_records", "landed", "quarantined", "duplicates", "not_kept",
    "fen_declared", "fen_landed", "fen_quarantined", "fen_duplicates", "fen_provable", "fate", "gate",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Judged:
    """A batch that was read to its end and scanned."""

    batch: PulledBatch
    contract: Contract
    trailer: Trailer
    bench: Bench
    gate: Gate
    fen_read: int
    windows_seen: int

    @property
    def is_provable(self) -> bool:
        """Whether every amount could be read, by the sealer and by the checks."""
        if self.contract.money_field is None:
            return True
        return (
            self.trailer.fen is not None and not self.bench.counts.fen_unparsed and abs(self.fen_read) <= MOST_FEN
        )

    @property
    def fen_declared(self) -> int | None:
        """What the sender declared; where he declared nothing, what the sealer counted."""
        if self.contract.money_field is None:
            return None
        declared: list[int | None] = [item.get("declared_fen") for item in self.trailer.objects]
        given = [fen for fen in declared if fen is not None]
        return sum(given) if given and len(given) == len(declared) else self.trailer.fen


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch, in rows and fen."""

    landed: int = 0
    quarantined: int = 0
    duplicates: int = 0
    fen_landed: int = 0
    fen_quarantined: int = 0
    fen_duplicates: int = 0


def write_held(lake: Lake, judged: Judged) -> None:
    """Only that the batch was held, and why; none of its records."""
    batch = judged.batch
    with lake.commit(step="land", business_date=batch.business_date) as commit:
        _still_alone(lake, judged)
        _batch_row(commit, judged, Written(), fate="held")
        _say(commit, judged, Written(), kind="held", files_sha256=None)


def write_landed(lake: Lake, judged: Judged) -> Written:
    """Every record of the batch, each with its one fate."""
    batch, contract = judged.batch, judged.contract
    with lake.commit(step="land", business_date=batch.business_date) as commit:
        _still_alone(lake, judged)
        _shape_table(lake, commit, contract)
        written = _write_rows(commit, judged)
        _prove(judged, written)
        tables = (f"landed.{contract.feed}", "quarantine.record", "quarantine.duplicate")
        tracked = [file for table in tables for file in commit.track(table, batch.batch_id)]
        _batch_row(commit, judged, written, fate="landed")
        commit.execute(
            "insert into control.window values (?, ?, ?, ?, ?, 'landed')",
            [batch.feed, batch.window.from_date, batch.window.to_date, batch.batch_id, batch.business_date],
        )
        listed = "".join(f"{file.path} {file.sha256}\n" for file in sorted(tracked, key=lambda file: file.path))
        _say(commit, judged, written, kind="landed", files_sha256=hashlib.sha256(listed.encode()).hexdigest())
    return written


def _still_alone(lake: Lake, judged: Judged) -> None:
    """Under the lock: a run that woke up after its successor finished is fenced off (A4)."""
    if windows_landed(lake, judged.batch.feed) != judged.windows_seen:
        raise Transient(
            f"{judged.batch.feed} {judged.batch.business_date}: another run landed this feed meanwhile",
            where=f"batch {judged.batch.batch_id}",
            why="what was known of its records when they were checked is not all any more",
            do="run it again; if the other run landed this date, nothing is left to do",
        )


def _shape_table(lake: Lake, commit: Commit, contract: Contract) -> None:
    """The feed's table, with the columns that a newer contract has added (NULL in older rows)."""
    table = f"landed.{contract.feed}"
    commit.execute(contract.landed_ddl(f"lake.{table}"))
    present = lake.columns(table)
    for name, kind in landed_columns(contract):
        if name not in present:
            commit.execute(f'alter table {table} add column "{name}" {kind}')


def _write_rows(commit: Commit, judged: Judged) -> Written:
    batch, bench = judged.batch, judged.bench
    ids: dict[str, Any] = {
        "batch_id": batch.batch_id,
        "business_date": batch.business_date,
        "addresses": [item.address for item in batch.objects],
    }
    landed = _Summing(bench.accepted(), judged.contract.money_field)
    rows = commit.insert_from(landed.reader(), _landed_sql(judged), ids)
    quarantined = _Summing(bench.quarantined(), "money_fen")
    bad = commit.insert_from(quarantined.reader(), QUARANTINE, ids | {"feed": batch.feed})
    duplicates = _Summing(bench.duplicates(), "money_fen")
    again = commit.insert_from(duplicates.reader(), DUPLICATES, ids | {"feed": batch.feed})
    return Written(rows, bad, again, landed.fen, quarantined.fen, duplicates.fen)


def _landed_sql(judged: Judged) -> str:
    added = ADDED | ({"known_on": FIRST_KNOWN_ON, "known_assumed": "true"} if judged.batch.is_first else {})
    names = [name for name, _ in landed_columns(judged.contract)]
    listed = ", ".join(f'"{name}"' for name in names)
    values = ", ".join(added.get(name, f'"{name}"') for name in names)
    return f"insert into landed.{judged.contract.feed} ({listed}) select {values} from incoming"


class _Summing:
    """Adds up one column of what passes through."""

    def __init__(self, source: pa.RecordBatchReader, column: str | None) -> None:
        self._source, self._column, self.fen = source, column, 0

    def reader(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(self._source.schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for batch in self._source:
            if self._column is not None:
                amounts = pc.cast(batch.column(self._column), pa.decimal128(38, 0))
                self.fen += int(pc.sum(amounts).as_py() or 0)
            yield batch


def _prove(judged: Judged, written: Written) -> None:
    """Before anything is committed: what was written is what was counted, and no fen is lost (S19)."""
    counts = judged.bench.counts
    rows = (written.landed, written.quarantined, written.duplicates)
    fen = written.fen_landed + written.fen_quarantined + written.fen_duplicates
    rows_match = rows == (counts.accepted, counts.quarantined, counts.duplicates)
    money_matches = fen == judged.fen_read or not judged.is_provable or judged.contract.money_field is None
    if rows_match and sum(rows) == judged.trailer.rows and money_matches:
        return
    raise Bug(
        f"{judged.batch.feed} {judged.batch.business_date}: nothing landed",
        where=f"batch {judged.batch.batch_id}",
        why=f"{judged.trailer.rows} records and {judged.fen_read} fen came; {sum(rows)} and {fen} were written",
        do="report it; the batch stays in the vault",
    )


def _batch_row(commit: Commit, judged: Judged, written: Written, *, fate: str) -> None:
    batch = judged.batch
    values = {
        "batch_id": batch.batch_id,
        "feed": batch.feed,
        "feed_version": judged.contract.version,
        "business_date": batch.business_date,
        "window_from": batch.window.from_date,
        "window_to": batch.window.to_date,
        "kind": batch.kind,
        "objects": len(batch.objects),
        **_counts(judged, written),
        **{f"fen_{name}": value for name, value in _fen(judged, written).items() if name != "field"},
        "fate": fate,
        "gate": rfc8785.dumps(_gate(judged)).decode(),
    }
    marks = ", ".join("?" for _ in BATCH_COLUMNS)
    commit.execute(
        f"insert into control.batch ({', '.join(BATCH_COLUMNS)}) values ({marks})",
        [values[name] for name in BATCH_COLUMNS],
    )


def _say(commit: Commit, judged: Judged, written: Written, *, kind: str, files_sha256: str | None) -> None:
    batch = judged.batch
    body: dict[str, Any] = {
        "batch_id": batch.batch_id,
        "kind": batch.kind,
        "window": [batch.window.from_date.isoformat(), batch.window.to_date.isoformat()],
        "feed_version": judged.contract.version,
        "contract_sha256": judged.contract.sha256,
        "objects": [item.address for item in batch.objects],
        "counts": _counts(judged, written),
        "fen": _fen(judged, written),
        "gate": _gate(judged),
    }
    if files_sha256 is not None:
        body["files_sha256"] = files_sha256
    stream = f"feed.{batch.feed}"
    ledger.append(commit, stream=stream, kind=kind, business_date=batch.business_date, body=body)


def _counts(judged: Judged, written: Written) -> dict[str, int]:
    return {
        "physical": judged.trailer.physical_records,
        "control_records": judged.trailer.control_records,
        "landed": written.landed,
        "quarantined": written.quarantined,
        "duplicates": written.duplicates,
        "not_kept": 0,
    }


def _fen(judged: Judged, written: Written) -> dict[str, Any]:
    sums = {
        "declared": judged.fen_declared,
        "landed": written.fen_landed,
        "quarantined": written.fen_quarantined,
        "duplicates": written.fen_duplicates,
    }
    has_money = judged.contract.money_field is not None
    said = {name: fen if has_money and abs(fen or 0) <= MOST_FEN else None for name, fen in sums.items()}
    return {"field": judged.contract.money_field, **said, "provable": judged.is_provable}


def _gate(judged: Judged) -> dict[str, Any]:
    told = dict(judged.gate.results) | {"contract_sha256": judged.contract.sha256}
    added = judged.trailer.added_columns
    return told | ({"added_columns": added} if added else {})
