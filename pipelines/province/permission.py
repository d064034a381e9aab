"""Consents: who allowed which institution what, and what became of it during the nights.

Promises: every scenario has a consent for both products, live on every business date unless a flag says otherwise;
          of everybody else about seven in ten; a change is a higher version of the same consent with a later
          updated_at. Reference numbers have the institutions' own form and are unique per recipient.
Refuses:  nothing.
Not here: what an agreement asks of a consent (schemas/agreements).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.province import feeds
from pipelines.province.people import Dates, Person
from pipelines.province.work import EPOCH, day_number

NOTICE_HASH = hashlib.sha256(b"sanche notice v1").hexdigest()
# recipient -> (prefix of its reference numbers, purpose, text, categories)
ASKED = {
    "bank_a": (
        "BA",
        "credit_working_capital",
        "为本人申请营运周转额度核验收入与负担",
        ["income", "social_insurance", "bank_cashflow", "identity"],
    ),
    "insurer_b": (
        "IB",
        "insurance_accident",
        "为本人投保按单意外险核验接单与保障情况",
        ["work_activity", "vehicle", "social_insurance", "identity"],
    ),
}
PRODUCT = {"bank_a": "C1", "insurer_b": "I1"}


def instant_iso(seconds: int) -> str:
    day = date.fromordinal(EPOCH.toordinal() + seconds // feeds.DAY_S)
    rest = seconds % feeds.DAY_S
    return f"{day.isoformat()}T{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}+08:00"


def consents(rng: np.random.Generator, *, roster: Sequence[Person], dates: Dates) -> list[dict[str, Any]]:
    """All versions, as dicts with the person's index."""
    rows: list[dict[str, Any]] = []
    for person in roster:
        for recipient in ASKED:
            if person.is_scenario or rng.random() < 0.7:
                rows.extend(_versions(rng, person, recipient, dates, len(rows)))
    return rows


def _versions(
    rng: np.random.Generator, person: Person, recipient: str, dates: Dates, number: int
) -> list[dict[str, Any]]:
    prefix, purpose, text, categories = ASKED[recipient]
    granted_on = day_number(dates.first) - int(rng.integers(3, 150))
    if person.has("consents_in_night"):
        granted_on = day_number(dates.first) + 1
    days = 400 + int(rng.integers(0, 300))
    withdrawn_on = None
    if person.has("expired"):
        granted_on, days = day_number(dates.first) - 190, 180
    if person.has("withdraws") or (not person.is_scenario and rng.random() < 0.04):
        withdrawn_on = day_number(dates.first) + 1 + (person.index + number) % 2
    if not person.is_scenario and rng.random() < 0.04:
        granted_on = day_number(dates.first) + 1 + number % 2
        withdrawn_on = None
    granted_on = min(granted_on, day_number(dates.last))
    granted = granted_on * feeds.DAY_S + 10 * 3600 + number % 20_000
    digest = hashlib.sha256(f"{person.id_no}|{recipient}|{number}".encode()).hexdigest()
    first = {
        "person": person.index,
        "consent_id": str(uuid.UUID(digest[:32], version=4)),
        "version": 1,
        "person_id_no": person.id_no,
        "person_name": person.name,
        "recipient_institution": recipient,
        "recipient_ref": f"{prefix}-{dates.first.year}-{number + 1:06d}",
        "purpose_code": purpose,
        "purpose_text_hash": hashlib.sha256(text.encode()).hexdigest(),
        "data_categories": categories,
        "legal_basis": "consent",
        "separate_consent": True,
        "written_form": True,
        "adverse_consequence_notice": not person.has("no_notice"),
        "guardian_consent": (dates.first - person.birth).days < 18 * 365.25,
        "automated_decision_notice": not person.has("no_notice"),
        "notice_version_hash": NOTICE_HASH,
        "identity_match": "ID_NAME_PHONE" if person.index % 4 else "ID_NAME",
        "granted_at": instant_iso(granted),
        "expires_at": instant_iso(granted + days * feeds.DAY_S),
        "withdrawn_at": None,
        "channel": "hub_app",
        "evidence_hash": hashlib.sha256(digest.encode()).hexdigest(),
        "at": granted + 30,
    }
    if withdrawn_on is None or withdrawn_on > day_number(dates.last):
        return [first]
    gone = withdrawn_on * feeds.DAY_S + 16 * 3600 + number % 1000
    return [first, first | {"version": 2, "withdrawn_at": instant_iso(gone), "op": "U", "at": gone + 5}]


def consent_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Consents, as the consent service sends them."""
    return feeds.from_rows("consent", [{k: v for k, v in r.items() if k != "person"} for r in rows])


def live_on(rows: Sequence[dict[str, Any]], *, person: int, recipient: str, business_date: date) -> bool:
    """Whether the person's consent, as known at the end of a business date, lets data go to the recipient."""
    end = (day_number(business_date) + 1) * feeds.DAY_S
    known = [
        r for r in rows if r["person"] == person and r["recipient_institution"] == recipient and r["at"] < end
    ]
    if not known:
        return False
    latest = max(known, key=lambda r: r["version"])
    noticed = bool(latest["automated_decision_notice"] and latest["adverse_consequence_notice"])
    return latest["withdrawn_at"] is None and latest["expires_at"] > instant_iso(end) and noticed
