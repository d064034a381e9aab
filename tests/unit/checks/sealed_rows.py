"""Sealed batches drawn row by row: a good record, and what a test changes in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from pipelines.contracts import Contract

BUSINESS_DATE = date(2026, 8, 19)
WINDOW_END = datetime(2026, 8, 19, 16, tzinfo=UTC)  # midnight in Shanghai

Row = Mapping[str, Any]

ORDER: Row = {
    "platform_code": "ride01",
    "segment_no": "0000",
    "sector": "trip",
    "region_code": "430102",
    "created_at": "2026-08-19T10:00:00+08:00",
    "accepted_at": "2026-08-19T10:01:00+08:00",
    "picked_at": "2026-08-19T10:05:00+08:00",
    "completed_at": "2026-08-19T10:25:00+08:00",
    "status": "completed",
    "task_count": "1",
    "distance_m": "6000",
    "duration_s": "1200",
    "customer_paid_fen": "1850",
    "cash_fen": "0",
    "electronic_fen": "1850",
    "pay_state": "1",
    "occ_injury_covered": "true",
    "op": "I",
    "updated_at": "2026-08-19T10:30:00+08:00",
}
LINE: Row = {
    "platform_code": "ride01",
    "line_type": "base_pay",
    "amount_fen": "1500",
    "service_date": "2026-08-19",
    "booked_at": "2026-08-19T11:00:00+08:00",
    "op": "I",
    "updated_at": "2026-08-19T11:00:00+08:00",
}


NOBODY = pa.table({"token": pa.array([], pa.binary(16))})


def block(text: str) -> bytes:
    """Sixteen bytes that stand for a token."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def sealed(contract: Contract, rows: Iterable[Row], good: Row = ORDER) -> pa.Table:
    """The sealed stream of some records.

    A row is what differs from `good`. `key` names the record (default: its place), `hash` its content (default:
    all of it). An identifier is given as text and becomes a token with verdict ok, or with `<field>_verdict`.
    """
    made = [_sealed_row(contract, number, {**good, **row}) for number, row in enumerate(rows, start=1)]
    return pa.Table.from_pylist(made, schema=contract.sealed_schema())


def _sealed_row(contract: Contract, number: int, row: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "object_no": row.get("object_no", 0),
        "row_no": row.get("row_no", number),
        "parse_error": row.get("parse_error"),
        "record_key": block("key" + str(row.get("key", number))),
        "record_hash": block("hash" + str(row.get("hash", sorted((k, str(v)) for k, v in row.items())))),
    }
    for f in contract.fields:
        if f.identifier is not None:
            value = row.get(f.name, f"{f.name} of {number}" if f.required else None)
            verdict = row.get(f.name + "_verdict", "ok" if value is not None else None)
            made[f.name + "_verdict"] = verdict
            made[f.name + "_token"] = block((f.namespace or f.identifier) + value) if value is not None else None
            for derived in ("_birth_date", "_gender", "_region"):
                made[f.name + derived] = row.get(f.name + derived)
        elif f.sealed_to is not None:
            made[f.name + "_sealed"] = row.get(f.name)
        else:
            made[f.name] = row.get(f.name)
    if row.get("parse_error") is not None:
        kept = ("object_no", "row_no", "parse_error", "record_key", "record_hash")
        made = {name: made[name] for name in kept}
    return made
