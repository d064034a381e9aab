"""What is known about the made-up people: who they are, and what both products must answer.

Promises: an outcome is foretold only where the archetype leaves no doubt; one row per person, product and date.
Refuses:  to guess: what depends on a threshold nearby is left out.
Not here: the features themselves (marts/).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.province import names, permission
from pipelines.province.archetypes import Expected
from pipelines.province.people import Dates, Person
from pipelines.province.work import Orders, all_accounts, day_number

_PERSON = pa.schema(
    [pa.field(n, pa.string()) for n in ("person", "archetype")]
    + [pa.field("is_scenario", pa.bool_())]
    + [
        pa.field(n, pa.string())
        for n in ("occupation", "name", "id_no", "gender", "birth_date", "mobile", "region")
    ]
    + [pa.field(n, pa.list_(pa.string())) for n in ("platforms", "worker_ids", "plates", "cards", "needles")]
)
_EXPECTED = pa.schema(
    [pa.field(n, pa.string()) for n in ("person", "archetype", "product")]
    + [pa.field("business_date", pa.date32())]
    + [pa.field(n, pa.string()) for n in ("recipient_ref", "outcome", "detail", "reason")]
)


def write_truth(
    out: Path, *, roster: Sequence[Person], orders: Orders, consents: Sequence[dict[str, Any]], dates: Dates
) -> None:
    """Write truth/persons.parquet and truth/expected.parquet."""
    folder = out / "truth"
    folder.mkdir(parents=True, exist_ok=True)
    persons = pa.Table.from_pylist([_person(p) for p in roster], schema=_PERSON)
    pq.write_table(persons, folder / "persons.parquet")
    expected = pa.Table.from_pylist(list(_foretold(roster, orders, consents, dates)), schema=_EXPECTED)
    pq.write_table(expected, folder / "expected.parquet")


RAW = {
    "citizen_id": ("id_no", "person_id_no", "holder_id_no", "borrower_id_no"),
    "mobile": ("mobile",),
    "card": ("account_no", "payee_account_no", "counterparty_account_no"),
    "plate": ("plate_no",),
    "name": ("name", "person_name", "holder_name"),
}


def write_needles(out: Path, *, roster: Sequence[Person], tables: Mapping[str, Sequence[pa.Table]]) -> None:
    """Write truth/needles.parquet: what a hunt through the hub's files must not find."""
    found: set[tuple[str, str]] = set()
    for kind, columns in RAW.items():
        for part in (part for parts in tables.values() for part in parts):
            for name in set(columns) & set(part.schema.names):
                found |= {(kind, value) for value in part.column(name).unique().to_pylist() if value}
    for person in roster:
        found |= {("citizen_id", number) for number in _spellings(person)}
    ordered = sorted(found)
    needles = pa.table({"kind": [k for k, _ in ordered], "value": [v for _, v in ordered]})
    pq.write_table(needles, out / "truth" / "needles.parquet")


def _spellings(person: Person) -> set[str]:
    """A person's number as any agency may write it."""
    numbers = {person.id_no, person.id_at_platform, person.id_at_bank, names.full_width(person.id_no)}
    if person.birth.year < 2000:
        numbers.add(names.fifteen_digits(person.id_no))
    return numbers


def _person(person: Person) -> dict[str, Any]:
    plates = [a.plate for a in person.accounts if a.plate]
    cards = [number for _, number in person.cards]
    needles = _spellings(person) | {person.mobile, person.name, person.name_at_bank, *cards, *plates}
    return {
        "person": person.number,
        "archetype": person.archetype.key,
        "is_scenario": person.is_scenario,
        "occupation": person.occupation,
        "name": person.name,
        "id_no": person.id_no,
        "gender": person.gender,
        "birth_date": person.birth.isoformat(),
        "mobile": person.mobile,
        "region": person.region,
        "platforms": [a.platform for a in person.accounts],
        "worker_ids": [a.worker_id for a in person.accounts],
        "plates": plates,
        "cards": cards,
        "needles": sorted(needles),
    }


def _foretold(
    roster: Sequence[Person], orders: Orders, consents: Sequence[dict[str, Any]], dates: Dates
) -> Iterator[dict[str, Any]]:
    busy = _busy(roster, orders, dates)
    refs = {(r["person"], r["recipient_institution"]): r["recipient_ref"] for r in consents}
    for person in roster:
        for day in dates.business_dates:
            for recipient, product in permission.PRODUCT.items():
                expected = _outcome(person, product, busy.get((person.index, day), 0))
                if (person.index, recipient) not in refs:
                    continue
                if not permission.live_on(consents, person=person.index, recipient=recipient, business_date=day):
                    expected = Expected("NO_LIVE_CONSENT")
                if expected is not None:
                    yield {
                        "person": person.number,
                        "archetype": person.archetype.key,
                        "product": product,
                        "business_date": day,
                        "recipient_ref": refs[person.index, recipient],
                        "outcome": expected.outcome,
                        "detail": expected.detail,
                        "reason": expected.reason,
                    }


def _outcome(person: Person, product: str, orders_day: int) -> Expected | None:
    if not person.is_scenario:
        return None
    if product == "C1":
        return person.archetype.c1
    foretold = person.archetype.i1
    # Cover on a day needs an order on that day; one alone may be a matter of definition, two are not.
    if foretold is not None and foretold.detail and orders_day < 2:
        return None
    return foretold


def _busy(roster: Sequence[Person], orders: Orders, dates: Dates) -> dict[tuple[int, date], int]:
    """(person, business date) -> orders accepted, completed and shown on that date."""
    person = np.array([a.person for a in all_accounts(roster)])[orders.account]
    day = orders.service_day
    rows = orders.is_completed & (orders.updated // 86_400 == day) & (day >= day_number(dates.first))
    cells, counts = np.unique(person[rows] * 100_000 + day[rows], return_counts=True)
    epoch = date(1970, 1, 1).toordinal()
    return {
        (cell // 100_000, date.fromordinal(epoch + cell % 100_000)): n
        for cell, n in zip(cells.tolist(), counts.tolist(), strict=True)
    }
