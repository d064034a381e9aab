"""One agreement's product over its live applications, as SQL: verdict, what stands from before, reasons in words.

Promises: better at once, worse at expiry or on a hard event (consent, identity, death); each live application has
          one row; everything in a row follows from the night's features, the consent and the decision before.
Not here: fingerprints, commits and the ledger (decide.py); cells (compile.py).
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.calendar import day_start
from pipelines.eligibility.compile import verdict_sql
from pipelines.eligibility.product import OUTCOMES, Product
from pipelines.eligibility.tables import STANDING

if TYPE_CHECKING:
    from pipelines.consent import Agreement

UNDECIDED = ("PENDING", "UNAVAILABLE")
FRESHNESS = {
    "platform": "freshness_days_platform",
    "bank": "freshness_days_bank",
    "social_insurance": "freshness_days_si",
}
# What a row says to others; a difference here in a night that is run again is a correction.
CONTENT = (
    "outcome", "tier", "limit_fen", "max_instalment_fen", "sweep_bp", "payout_cycle", "payout_dom", "conditions",
    "reason_codes", "verification_grade", "source_as_of", "identity_match", "decided_on", "valid_until",
    "consent_version", "consent_expires", "cover_from", "cover_to", "variant", "vehicle", "sum_insured_fen",
    "premium_basis", "rule_hash",
)  # fmt: skip


def reason_words(product: Product) -> pa.Table:
    """The words of every code, to be joined."""
    keys = ("code", "zh", "en", "fact_zh", "fact_en", "source", "cure_zh", "cure_en")
    rows = [{key: getattr(reason, key) for key in keys} for reason in product.reasons.values()]
    return pa.Table.from_pylist(rows, pa.schema([(key, pa.string()) for key in keys]))


def application_sql(product: Product, live: str, as_of: date) -> str:
    """One row per live application, with the person's features of the night (NULL where there are none).

    A minor's own consent is not enough (保险法 33): the guardian's must stand beside it.
    """
    features = [name for name in product.features if name not in ("consent_live", "guardian_ok")]
    extra = sorted({"payout_cycle", "payout_dom_mode", *(FRESHNESS[source] for source in product.sources)})
    names = sorted({*features, *extra, "age_years"})
    source = f"select * from marts.features where as_of = date '{as_of}'"
    listed = ", ".join(f'f."{name}"' for name in names)
    return f"""
select live.person_id, live.consent_id, live.consent_version, live.identity_match,
    timezone('Asia/Shanghai', live.granted_at)::date as granted_on,
    timezone('Asia/Shanghai', live.expires_at)::date as consent_expires,
    f.person_id is not null as has_features, {listed},
    true as consent_live,
    case when f.age_years >= 18 then true when live.guardian_consent then true
        when f.age_years is null then null else false end as guardian_ok
from ({live}) as live left join ({source}) as f on f.person_id = live.person_id"""


def fresh_sql(product: Product, source: str, *, as_of: date) -> str:
    """Tonight's verdict on each application of `source`, before what stands from earlier nights."""
    keep = (
        "person_id", "consent_id", "consent_version", "identity_match", "granted_on", "consent_expires",
        "has_features", "payout_cycle", "payout_dom_mode", _source_as_of(product, as_of), _feature_hash(product),
        *_declared(product),
    )  # fmt: skip
    waits = (
        f"case when granted_on + {product.pending_days} >= date '{as_of}' then 'PENDING' else 'UNAVAILABLE' end"
    )
    return f"""
select * replace (
    case when has_features then outcome else {waits} end as outcome,
    case when has_features then grade end as grade,
    case when has_features then reasons else [] end as reasons,
    case when has_features then trace else [] end as trace,
    case when has_features then conditions else [] end as conditions,
    case when has_features then event else '' end as event)
from ({verdict_sql(product, source, keep=keep)})"""


def _source_as_of(product: Product, as_of: date) -> str:
    days = ", ".join(f'"{FRESHNESS[source]}"' for source in product.sources)
    return f"date '{as_of - timedelta(days=1)}' - greatest({days}) as source_as_of"


def _feature_hash(product: Product) -> str:
    """Of the inputs and of the person's random id, so that it cannot be guessed from figures."""
    parts = ", ".join(f"coalesce(\"{name}\"::varchar, '')" for name in product.features)
    return f"sha256(concat_ws('|', person_id::varchar, {parts})) as feature_hash"


def _declared(product: Product) -> tuple[str, ...]:
    said = product.declaration
    if not said:
        return ("null::bigint as orders_day", "null::boolean as variant_flag", "null::varchar as vehicle")
    return (
        f'"{said.orders}"::bigint as orders_day',
        f'"{said.variant_feature}" as variant_flag',
        f'"{said.vehicle}" as vehicle',
    )


def prior_sql(agreement: str, product: str, as_of: date) -> str:
    """The last row of each application before the night."""
    return f"""
select * from ({STANDING}) as standing
where agreement = '{agreement}' and product = '{product}' and as_of < date '{as_of}'
qualify row_number() over (partition by consent_id order by as_of desc) = 1"""


def tonight_sql(product: Product, agreement: Agreement, fresh: str, prior: str, business_date: date) -> str:
    """One row per application: the columns of decisions.decision but for numbers and corrections, plus the lists
    `reason_list` and `trace` of tonight's verdict and `kept` (an earlier decision stands)."""
    as_of = business_date + timedelta(days=1)
    today = f"date '{as_of}'"
    worse, same = _compare(product)
    return f"""
with compared as (
    select f.*, p.decision_no as prior_no, p.valid_until as prior_until, p as prior,
        p.decision_no is null or p.outcome in {UNDECIDED} as is_first,
        not is_first and {worse} as is_worse,
        p.decision_no is not null and {same} as is_same
    from {fresh} as f left join ({prior}) as p on p.consent_id = f.consent_id
), weighed as (
    select *, prior_no is not null and is_worse and event = '' and prior_until >= {today} as kept,
        prior_no is not null and is_same and prior_until >= {today} as goes_on
    from compared
), stood as (
    select *,
        case when kept then prior.outcome else outcome end as outcome_now,
        case when kept then prior.tier else tier end as tier_now,
        case when kept then prior.limit_fen else limit_fen end as limit_now,
        case when kept then prior.max_instalment_fen else max_instalment_fen end as instalment_now,
        case when kept then prior.conditions else conditions end as conditions_now,
        case when kept or goes_on then prior.decided_on else {today} end as decided_on,
        case when kept or goes_on then prior.valid_until
            when outcome in {UNDECIDED} then {today}
            else least({today} + {product.valid_days}, consent_expires) end as valid_until
    from weighed
), told as (
    select *, outcome_now in ('{OUTCOMES[0]}', '{OUTCOMES[1]}') as is_eligible from stood
), listed as (
    select *, {_reason_list(product)} as reason_list from told
)
select '{agreement.id}' as agreement, '{agreement.recipient}' as recipient, '{product.id}' as product,
    case when kept then prior.product_version else '{product.version}' end as product_version,
    case when kept then prior.rule_hash else '{product.rule_hash}' end as rule_hash,
    person_id, consent_id, consent_version, 'ORIGINATION' as phase, date '{business_date}' as business_date,
    {today} as as_of, date '{business_date}' as known_at, decided_on, valid_until,
    outcome_now as outcome, tier_now as tier, limit_now as limit_fen, instalment_now as max_instalment_fen,
    {_when_credit(product, f"{product.sweep_bp or 'null'}::integer")} as sweep_bp,
    {_when_credit(product, "payout_cycle")} as payout_cycle,
    {_when_credit(product, "payout_dom_mode")} as payout_dom,
    conditions_now as conditions,
    case when kept and len(reason_list) = 0 and not is_eligible then prior.reason_codes
        else list_transform(reason_list, lambda r: r.code) end as reason_codes,
    case when kept and not is_eligible then prior.reasons end as reasons_before,
    case when kept then prior.verification_grade else grade end as verification_grade,
    case when kept then prior.source_as_of else source_as_of end as source_as_of, identity_match,
    case when kept or is_same then 'SAME' when is_first then 'NEW' when is_worse then 'DOWN' else 'UP' end
        as change_type,
    case when kept or goes_on or (is_same and is_first) then null
        when prior_no is null then 'CONSENT' when is_first then 'DATA'
        when event <> '' then event when is_same then 'EXPIRY' when is_worse then 'EXPIRY'
        when prior.rule_hash <> '{product.rule_hash}' then 'RULE' else 'DATA' end as change_reason,
    prior_no as supersedes, outcome_now = 'REVIEW' as review, false as dispute, consent_expires,
    valid_until + {agreement.keep_days} as delete_by,
    {_cover(product, business_date)}
    feature_hash, reason_list, trace, kept
from listed"""


def _when_credit(product: Product, column: str) -> str:
    return f"case when is_eligible then {column} end" if product.limit else "null"


def _compare(product: Product) -> tuple[str, str]:
    """Whether tonight's verdict is worse than, and the same as, the one that stands: outcome, limit, row."""
    order = list(OUTCOMES) + list(UNDECIDED)
    rows = [row.name for row in product.rows]

    def rank(side: str) -> str:
        parts = [f"list_position({order}, {side}.outcome)"]
        if product.limit:  # two rows of an insurance are two cases, not two grades
            parts += [f"-coalesce({side}.limit_fen, 0)", f"coalesce(list_position({rows}, {side}.tier), 99)"]
        return f"row({', '.join(parts)})"

    return f"{rank('f')} > {rank('p')}", f"{rank('f')} = {rank('p')}"


def _reason_list(product: Product) -> str:
    """Tonight's reasons; a standing eligible decision has none but the day's own."""
    fresh = "case when kept then [] else reasons end"
    said = product.declaration
    if not said:
        return fresh
    own = f"[{{code: '{said.reason}', table_row: 'declaration', feature: '{said.orders}'}}]"
    return f"case when not is_eligible then {fresh} when coalesce(orders_day, 0) < 1 then {own} else [] end"


def _cover(product: Product, business_date: date) -> str:
    said = product.declaration
    if not said:
        return (
            "null::timestamptz as cover_from, null::timestamptz as cover_to, null::varchar as variant, "
            "null::varchar as vehicle, null::bigint as sum_insured_fen, null::varchar as premium_basis, "
            "null::boolean as duplicate_cover,"
        )
    begins, ends = (
        (day_start(business_date) + timedelta(minutes=minutes)).isoformat()
        for minutes in (said.cover_from_minutes, said.cover_to_minutes)
    )
    worked = "is_eligible and orders_day >= 1"
    variant = f"case variant_flag when true then '{said.variant_true}' when false then '{said.variant_false}' end"
    sums = " ".join(f"when '{name}' then {fen}" for name, fen in said.sum_insured_fen.items())
    rate = said.premium_milli_yuan
    fen = f"(orders_day * {rate} + 5) // 10"  # rounded half up
    premium = f"'orders=' || orders_day || ';milli_yuan_per_order={rate};premium_fen=' || {fen}"
    return f"""case when {worked} then timestamptz '{begins}' end as cover_from,
    case when {worked} then timestamptz '{ends}' end as cover_to,
    case when is_eligible then {variant} end as variant,
    case when is_eligible then vehicle end as vehicle,
    case when is_eligible then (case {variant} {sums} end)::bigint end as sum_insured_fen,
    case when {worked} then {premium} end as premium_basis,
    null::boolean as duplicate_cover,"""


def reasons_sql(tonight: str, words: str, product: Product) -> str:
    """consent_id, reasons: the JSON list of tonight's reasons in words, nearest first."""
    shown = """case when value is null then null
        when feature like '%\\_fen' escape '\\' then printf('%.2f', value::double / 100)
        when value = 'true' then {yes} when value = 'false' then {no} else value end"""
    zh = (
        shown.format(yes="'是'", no="'否'")
        + " || case when feature like '%\\_fen' escape '\\' then ' 元' else '' end"
    )
    en = shown.format(yes="'yes'", no="'no'")
    en += " || case when feature like '%\\_fen' escape '\\' then ' yuan' else '' end"
    return f"""
with one as (
    select t.consent_id, r.nth, t.reason_list[r.nth].code as code, t.reason_list[r.nth].table_row as table_row,
        t.reason_list[r.nth].feature as feature, t.trace
    from {tonight} as t, unnest(range(1, len(t.reason_list) + 1)) as r(nth)
), seen as (
    select one.* exclude (trace),
        list_filter(trace, lambda c: c.table_row = one.table_row and c.feature = one.feature)[1] as cell
    from one
), valued as (
    select seen.* exclude (cell), cell.value as value, cell.result as result, cell.threshold as threshold from seen
)
select valued.consent_id, to_json(list({{
        code: valued.code, title_zh: w.zh, title_en: w.en, result: valued.result, row: valued.table_row,
        feature: valued.feature, value: valued.value,
        fact: case when valued.result = 'UNKNOWN' then '数据不足：' else '' end
            || replace(w.fact_zh, '{{value}}', coalesce({zh}, '无')),
        fact_en: case when valued.result = 'UNKNOWN' then 'not enough data: ' else '' end
            || replace(w.fact_en, '{{value}}', coalesce({en}, 'not known')),
        threshold: valued.threshold, source: w.source, cure_zh: w.cure_zh, cure_en: w.cure_en,
        appeal: {_text(product.appeal_zh)}, appeal_en: {_text(product.appeal_en)}
    }} order by valued.nth))::varchar as reasons
from valued join {words} as w on w.code = valued.code
group by valued.consent_id"""


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def numbered_sql(tonight: str, reasons: str, agreement: str, product: str, business_date: date) -> str:
    """Rows to insert: new applications, and those whose content differs from what the night said before."""
    content = ", ".join(f"coalesce({name}::varchar, '')" for name in CONTENT)
    return f"""
with said as (
    select * from ({STANDING}) as standing
    where agreement = '{agreement}' and product = '{product}' and business_date = date '{business_date}'
), hashed as (
    select t.* exclude (reasons_before, reason_list, kept),
        coalesce(t.reasons_before, r.reasons, '[]') as reasons,
        sha256(concat_ws('|', person_id::varchar, {content})) as content_hash
    from {tonight} as t left join {reasons} as r on r.consent_id = t.consent_id
)
select left(sha256(concat_ws('|', h.agreement, h.consent_id, h.product, h.as_of::varchar,
        case when said.revision is not null then (said.revision + 1)::varchar end)), 16) as decision_no,
    h.* replace (
        case when said.decision_no is null then h.change_type else 'CORRECTED' end as change_type,
        case when said.decision_no is null then h.change_reason
            when said.rule_hash <> h.rule_hash then 'RULE'
            when said.consent_version <> h.consent_version then 'CONSENT' else 'LATE_DATA' end as change_reason,
        coalesce(said.decision_no, h.supersedes) as supersedes),
    coalesce(said.revision + 1, 0)::integer as revision
from hashed as h left join said on said.consent_id = h.consent_id
where said.decision_no is null or said.content_hash <> h.content_hash
order by h.person_id, h.consent_id"""
