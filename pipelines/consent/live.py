"""Which consents hold: for one recipient and purpose, at one instant, as known on one business date.

Promises: a consent is live only if every attribute that its agreement asks for is there and right; a refusal
          names each attribute that is not. NULL, an unknown flag, a constraint that cannot be read: denied.
          One live consent per (recipient, purpose, person): the latest granted.
Refuses:  to revive: once any version of a consent carries a withdrawal, or is deleted, it stays so; the person
          grants a new one.
Not here: what a guardian must sign for a minor (eligibility: the product says), recipients' keys (extracts/).
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.calendar import shanghai_date
from pipelines.consent.agreement import Agreement, load_all
from pipelines.errors import NoConsent
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.lake import Lake

# One row per consent_id: its latest version, what is wrong with it, and whom it concerns.
# `withdrawn_ever`: a later version cannot take a withdrawal back (PIPL 15); over all versions known.
# `person_id`: by the identifier that came with it, as linked on the business date; NULL if that is not one person.
_JUDGED = """
with known as (
    select * from landed.consent where known_on <= {known_at}
), versions as (
    select *,
        row_number() over (
            partition by consent_id order by version desc, source_updated_at desc, known_on desc, row_no desc
        ) as nth,
        bool_or(op = 'D') over (partition by consent_id) as deleted_ever,
        min(withdrawn_at) over (partition by consent_id) as withdrawn_ever
    from known
), latest as (
    select * from versions where nth = 1 and recipient_institution = {recipient} and purpose_code = {purpose_code}
), owners as (
    select id_token, any_value(person_id) as person_id
    from marts.person_link
    where id_token is not null and valid_from <= {on_date} and (valid_to is null or valid_to > {on_date})
    group by id_token having count(distinct person_id) = 1
), judged as (
    select latest.*, owners.person_id,
        list_filter([
            case when purpose_text_hash is distinct from {purpose_text_hash} then 'purpose_text_hash' end,
            case when notice_version_hash is distinct from {notice_version_hash} then 'notice_version_hash' end,
            case when coalesce(list_has_all(data_categories, {categories}), false) is false
                then 'data_categories' end,
            case when legal_basis is distinct from 'consent' then 'legal_basis' end,
            {flags}
            case when coalesce(granted_at <= {at}, false) is false then 'granted_at' end,
            case when coalesce({at} < expires_at, false) is false then 'expires_at' end,
            case when {withdrawn} then 'withdrawn_at' end,
            case when deleted_ever is distinct from false then 'op' end,
            case when owners.person_id is null then 'person' end
        ], lambda reason: reason is not null) as reasons
    from latest left join owners on owners.id_token = latest.person_id_no_token
), ranked as (
    select *, case when len(reasons) = 0 then row_number() over (
        partition by person_id, len(reasons) = 0
        order by granted_at desc, version desc, consent_id desc) end as rank
    from judged
)
select person_id, consent_id, version as consent_version, recipient_ref_sealed, identity_match,
    granted_at, expires_at, withdrawn_ever as withdrawn_at, guardian_consent,
    case when rank > 1 then ['a_later_consent'] else reasons end as reasons
from ranked
"""


def check_sql(agreement: Agreement, *, at: datetime, known_at: date, any_withdrawal: bool = False) -> str:
    """SQL text: one row per consent of this (recipient, purpose), with `reasons` (empty list = live).

    at:             the instant judged; granted_at <= at < expires_at.
    known_at:       only versions known on this business date or before (date.max: all that has landed).
    any_withdrawal: a withdrawal counts whatever its own instant says (the check at publish); without it only
                    one that had happened by `at` counts, so that a past decision can be replayed.
    """
    flags = "".join(f"case when {flag} is distinct from true then '{flag}' end,\n" for flag in agreement.requires)
    instant = f"timestamptz '{at.isoformat()}'"
    withdrawn = "withdrawn_ever is not null" if any_withdrawal else f"coalesce(withdrawn_ever <= {instant}, false)"
    return _JUDGED.format(
        known_at=f"date '{known_at.isoformat()}'",
        on_date=f"date '{min(known_at, shanghai_date(at - timedelta.resolution)).isoformat()}'",
        at=instant,
        recipient=_text(agreement.recipient),
        purpose_code=_text(agreement.purpose_code),
        purpose_text_hash=_text(agreement.purpose_text_hash),
        notice_version_hash=_text(agreement.notice_version_hash),
        categories="[" + ", ".join(map(_text, agreement.data_categories)) + "]",
        flags=flags,
        withdrawn=withdrawn,
    )


def live_sql(agreement: Agreement, *, at: datetime, known_at: date, any_withdrawal: bool = False) -> str:
    """SQL text, fit for a subquery: one row per person with a live consent.

    Columns: person_id UUID, consent_id VARCHAR, consent_version INT, recipient_ref_sealed BLOB (NULL if the
    institution gave none), identity_match VARCHAR, granted_at, expires_at TIMESTAMPTZ, guardian_consent BOOLEAN.
    """
    judged = check_sql(agreement, at=at, known_at=known_at, any_withdrawal=any_withdrawal)
    return f"select * exclude (reasons, withdrawn_at) from ({judged}) where len(reasons) = 0"


def check(
    lake: Lake, agreement: Agreement, *, at: datetime, known_at: date, any_withdrawal: bool = False
) -> pa.Table:
    """Every consent given for this agreement's recipient and purpose, live or not.

    Returns: consent_id, consent_version, person_id (NULL if nobody unique), reasons VARCHAR[] (attributes that
    deny; empty = live), sorted by consent_id.
    """
    judged = check_sql(agreement, at=at, known_at=known_at, any_withdrawal=any_withdrawal)
    return lake.query(
        f"select consent_id, consent_version, person_id, reasons from ({judged}) order by consent_id"
    )


def live(
    lake: Lake,
    *,
    recipient: str,
    purpose_code: str,
    at: datetime,
    known_at: date,
    settings: Settings | None = None,
) -> str:
    """`live_sql` for whichever agreement covers (recipient, purpose_code).

    Raises: NoConsent if no agreement does: without one, nothing is live.
    """
    for agreement in load_all(settings or getattr(lake, "settings", None) or Settings()).values():
        if (agreement.recipient, agreement.purpose_code) == (recipient, purpose_code):
            return live_sql(agreement, at=at, known_at=known_at)
    raise NoConsent(
        "no agreement covers this recipient and purpose",
        why="consents are read through an agreement; what is unknown is denied",
        do="add it to schemas/agreements",
    )


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
