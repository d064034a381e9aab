"""Who is in an agreement's package tonight, and what each row says. Read under the publish commit's lock.

Promises: every decision in scope is either sent or withheld for one reason (ledger invariant 5); the columns are
          the agreement's fields and no other (X24), in its order, sorted by token, so that order tells nothing.
Refuses:  a person without a consent that holds now, by everything that has landed (E25, X22); two applicants of
          one recipient_ref; a recipient_ref that is not of the agreed shape.
Not here: encryption (envelope.py), files (package.py), whether a consent holds (consent/).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pyarrow as pa

from pipelines.calendar import as_of, day_start, shanghai_date
from pipelines.consent import Agreement
from pipelines.consent.live import check_sql, live_sql
from pipelines.errors import Bug
from pipelines.lake import Lake

MAX_REASON_CODES = 4  # as adverse-action notices show (DOMAIN C); all are stored in decisions.decision
_SHANGHAI_SECONDS = pa.timestamp("s", tz="Asia/Shanghai")
_TEXT, _DAY, _WORDS = pa.string(), pa.date32(), pa.list_(pa.string())
# DOMAIN C0 "Extract row". Nothing finer than a day, but for the ends of a cover, which are the contract itself.
TYPES: dict[str, pa.DataType] = {
    "recipient_ref": _TEXT, "person_token": _TEXT, "key_version": pa.int32(), "decision_no": _TEXT,
    "product_version": _TEXT, "rule_hash": _TEXT, "phase": _TEXT, "as_of": _DAY, "known_at": _DAY,
    "decided_on": _DAY, "valid_until": _DAY, "outcome": _TEXT, "tier": _TEXT, "limit_fen": pa.int64(),
    "max_instalment_fen": pa.int64(), "sweep_bp": pa.int32(), "payout_cycle": _TEXT, "payout_dom": pa.int32(),
    "conditions": _WORDS, "reason_codes": _WORDS, "verification_grade": _TEXT, "source_as_of": _DAY,
    "identity_match": _TEXT, "change_type": _TEXT, "change_reason": _TEXT, "supersedes": _TEXT,
    "review": pa.bool_(), "dispute": pa.bool_(), "consent_expires": _DAY, "delete_by": _DAY,
    "cover_from": _SHANGHAI_SECONDS, "cover_to": _SHANGHAI_SECONDS, "variant": _TEXT, "vehicle": _TEXT,
    "sum_insured_fen": pa.int64(), "premium_basis": _TEXT, "duplicate_cover": pa.bool_(),
}  # fmt: skip
_REF = re.compile(r"[A-Za-z0-9-]{8,32}")  # DOMAIN A4

# One row per decision in scope. A decision that another one of the same night supersedes is not in scope any more.
# `reason`: of the consent that the decision rested on, else of any other one that the person gave.
_SCOPE = """
with scope as (
    select * from decisions.decision d
    where agreement = $agreement and business_date = $business_date and not exists (
        select 1 from decisions.decision later
        where later.agreement = d.agreement and later.business_date = d.business_date
          and later.supersedes = d.decision_no)
), judged as ({judged}), live as ({live}), refusal as (
    select consent_id, case when len(reasons) = 0 then 'person' else reasons[1] end as reason from judged
)
select scope.* replace (scope.reason_codes[1:{most}] as reason_codes),
    live.consent_id as live_consent_id, live.consent_version as live_consent_version, live.recipient_ref_sealed,
    live.identity_match as live_identity_match, live.expires_at as live_expires_at,
    case when live.person_id is null then 'consent.' || coalesce(refusal.reason, 'missing') end as withheld_reason
from scope
left join live on live.person_id = scope.person_id
left join refusal on refusal.consent_id = scope.consent_id
order by scope.person_id, scope.decision_no
"""

# Persons that an earlier package named under a consent that has been withdrawn since, and who were not told yet.
_TO_DELETE = """
with judged as ({judged}), live as ({live}), sent as (
    select distinct person_id, consent_id from control.extract_row
    where agreement = $agreement and withheld_reason is null
)
select sent.person_id, sent.consent_id, judged.recipient_ref_sealed, judged.withdrawn_at
from sent join judged on judged.consent_id = sent.consent_id
where (list_contains(judged.reasons, 'withdrawn_at') or list_contains(judged.reasons, 'op'))
  and not exists (select 1 from live where live.person_id = sent.person_id)
  and not exists (select 1 from control.deletion_notice told where told.agreement = $agreement
                  and told.person_id = sent.person_id and told.consent_id = sent.consent_id)
order by sent.person_id, sent.consent_id
"""


@dataclass(frozen=True, slots=True)
class Opener:
    """The two secrets that a row needs, as functions: person ids to tokens, sealed references to text."""

    tokens: Callable[[list[bytes]], list[bytes]]
    key_version: int
    open_ref: Callable[[bytes], str]


@dataclass(frozen=True, slots=True)
class Scope:
    """sent: the recipient's rows; extract_rows: control.extract_row without its number; withheld: reason -> n."""

    sent: pa.Table
    extract_rows: list[dict[str, Any]]
    withheld: dict[str, int]

    @property
    def in_scope(self) -> int:
        return len(self.extract_rows)


@dataclass(frozen=True, slots=True)
class Deletions:
    """notices: what the recipient reads; persons: (person_id, consent_id) for control.deletion_notice."""

    notices: list[dict[str, Any]]
    persons: list[tuple[str, str]]


def scope_of(lake: Lake, agreement: Agreement, business_date: date, opener: Opener) -> Scope:
    """Rows sent and withheld for a business date. Consents are judged by everything that has landed up to now."""
    judged, live = _consents(agreement, business_date)
    sql = _SCOPE.format(judged=judged, live=live, most=MAX_REASON_CODES)
    found = lake.query(sql, {"agreement": agreement.id, "business_date": business_date}).to_pylist()
    _name_refs(found, opener)
    sent = [row for row in found if row["withheld_reason"] is None]
    for row, token in zip(sent, _tokens(sent, opener), strict=True):
        row |= _made_here(row, token, agreement, business_date, opener)
    sent.sort(key=lambda row: (row["person_token"], row["decision_no"]))
    return Scope(
        sent=_table(sent, agreement),
        extract_rows=[_extract_row(row) for row in found],
        withheld=dict(sorted(Counter(row["withheld_reason"] for row in found if row["withheld_reason"]).items())),
    )


def deletions_of(lake: Lake, agreement: Agreement, business_date: date, opener: Opener) -> Deletions:
    """Whom the recipient must delete: sent before, withdrawn since, without another live consent."""
    judged, live = _consents(agreement, business_date)
    found = lake.query(_TO_DELETE.format(judged=judged, live=live), {"agreement": agreement.id}).to_pylist()
    notices = [
        {
            "person_token": token.hex(),
            "key_version": opener.key_version,
            "recipient_ref": _ref(row["recipient_ref_sealed"], opener),
            "withdrawn_on": shanghai_date(row["withdrawn_at"]).isoformat() if row["withdrawn_at"] else None,
            "reason": "consent_withdrawn" if row["withdrawn_at"] else "consent_deleted",
        }
        for row, token in zip(found, _tokens(found, opener), strict=True)
    ]
    notices.sort(key=lambda notice: (notice["person_token"], str(notice["recipient_ref"])))
    return Deletions(notices, [(row["person_id"], row["consent_id"]) for row in found])


def _consents(agreement: Agreement, business_date: date) -> tuple[str, str]:
    at = day_start(as_of(business_date))
    judged = check_sql(agreement, at=at, known_at=date.max, any_withdrawal=True)
    live = live_sql(agreement, at=at, known_at=date.max, any_withdrawal=True)
    return judged, live


def _tokens(rows: list[dict[str, Any]], opener: Opener) -> list[bytes]:
    return opener.tokens([UUID(row["person_id"]).bytes for row in rows])


def _ref(sealed: bytes | None, opener: Opener) -> str | None:
    return opener.open_ref(sealed) if sealed else None


def _name_refs(found: list[dict[str, Any]], opener: Opener) -> None:
    """Open each reference; a row whose reference is malformed, or that two applicants share, is withheld."""
    for row in found:
        row["recipient_ref"] = None if row["withheld_reason"] else _ref(row["recipient_ref_sealed"], opener)
        if row["recipient_ref"] is not None and not _REF.fullmatch(row["recipient_ref"]):
            row["withheld_reason"] = "recipient_ref.malformed"
    owners = {(row["recipient_ref"], row["person_id"]) for row in found if row["recipient_ref"] is not None}
    shared = {ref for ref, n in Counter(ref for ref, _ in owners).items() if n > 1}
    for row in found:
        if row["recipient_ref"] in shared and row["withheld_reason"] is None:
            row["withheld_reason"] = "recipient_ref.shared"


def _made_here(
    row: dict[str, Any], token: bytes, agreement: Agreement, business_date: date, opener: Opener
) -> dict[str, Any]:
    return {
        "person_token": token.hex(),
        "key_version": opener.key_version,
        "identity_match": row["live_identity_match"],
        "consent_expires": shanghai_date(row["live_expires_at"]),
        "delete_by": row["delete_by"] or as_of(business_date) + timedelta(days=agreement.keep_days),
    }


def _table(rows: list[dict[str, Any]], agreement: Agreement) -> pa.Table:
    schema = pa.schema([(name, TYPES[name]) for name in agreement.fields])
    columns = {}
    for name in agreement.fields:
        if rows and name not in rows[0]:
            raise Bug("a field of the agreement has no column", where=f"{agreement.id}, field {name}")
        columns[name] = _column([row[name] for row in rows], schema.field(name).type, name)
    return pa.table(columns, schema=schema)


def _column(values: list[Any], kind: pa.DataType, name: str) -> Any:
    try:
        if kind == _TEXT:
            return pa.array([None if value is None else str(value) for value in values], kind)
        return pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        pass
    raise Bug("a decision has a value of another type than its field", where=f"field {name} (value withheld)")


def _extract_row(row: dict[str, Any]) -> dict[str, Any]:
    """The consent written down is the one that was judged: the live one, or the one that denied."""
    is_sent = row["withheld_reason"] is None
    return {
        "person_id": row["person_id"],
        "consent_id": row["live_consent_id"] if is_sent else row["consent_id"],
        "consent_version": row["live_consent_version"] if is_sent else row["consent_version"],
        "decision_no": row["decision_no"],
        "outcome": row["outcome"],
        "withheld_reason": row["withheld_reason"],
    }
