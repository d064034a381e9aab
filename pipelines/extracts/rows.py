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
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

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
select scope.* replace (
        scope.reason_codes[1:{most}] as reason_codes,
        live.identity_match as identity_match,
        timezone('Asia/Shanghai', live.expires_at)::date as consent_expires,
        coalesce(scope.delete_by, scope.as_of + {keep_days}) as delete_by,
        -- the consent written down is the one that was judged: the live one, or the one that denied
        coalesce(live.consent_id, scope.consent_id) as consent_id,
        coalesce(live.consent_version, scope.consent_version) as consent_version),
    unhex(replace(scope.person_id::varchar, '-', '')) as person_raw, live.recipient_ref_sealed,
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
select unhex(replace(sent.person_id::varchar, '-', '')) as person_raw, sent.consent_id,
    judged.recipient_ref_sealed, judged.withdrawn_at
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
    """sent: the recipient's rows; listed: control.extract_row without the package's number; withheld: reason ->
    rows."""

    sent: pa.Table
    listed: pa.Table
    withheld: dict[str, int]

    @property
    def in_scope(self) -> int:
        return int(self.listed.num_rows)


@dataclass(frozen=True, slots=True)
class Deletions:
    """notices: what the recipient reads; listed: person_id (16 bytes), consent_id for control.deletion_notice."""

    notices: list[dict[str, Any]]
    listed: pa.Table


def scope_of(lake: Lake, agreement: Agreement, business_date: date, opener: Opener) -> Scope:
    """Rows sent and withheld for a business date. Consents are judged by everything that has landed up to now."""
    judged, live = _consents(agreement, business_date)
    sql = _SCOPE.format(judged=judged, live=live, most=MAX_REASON_CODES, keep_days=agreement.keep_days)
    found = lake.query(sql, {"agreement": agreement.id, "business_date": business_date})
    reasons, refs = _judge_refs(found, opener)
    reason_column = pa.array(reasons, pa.string())
    found = found.drop_columns(["withheld_reason"]).append_column("withheld_reason", reason_column)
    found = found.append_column("recipient_ref", pa.array(refs, pa.string()))
    sent = found.filter(pc.is_null(reason_column))
    sent = sent.append_column("person_token", pa.array([t.hex() for t in _tokens(sent, opener)], pa.string()))
    sent = sent.append_column("key_version", pa.array([opener.key_version] * sent.num_rows, pa.int32()))
    return Scope(
        sent=_table(sent.sort_by([("person_token", "ascending"), ("decision_no", "ascending")]), agreement),
        listed=_listed(found, ("consent_id", "consent_version", "decision_no", "outcome", "withheld_reason")),
        withheld=dict(sorted(Counter(reason for reason in reasons if reason).items())),
    )


def deletions_of(lake: Lake, agreement: Agreement, business_date: date, opener: Opener) -> Deletions:
    """Whom the recipient must delete: sent before, withdrawn since, without another live consent."""
    judged, live = _consents(agreement, business_date)
    found = lake.query(_TO_DELETE.format(judged=judged, live=live), {"agreement": agreement.id})
    notices = [
        {
            "person_token": token.hex(),
            "key_version": opener.key_version,
            "recipient_ref": opener.open_ref(row["recipient_ref_sealed"]) if row["recipient_ref_sealed"] else None,
            "withdrawn_on": shanghai_date(row["withdrawn_at"]).isoformat() if row["withdrawn_at"] else None,
            "reason": "consent_withdrawn" if row["withdrawn_at"] else "consent_deleted",
        }
        for row, token in zip(found.to_pylist(), _tokens(found, opener), strict=True)
    ]
    notices.sort(key=lambda notice: (notice["person_token"], str(notice["recipient_ref"])))
    return Deletions(notices, _listed(found, ("consent_id",)))


def sealed_refs(lake: Lake, agreement: Agreement, business_date: date) -> list[bytes]:
    """References of consents that are live now; what the publish commit will most likely ask for."""
    _, live = _consents(agreement, business_date)
    found = lake.rows(f"select recipient_ref_sealed from ({live}) where recipient_ref_sealed is not null")
    return [bytes(row[0]) for row in found]


def _consents(agreement: Agreement, business_date: date) -> tuple[str, str]:
    at = day_start(as_of(business_date))
    judged = check_sql(agreement, at=at, known_at=date.max, any_withdrawal=True)
    live = live_sql(agreement, at=at, known_at=date.max, any_withdrawal=True)
    return judged, live


def _tokens(rows: pa.Table, opener: Opener) -> list[bytes]:
    persons: list[Any] = rows["person_raw"].to_pylist()
    return opener.tokens(persons)


def _judge_refs(found: pa.Table, opener: Opener) -> tuple[list[str | None], list[str | None]]:
    """Open each live row's reference. A malformed one, or one that two applicants share, withholds its rows."""
    reasons: list[str | None] = found["withheld_reason"].to_pylist()
    sealed, persons = found["recipient_ref_sealed"].to_pylist(), found["person_raw"].to_pylist()
    refs = [
        opener.open_ref(cipher) if cipher and reason is None else None
        for cipher, reason in zip(sealed, reasons, strict=True)
    ]
    owners = Counter(ref for ref, _ in {(ref, person) for ref, person in zip(refs, persons, strict=True) if ref})
    for number, ref in enumerate(refs):
        if ref is not None and not _REF.fullmatch(ref):
            reasons[number] = "recipient_ref.malformed"
        elif ref is not None and owners[ref] > 1:
            reasons[number] = "recipient_ref.shared"
    return reasons, refs


def _table(rows: pa.Table, agreement: Agreement) -> pa.Table:
    """Exactly the agreement's fields, in its order and in the agreed types."""
    columns = {}
    for name in agreement.fields:
        if name not in rows.column_names:
            raise Bug("a field of the agreement has no column", where=f"{agreement.id}, field {name}")
        columns[name] = _cast(rows[name], name)
    return pa.table(columns, schema=pa.schema([(name, TYPES[name]) for name in agreement.fields]))


def _cast(column: Any, name: str) -> Any:
    try:
        return column.cast(TYPES[name])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass
    raise Bug("a decision has a value of another type than its field", where=f"field {name} (value withheld)")


def _listed(found: pa.Table, names: tuple[str, ...]) -> pa.Table:
    """person_id in the form that the lake takes, and the named columns."""
    persons = found["person_raw"].combine_chunks().cast(pa.binary(16))
    columns: dict[str, Any] = {"person_id": pa.ExtensionArray.from_storage(pa.uuid(), persons)}
    return pa.table(columns | {name: found[name] for name in names})
