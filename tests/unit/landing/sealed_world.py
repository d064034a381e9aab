"""A sealer's stand-in: earning lines drawn as a table become the Arrow stream that the real sealer would write."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any, BinaryIO

import pyarrow as pa

from pipelines.contracts import Contract
from pipelines.errors import SancheError
from pipelines.lake import Lake
from pipelines.landing import land
from pipelines.receipt import Receipt
from pipelines.settings import Settings

FEED = "platform_earning_line"
NIGHT = date(2026, 8, 20)
CONTRACT = Contract.load(Settings().schemas / "feeds" / f"{FEED}.odcs.yaml")
OUTER_KEY = bytes(range(32))
KEYRING: Any = SimpleNamespace(key=lambda purpose: SimpleNamespace(material=OUTER_KEY))


def token(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()[:16]


@dataclass(frozen=True)
class Line:
    """One physical record. number: of the ledger line, its key; fen: text, as the source wrote it."""

    number: str
    fen: str | None = "100"
    updated: str = "2026-08-20T10:00:00+08:00"
    reverses: str | None = None
    op: str = "I"
    line_type: str = "base_pay"
    memo: str | None = None
    parse_error: str | None = None


def columns_of(line: Line) -> dict[str, Any]:
    told: dict[str, Any] = {
        "parse_error": line.parse_error,
        "record_key": token("key", line.number),
        "record_hash": token("hash", line),
    }
    if line.parse_error:
        return told
    return told | {
        "platform_code": "food01",
        "line_id_token": token("line", line.number),
        "line_id_verdict": "ok",
        "platform_worker_id_token": token("worker", line.number[0]),
        "platform_worker_id_verdict": "ok",
        "line_type": line.line_type,
        "amount_fen": line.fen,
        "service_date": "2026-08-19",
        "booked_at": line.updated,
        "reverses_line_id_token": token("line", line.reverses) if line.reverses else None,
        "reverses_line_id_verdict": "ok" if line.reverses else None,
        "memo": line.memo,
        "op": line.op,
        "updated_at": line.updated,
    }


@dataclass
class Agency:
    """What lies in the vault for a night, and what its sender declared. Numbers may be bent, to lie."""

    objects: list[list[Line]]
    control: int = 0
    declared_records: list[int | None] = field(default_factory=list)
    declared_fen: list[int | None] = field(default_factory=list)
    bent: dict[str, Any] = field(default_factory=dict)
    has_trailer: bool = True
    cut_at: int | None = None
    fails_with: SancheError | None = None

    def stream(self, batch_id: str) -> bytes:
        schema = CONTRACT.sealed_schema()
        sink, digest = io.BytesIO(), hashlib.sha256()
        with pa.ipc.new_stream(sink, schema) as writer:
            for number, lines in enumerate(self.objects):
                rows = [
                    columns_of(line) | {"object_no": number, "row_no": self.control + n + 1}
                    for n, line in enumerate(lines)
                ]
                for row in rows:
                    digest.update(row["record_hash"])
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
            if self.has_trailer:
                metadata = {b"sanche.trailer": json.dumps(self.trailer(batch_id, digest.hexdigest())).encode()}
                empty = pa.RecordBatch.from_pylist([], schema=schema)
                writer.write_batch(empty, custom_metadata=metadata)
        return sink.getvalue()[: self.cut_at]

    def trailer(self, batch_id: str, digest: str) -> dict[str, Any]:
        lines = [line for one in self.objects for line in one]
        amounts = [line.fen for line in lines if line.fen]
        unread = sum(not amount.lstrip("+-").isdigit() for amount in amounts) + sum(
            line.parse_error is not None for line in lines
        )
        objects = [
            {
                "object_no": number,
                "address": f"{number:064x}",
                "physical_records": len(one) + self.control,
                "control_records": self.control,
                "rows": len(one),
            }
            for number, one in enumerate(self.objects)
        ]
        told = {
            "batch_id": batch_id,
            "feed": FEED,
            "objects": objects,
            "physical_records": len(lines) + self.control * len(objects),
            "control_records": self.control * len(objects),
            "rows": len(lines),
            "fen": None if unread else sum(int(amount) for amount in amounts),
            "fen_unparsed": unread,
            "hash": digest,
        }
        for name, value in self.bent.items():
            if name.startswith("object."):
                objects[0][name.removeprefix("object.")] = value
            else:
                told[name] = value
        return told


@dataclass
class Hub:
    """A hub with one feed, landed night by night."""

    settings: Settings
    lake: Lake

    def pulled(self, agency: Agency, night: date = NIGHT, window_from: date | None = None) -> None:
        window_from = window_from or night
        with self.lake.commit(step="pull", business_date=night) as commit:
            for number, _ in enumerate(agency.objects):
                records, fen = ([*declared, *[None] * 9][number]
                                for declared in (agency.declared_records, agency.declared_fen))  # fmt: skip
                commit.execute(
                    "insert into control.pulled values (?, ?, ?, ?, ?, ?, ?, 'sha', 1, ?, ?, ?)",
                    [f"b-{night}", FEED, night, window_from, night + timedelta(days=1), number,
                     f"{number:064x}", records, fen, f"page {number + 1}"],
                )  # fmt: skip

    def land(
        self, agency: Agency, night: date = NIGHT, *, gx: bool = False, contract: Contract = CONTRACT
    ) -> Receipt:
        @contextmanager
        def open_sealed(request: bytes) -> Iterator[BinaryIO]:
            batch_id = json.loads(request)["batch_id"]
            yield io.BytesIO(agency.stream(batch_id))
            if agency.fails_with is not None:
                raise agency.fails_with

        return land(
            FEED,
            contract=contract,
            settings=self.settings,
            lake=self.lake,
            keyring=KEYRING,
            business_date=night,
            open_sealed=open_sealed,
            gx=gx,
        )

    def night(self, *objects: list[Line], night: date = NIGHT, **more: Any) -> Receipt:
        agency = Agency(list(objects), **more)
        self.pulled(agency, night)
        return self.land(agency, night)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.lake.rows(sql)

    def fates(self) -> dict[str, list[int]]:
        """Row numbers by fate."""
        return {
            name: [row[0] for row in self.rows(f"select row_no from {table} order by object_address, row_no")]
            for name, table in (
                ("landed", f"landed.{FEED}"),
                ("quarantined", "quarantine.record"),
                ("duplicate", "quarantine.duplicate"),
            )
            if self.lake.has_table(table)
        }
