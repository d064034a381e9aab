"""A hand-made province of a few records: three feeds, one of each protocol."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import duckdb

FIRST = date(2026, 8, 19)
ORDERS, FIRST_NIGHT_ORDERS = 250, 30
SAME_INSTANT = 90  # of the 250: more than a page holds in the tests


def write(out: Path) -> Path:
    """Write feeds/*.parquet and world.json below `out`. First load 2026-08-19, then one night."""
    feeds = out / "feeds"
    feeds.mkdir(parents=True)
    (out / "world.json").write_text(json.dumps({"first_date": FIRST.isoformat(), "nights": 2}))
    with duckdb.connect() as con:
        con.execute("set timezone = 'Asia/Shanghai'")
        for feed, sql in _FEEDS.items():
            con.execute(f"copy ({sql}) to '{feeds / f'{feed}.parquet'}' (format parquet)")
    return out


_FEEDS = {
    "platform_order": f"""
        select 'food01' as platform_code, 'o' || i as order_id, 1 as segment_no, '湘A·' || i as plate_no,
               case when i % 7 = 0 then null else (i * 100)::bigint end as customer_paid_fen, 'I' as op,
               case when i < {SAME_INSTANT} then timestamptz '2026-08-19 09:00:00.123456+08'
                    when i < {ORDERS} then timestamptz '2026-08-01 00:00:00+08' + to_minutes(i * 90)
                    else timestamptz '2026-08-20 00:00:00+08' + to_minutes(i - {ORDERS}) end as updated_at,
               case when i < {ORDERS} then null else date '2026-08-20' end as visible_on
        from range({ORDERS + FIRST_NIGHT_ORDERS}) t(i)""",
    "platform_settlement": """
        select 'food01' as platform_code, 's' || i as settlement_id, 7::bigint as net_fen, 'I' as op,
               '2026-08-18T12:00:00+08:00' as updated_at, date '2026-08-19' as visible_on
        from range(3) t(i)""",
    "consent": """
        select 'c1' as consent_id, 1 as version, ['income', 'identity'] as data_categories, 'I' as op,
               timestamptz '2026-08-18 12:00:00+08' as updated_at, date '2026-08-19' as visible_on""",
    "si_param": """
        select '430000' as region, 'base_floor_fen' as param, 'S' || i as sector, date '2026-01-01' as valid_from,
               null::date as valid_to, (i * 10)::bigint as value, 'fen' as unit,
               'notice 7' as reference, 'I' as op,
               timestamptz '2026-08-10 08:00:00+08' + to_hours(i) as updated_at, date '2026-08-19' as visible_on
        from range(300) t(i)""",
    "occ_injury_order_day": """
        select 'food01' as platform_code, 'id' || i as id_no, date '2026-08-18' as cover_date,
               'instant_delivery' as sector, 3::bigint as order_count, 60::bigint as base_fee_milli_yuan,
               18::bigint as fee_due_fen, '430100' as region, 'I' as op,
               timestamptz '2026-08-18 08:00:00+08' as updated_at, date '2026-08-18' as visible_on
        from range(50) t(i)""",
    "bank_txn": """
        select case when i % 2 = 0 then 'BK01' else 'BK02' end as bank_code, 't' || i as txn_id,
               (100 + i)::bigint as amount_fen, '张三' as counterparty_name, false as is_pending, 'I' as op,
               timestamptz '2026-08-19 00:00:00+08' + to_hours(i) as updated_at,
               (timestamptz '2026-08-19 00:00:00+08' + to_hours(i))::date as visible_on,
               case when i = 3 then 'BK02|t3|broken' end as raw_line_override
        from range(40) t(i)""",
}
