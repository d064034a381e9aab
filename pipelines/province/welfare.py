"""The social-insurance agency's tables: persons, contributions, per-order injury cover, dated parameters.

Promises: injury-cover counts equal the orders accepted that day, for sectors and dates of the pilot only; the fee
          is count x base fee in tenths of a fen, rounded half up; bases keep to floor and ceiling of their year.
Refuses:  nothing. The parameters are made up: Hunan's own were not found (DOMAIN.md, findings 7 and A2).
Not here: who may read them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.province import feeds
from pipelines.province.people import Dates, Person
from pipelines.province.work import PILOT_FROM, PILOT_SECTORS, SECTORS, Orders, all_accounts, day_number

PROVINCE = "430000"
BASE_FLOOR_FEN = {2025: 430_800, 2026: 449_900}  # illustrative
BASE_CEILING_FEN = {2025: 2_154_000, 2026: 2_249_500}  # illustrative: five floors
MIN_LIVING_FEN = 70_000  # a month, illustrative
BASE_FEE_MILLI_YUAN = {"trip": 10, "instant_delivery": 70, "intracity_freight": 180}  # DOMAIN.md, finding 7


def param_table(*, dates: Dates) -> pa.Table:
    """Floors and ceilings by year, the pilot by sector, the minimum living amount."""
    at = day_number(dates.history) * feeds.DAY_S + 600
    rows: list[dict[str, Any]] = []

    def add(param: str, value: int, unit: str, start: date, end: date | None, sector: str = "") -> None:
        rows.append(
            {
                "region": PROVINCE,
                "param": param,
                "sector": sector,
                "valid_from": start,
                "valid_to": end,
                "value": value,
                "unit": unit,
                "reference": "demonstration value, no regulation",
                "at": at + len(rows),
            }
        )

    for year in BASE_FLOOR_FEN:
        end = date(year, 12, 31) if year + 1 in BASE_FLOOR_FEN else None
        add("base_floor_fen", BASE_FLOOR_FEN[year], "fen", date(year, 1, 1), end)
        add("base_ceiling_fen", BASE_CEILING_FEN[year], "fen", date(year, 1, 1), end)
    for sector in sorted(PILOT_SECTORS):
        add("occ_injury_pilot", 1, "flag", PILOT_FROM, None, sector)
    add("min_living_fen", MIN_LIVING_FEN, "fen", date(2025, 1, 1), None)
    return feeds.from_rows("si_param", rows)


def person_table(rng: np.random.Generator, *, roster: Sequence[Person], dates: Dates) -> pa.Table:
    """Nine in ten adults are known to the agency; scenarios all are."""
    rows: list[dict[str, Any]] = []
    start = day_number(dates.history) * feeds.DAY_S + 1800
    for person in roster:
        unknown = not person.is_scenario and rng.random() < 0.1
        if unknown or person.has("no_records"):
            continue
        first = {
            "id_no": person.id_no,
            "name": person.name,
            "person_status": "normal",
            "household_type": "rural" if person.index % 3 else "urban",
            "si_region": person.region,
            "at": start + person.index,
        }
        rows.append(first)
        change: dict[str, Any] = {}
        if person.has("deceased"):
            change = {"person_status": "deceased", "death_date": dates.first - timedelta(days=20)}
        if person.has("merged"):
            change = {"person_status": "merged"}
        if change:
            at = (day_number(dates.first) - 9) * feeds.DAY_S + 15 * 3600
            rows.append(first | change | {"op": "U", "at": at + person.index})
    return feeds.from_rows("si_person", rows)


def contribution_table(rng: np.random.Generator, *, roster: Sequence[Person], dates: Dates) -> pa.Table:
    """Pension and medical insurance by month: flexible, resident or employee; gaps, some of them paid later."""
    rows: list[dict[str, Any]] = []
    for person in roster:
        kind = rng.choice(["flexible", "resident", "employee", "none"], p=[0.4, 0.3, 0.1, 0.2])
        if person.has("no_records") or kind == "none":
            continue
        rows.extend(_months(rng, person, str(kind), dates))
    return feeds.from_rows("si_contribution_month", rows)


SCHEMES = {
    "flexible": (("emp_pension", "flexible_employment", 2000), ("emp_medical", "flexible_employment", 850)),
    "resident": (("res_pension", "resident", 0), ("res_medical", "resident", 0)),
    "employee": (("emp_pension", "employee", 2400), ("emp_medical", "employee", 1000)),
}


def _months(rng: np.random.Generator, person: Person, kind: str, dates: Dates) -> Iterator[dict[str, Any]]:
    start = dates.history.replace(day=1)
    for nth in range(14):
        month = (start + timedelta(days=nth * 31)).replace(day=1)
        paid_on = month.replace(day=10 + person.index % 15)
        skipped = rng.random() < (0.15 if kind == "flexible" else 0.03)
        arrears = skipped and rng.random() < 0.5
        if arrears:
            paid_on = paid_on + timedelta(days=62)
        if (skipped and not arrears) or not dates.history <= paid_on < dates.last:
            continue
        base = BASE_FLOOR_FEN[month.year] * (1 + person.index % 3)
        for scheme, join_kind, rate in SCHEMES[kind]:
            due = base * rate // 10_000 if rate else 3_500
            yield {
                "id_no": person.id_no,
                "scheme": scheme,
                "contribution_month": f"{month:%Y%m}",
                "pay_kind": "arrears" if arrears else "normal",
                "source_office": person.region,
                "join_kind": join_kind,
                "base_fen": base,
                "rate_bp": rate,
                "due_fen": due,
                "paid_fen": due,
                "paid_on": paid_on,
                "region": person.region,
                "at": (day_number(paid_on) + 1) * feeds.DAY_S + 7200 + person.index,
            }


def injury_table(orders: Orders, *, roster: Sequence[Person], dates: Dates) -> pa.Table:
    """One row per person, platform and day of the pilot, written just before midnight.

    An order that its platform shows weeks late was declared for cover on its day all the same.
    """
    accounts = all_accounts(roster)
    in_pilot = np.isin(orders.sector, [SECTORS.index(s) for s in PILOT_SECTORS])
    rows = in_pilot & (orders.service_day >= day_number(PILOT_FROM))
    cells, counts = np.unique(orders.account[rows] * 100_000 + orders.service_day[rows], return_counts=True)
    account, day = cells // 100_000, cells % 100_000
    fee = np.array([BASE_FEE_MILLI_YUAN.get(a.sector, 0) for a in accounts])[account]
    by_account = account
    columns = {
        "platform_code": feeds.look_up([a.platform for a in accounts], by_account),
        "id_no": feeds.look_up([roster[a.person].id_no for a in accounts], by_account),
        "cover_date": pa.array(day.astype(np.int32)).cast(pa.date32()),
        "sector": feeds.look_up([a.sector for a in accounts], by_account),
        "order_count": counts,
        "base_fee_milli_yuan": fee,
        "fee_due_fen": (counts * fee + 5) // 10,
        "region": feeds.look_up([roster[a.person].region for a in accounts], by_account),
        "op": "I",
    }
    return feeds.table("occ_injury_order_day", columns, (day + 1) * feeds.DAY_S - 240 + account % 200)
