-- marts.si_month: one row per (person, scheme, contribution month)
-- from: landed.si_contribution_month as known at $known_at, stage.person_key
-- note: is_counted: what was paid (arrears and prepayments too, refunds taken off) reaches what was due. Two offices
--       in one month give one month, never two; a month may be paid long after, then it counts from then on.
with latest as (
    select * from landed.si_contribution_month
    where known_on <= $known_at
    qualify row_number() over (
        partition by record_key order by source_updated_at desc, known_on desc, row_no desc) = 1 and op <> 'D'
), by_office as (
    select keyed.person_id, latest.scheme, strptime(latest.contribution_month, '%Y%m')::date as month,
        latest.source_office, max(latest.base_fen) as base_fen, max(latest.due_fen) as due_fen,
        sum(case when latest.pay_kind = 'refund' then -abs(latest.paid_fen) else latest.paid_fen end)::bigint as paid_fen,
        max(latest.join_kind) as join_kind
    from latest join stage.person_key as keyed on keyed.id_token = latest.id_no_token
    group by keyed.person_id, latest.scheme, latest.contribution_month, latest.source_office
)
select person_id, scheme, month, max(base_fen)::bigint as base_fen, max(due_fen)::bigint as due_fen,
    sum(paid_fen)::bigint as paid_fen, max(join_kind) as join_kind,
    coalesce(bool_or(due_fen > 0 and paid_fen >= due_fen), false) as is_counted
from by_office
group by person_id, scheme, month
order by person_id, scheme, month
