"""The short table at the end of `sanche demo`: what came, what was held back, what was decided, what left."""

from __future__ import annotations

import json
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from pipelines.demo import Stage
from pipelines.receipt import Receipt

NIGHTS_SQL = """
select b.business_date,
       sum(physical - control_records)::bigint as came_in, sum(landed)::bigint as landed,
       sum(quarantined)::bigint as quarantined, sum(duplicates)::bigint as duplicates,
       sum(fen_landed)::bigint as fen_landed, bool_and(fen_provable) as is_provable
from control.batch as b where fate = 'landed' group by all order by all
"""
SENT_SQL = """
select business_date, recipient, sum(rows)::bigint as sent, sum(in_scope - rows)::bigint as withheld
from control.extract where status <> 'superseded' group by all order by all
"""
OUTCOMES_SQL = """
select product, outcome, coalesce(tier, variant, '') as tier,
       count(*) filter (business_date = $d0) as d0, count(*) filter (business_date = $d1) as d1,
       count(*) filter (business_date = $d2) as d2
from decisions.decision group by all order by all
"""


def demo_summary(stage: Stage, receipts: list[Receipt], received: dict[str, int], *, as_json: bool) -> None:
    """Print the tables, or one JSON line with the same numbers."""
    from pipelines.lake import Lake

    dates = stage.dates()
    with Lake.attach(stage.settings(), read_only=True) as lake:
        nights = lake.query(NIGHTS_SQL).to_pylist()
        sent = lake.query(SENT_SQL).to_pylist()
        outcomes = lake.query(OUTCOMES_SQL, {f"d{n}": day for n, day in enumerate(dates)}).to_pylist()
    changed = sum(receipt.fate != "unchanged" for receipt in receipts)
    if as_json:
        told = {"nights": nights, "sent": sent, "outcomes": outcomes, "received": received, "steps": len(receipts)}
        print(json.dumps(told | {"changed": changed, "paths": paths(stage)}, default=str, ensure_ascii=False))
        return
    console = Console(width=max(Console().width, 118))
    console.print(_nights(nights, sent))
    console.print(_outcomes(outcomes, [day.isoformat() for day in dates]))
    opened = ", ".join(f"{name} {rows}" for name, rows in received.items()) or "nothing new"
    console.print(f"verified and opened by the institutions: {opened} rows")
    console.print(f"{len(receipts)} steps ran, {changed} changed something")
    for name, path in paths(stage).items():
        print(f"  {name:<11} {path}")


def paths(stage: Stage) -> dict[str, str]:
    """Where to look afterwards."""
    hub = stage.settings()
    last = stage.dates()[-1]
    return {
        "page": str(hub.report_dir / f"{last}.html"),
        "Data Docs": str(hub.docs_dir / "site" / "index.html"),
        "lake": f'{hub.lake_dir}   (sanche sql --home {hub.home} "show all tables")',
        "packages": str(hub.outbox_dir),
        "ledger": f"{hub.ledger_dir}   (sanche verify --home {hub.home})",
    }


def _nights(nights: list[dict[str, Any]], sent: list[dict[str, Any]]) -> Table:
    recipients = sorted({row["recipient"] for row in sent})
    table = Table(
        show_edge=False, title="came in, was held back, went out", title_justify="left", box=box.SIMPLE_HEAD
    )
    for name in ("business date", "came in", "landed", "quarantined", "duplicate", "money landed (yuan)"):
        table.add_column(name, justify="left" if name == "business date" else "right")
    for recipient in recipients:
        table.add_column(f"to {recipient}", justify="right")
    for row in nights:
        out = {s["recipient"]: s for s in sent if s["business_date"] == row["business_date"]}
        table.add_row(
            str(row["business_date"]),
            *(f"{row[name]:,}" for name in ("came_in", "landed", "quarantined", "duplicates")),
            f"{row['fen_landed'] / 100:,.2f}",
            *(_sent(out.get(recipient)) for recipient in recipients),
        )
    return table


def _sent(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    return f"{row['sent']} ({row['withheld']} withheld)" if row["withheld"] else str(row["sent"])


def _outcomes(outcomes: list[dict[str, Any]], dates: list[str]) -> Table:
    table = Table(
        show_edge=False,
        title="decided, for persons with a live consent",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for name in ("product", "outcome", "tier or variant"):
        table.add_column(name)
    for day in dates:
        table.add_column(day, justify="right")
    for row in outcomes:
        table.add_row(row["product"], row["outcome"], row["tier"], str(row["d0"]), str(row["d1"]), str(row["d2"]))
    return table
