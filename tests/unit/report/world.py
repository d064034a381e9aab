"""A night by hand: one feed of each fate, decisions, packages, a head; and the empty lake it is drawn into."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from pipelines.lake import Lake
from pipelines.settings import Settings

NIGHT = date(2026, 8, 20)
AFTER = NIGHT + timedelta(days=1)


def hub_at(folder: Path) -> Settings:
    return Settings(home=folder / "hub", threads=1, memory_limit="300MB")


def insert(lake: Lake, table: str, *rows: dict[str, Any]) -> None:
    with lake.commit(step="draw", business_date=NIGHT) as commit:
        for row in rows:
            columns = ", ".join(f"${key} as {key}" for key in row)
            commit.execute(f"insert into {table} by name select {columns}", row)


def batch(feed: str, *, physical: int, landed: int, quarantined: int = 0, duplicates: int = 0, control: int = 0,
          fate: str = "landed", **fen: Any) -> dict[str, Any]:  # fmt: skip
    return {
        "batch_id": f"{feed}-20260821-0000abcd", "feed": feed, "feed_version": "1.0.0", "business_date": NIGHT,
        "window_from": NIGHT, "window_to": AFTER, "kind": "nightly", "objects": 2, "physical": physical,
        "control_records": control, "landed": landed, "quarantined": quarantined, "duplicates": duplicates,
        "not_kept": 0, "fen_provable": True, "fate": fate,
    } | fen  # fmt: skip


def draw(lake: Lake) -> None:
    """Earnings conserved, settlements unprovable, transactions differ, orders held, the rest missing or plain."""
    insert(
        lake, "control.batch",
        batch("platform_earning_line", physical=6240, landed=6181, quarantined=38, duplicates=21,
              fen_declared=41288051637, fen_landed=41210000000, fen_quarantined=78051600, fen_duplicates=37),
        batch("platform_settlement", physical=410, landed=408, quarantined=2, fen_declared=None,
              fen_landed=9000001, fen_quarantined=5, fen_duplicates=0, fen_provable=False),
        batch("bank_txn", physical=915, control=6, landed=900, quarantined=9, fen_declared=101, fen_landed=100,
              fen_quarantined=0, fen_duplicates=0),
        batch("platform_order", physical=0, landed=0, fate="held"),
        batch("platform_worker", physical=12, landed=12),
        batch("consent", physical=9, landed=8, duplicates=1),
        batch("si_person", physical=30, landed=30),
    )  # fmt: skip
    insert(
        lake, "quarantine.record",
        *({"batch_id": "b", "feed": feed, "business_date": NIGHT, "object_address": "a", "row_no": n,
           "reasons": reasons} for feed, n, reasons in
          [("platform_earning_line", 1, ["E-001", "amount_fen.required"]),
           ("platform_earning_line", 2, ["E-001"]),
           ("bank_txn", 3, ["account_no.bad_check_digit"])]),
    )  # fmt: skip
    _draw_decisions(lake)
    lake.ensure_table(
        "create table if not exists control.deletion_notice (agreement varchar, recipient varchar, "
        "sequence integer, person_id uuid, consent_id varchar)"
    )
    notice = {"agreement": "bank_a_c1", "recipient": "bank_a", "sequence": 2, "person_id": str(UUID(int=99))}
    insert(lake, "control.deletion_notice", notice)
    insert(
        lake, "control.extract",
        {"agreement": "bank_a_c1", "recipient": "bank_a", "sequence": 2, "business_date": NIGHT, "as_of": AFTER,
         "manifest_sha256": "ab" * 32, "folder": "bank_a/bank_a_c1-000002", "rows": 40, "in_scope": 42,
         "withheld": '{"consent.withdrawn_at":2}', "status": "published"},
        {"agreement": "insurer_b_i1", "recipient": "insurer_b", "sequence": 2, "business_date": NIGHT,
         "as_of": AFTER, "manifest_sha256": "cd" * 32, "folder": "insurer_b/insurer_b_i1-000002", "rows": 38,
         "in_scope": 38, "withheld": "{}", "status": "published"},
    )  # fmt: skip
    head = {
        "head_no": 2,
        "business_date": NIGHT,
        "root": "ef" * 32,
        "streams": 17,
        "body": "{}",
        "signature": b"s",
    }
    insert(lake, "ledger.head", head)


def _draw_decisions(lake: Lake) -> None:
    lake.ensure_table(
        "create table if not exists decisions.decision (decision_no varchar, agreement varchar, product varchar, "
        "person_id uuid, business_date date, outcome varchar, reason_codes varchar[], supersedes varchar)"
    )
    lake.ensure_table(
        "create table if not exists marts.earning_day (person_id uuid, platform_code varchar, service_date date, "
        "orders bigint, earned_fen bigint)"
    )
    rows = []
    for number in range(80):
        product, agreement = ("C1", "bank_a_c1") if number < 42 else ("I1", "insurer_b_i1")
        outcome = ("ELIGIBLE", "INELIGIBLE", "ELIGIBLE", "INSUFFICIENT_DATA")[number % 4]
        if number in (3, 7):
            outcome = "REVIEW"
        reasons = [] if outcome == "ELIGIBLE" else ["R107"] if outcome == "REVIEW" else ["R201", "R202"]
        rows.append(
            {"decision_no": f"d{number}", "agreement": agreement, "product": product, "business_date": NIGHT,
             "person_id": str(UUID(int=number)), "outcome": outcome, "reason_codes": reasons}
        )  # fmt: skip
    insert(lake, "decisions.decision", *rows)
    with lake.commit(step="draw", business_date=NIGHT) as commit:
        commit.execute(
            "insert into marts.earning_day "
            "select uuid(), 'food01', day::date, 20 + month(day) % 5, 31000 + 900 * month(day) "
            "from generate_series(timestamp '2025-06-01', timestamp '2026-08-20', interval 1 day) t(day)"
        )
