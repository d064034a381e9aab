"""What platforms keep of their workers: accounts, vehicles, credentials.

Promises: whoever needs a licence or a vehicle for his trade has a valid one, unless a flag of his archetype says
          otherwise; birth date and gender are those of the number; instants and validity dates are in order.
Refuses:  nothing.
Not here: consents (permission).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.province import feeds, names
from pipelines.province.bank import AGENCIES, PLATFORM_CSV
from pipelines.province.people import OCCUPATION, Account, Dates, Person
from pipelines.province.work import day_number

PERMIT = {
    "trip": "ride_hailing_driver_permit",
    "taxi": "taxi_qualification",
    "intracity_freight": "road_freight_qualification",
    "longhaul_freight": "road_freight_qualification",
    "instant_delivery": "health_cert",
}
LICENCE_CLASS = {"trip": "C1", "taxi": "C1", "intracity_freight": "C1", "longhaul_freight": "A2"}


def platform_uscc() -> dict[str, str]:
    """platform_code -> its own credit code."""
    with PLATFORM_CSV.open(encoding="utf-8") as source:
        return {r["platform_code"]: r["uscc"] for r in csv.DictReader(source)}


def first_shown(account: Account, dates: Dates) -> int:
    """When the platform first shows an account: before its first order, and not before the history begins."""
    return max(day_number(account.first) - 1, day_number(dates.history)) * feeds.DAY_S + 3600 + account.index


def _at(day: date, hour: int) -> str:
    return f"{day.isoformat()}T{hour:02d}:00:00+08:00"


def worker_table(*, roster: Sequence[Person], dates: Dates) -> pa.Table:
    """Accounts: when opened, again when closed, and whenever the platform looks them over."""
    uscc = platform_uscc()
    rows: list[dict[str, Any]] = []
    for person, account in _each(roster):
        first = _worker(person, account, uscc[account.platform], dates)
        rows.append(first)
        if account.last is not None:
            closed = person.has("closed") or (not person.is_scenario and account.index % 2 == 0)
            change = {"account_status": "closed", "deactivated_at": _at(account.last + timedelta(days=2), 9)}
            if closed:
                at = (day_number(account.last) + 2) * feeds.DAY_S + 9 * 3600 + 60
                rows.append(first | change | {"op": "U", "at": at})
        else:
            rows.extend(_looked_over(first, dates))
    return feeds.from_rows("platform_worker", rows)


def _each(roster: Sequence[Person]) -> Iterator[tuple[Person, Account]]:
    return ((p, a) for p in roster for a in p.accounts)


def _looked_over(first: dict[str, Any], dates: Dates) -> Iterator[dict[str, Any]]:
    """A platform confirms who works for it on the first of each month and in each further night: a new version."""
    days = [dates.history + timedelta(days=n) for n in range(dates.days)]
    for day in days:
        at = day_number(day) * feeds.DAY_S + 4 * 3600 + first["at"] % 3000
        if (day.day == 1 or day > dates.first) and at > first["at"]:
            yield first | {"op": "U", "at": at}


def _worker(person: Person, account: Account, uscc: str, dates: Dates) -> dict[str, Any]:
    registered = account.first - timedelta(days=1)
    company = AGENCIES[account.index % 2][0] if account.payout == "agency" else None
    mode = "agency_station" if company else ("crowdsourced" if account.platform == "food02" else "full_time")
    return {
        "platform_code": account.platform,
        "platform_uscc": uscc,
        "platform_worker_id": account.worker_id,
        "id_type": "resident_id",
        "id_no": person.id_at_platform,
        "name": person.name,
        "mobile": person.mobile,
        "gender": person.gender,
        "birth_date": person.birth.isoformat(),
        "occupation_kind": OCCUPATION[account.sector],
        "work_mode": mode,
        "contract_company": company,
        "contract_on": registered.isoformat(),
        "contract_off": (max(registered, dates.last) + timedelta(days=365)).isoformat(),
        "registered_region": person.region,
        "registered_at": _at(registered, 10),
        "first_order_at": _at(account.first, 10),
        "account_status": "active",
        "shared_account_flag": person.has("shared_flag"),
        "at": first_shown(account, dates),
    }


def vehicle_table(rng: np.random.Generator, *, roster: Sequence[Person], dates: Dates) -> pa.Table:
    """One vehicle per account; riders have an e-bike without a plate."""
    rows = []
    for person, account in _each(roster):
        if person.has("no_vehicle"):
            continue
        is_bike = not account.plate
        kind = {"intracity_freight": "light_truck", "longhaul_freight": "heavy_truck"}.get(account.sector, "car")
        registered = account.first - timedelta(days=int(rng.integers(60, 900)))
        rows.append(
            {
                "platform_code": account.platform,
                "vehicle_no": f"V{account.index:07d}",
                "platform_worker_id": account.worker_id,
                "plate_no": account.plate or None,
                "plate_color": account.plate_color or None,
                "vehicle_type": "ebike" if is_bike else kind,
                "use_character": None if is_bike else "commercial",
                "ownership": "lease" if account.index % 3 == 0 or account.sector == "taxi" else "own",
                "vin": None if is_bike else names.vin(rng),
                "fuel_type": "electric" if is_bike or account.plate_color == "green" else "petrol",
                "seats": None if is_bike else (5 if kind == "car" else 2),
                "first_registered_on": registered.isoformat(),
                "inspection_valid_to": None if is_bike else (dates.last + timedelta(days=300)).isoformat(),
                "trans_valid_from": None if is_bike else registered.isoformat(),
                "trans_valid_to": None if is_bike else (dates.last + timedelta(days=500)).isoformat(),
                "state": "active",
                "at": first_shown(account, dates) + 300,
            }
        )
    return feeds.from_rows("platform_vehicle", rows)


def credential_table(rng: np.random.Generator, *, roster: Sequence[Person], dates: Dates) -> pa.Table:
    """Driving licence and permit of each account that needs them; a rider's health certificate."""
    rows = []
    for person, account in _each(roster):
        issued = max(account.first - timedelta(days=500), person.birth + timedelta(days=18 * 366))
        licensed = account.sector in LICENCE_CLASS
        if licensed and not person.has("no_licence"):
            rows.append(_licence(person, account, issued, dates))
        if account.sector in PERMIT and not person.has("closed"):
            until = dates.last + timedelta(days=int(rng.integers(120, 900)))
            rows.append(
                {
                    "credential_type": PERMIT[account.sector],
                    "credential_no": f"43{account.index:09d}",
                    "licence_class": None,
                    "first_issued_on": issued.isoformat() if licensed else None,
                    "valid_from": min(issued, account.first).isoformat(),
                    "valid_to": until.isoformat(),
                    "issuing_org": "长沙市交通运输局" if licensed else "长沙市卫生健康委员会",
                    "status": "valid",
                }
                | _of(account, dates)
            )
    return feeds.from_rows("platform_credential", rows)


def _of(account: Account, dates: Dates) -> dict[str, Any]:
    return {
        "platform_code": account.platform,
        "platform_worker_id": account.worker_id,
        "at": first_shown(account, dates) + 600,
    }


def _licence(person: Person, account: Account, issued: date, dates: Dates) -> dict[str, Any]:
    until, status = dates.last + timedelta(days=1200), "valid"
    if person.has("licence_expired"):
        until, status = dates.first - timedelta(days=20), "expired"
    if person.has("licence_soon"):
        until = dates.last + timedelta(days=12)
    return {
        "credential_type": "driving_licence",
        "credential_no": f"DL{account.index:010d}",
        "licence_class": LICENCE_CLASS[account.sector],
        "first_issued_on": issued.isoformat(),
        "valid_from": issued.isoformat(),
        "valid_to": until.isoformat(),
        "issuing_org": "湖南省公安厅交通警察总队",
        "status": status,
    } | _of(account, dates)
